"""``schedulerx platforms ...``: what each platform can do, its limits with their sources, its promises."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from platforms import registry
from scheduler import capabilities
from scheduler.cli.output import console, emit, told
from scheduler.cli.platform_words import (
    amount,
    animations,
    duration,
    pictures,
    plain,
    quota,
    shortened,
    summary,
    video,
)
from scheduler.errors import Refused

app = typer.Typer(no_args_is_help=True, help="What each platform can do, its limits, its promises.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the platforms: kinds of post, limits, and what is promised about doubles.

    Example: schedulerx platforms list
    """
    with told(as_json=as_json):
        rows = [_row(name) for name in registry.names()]
    if as_json:
        emit(rows)
        return
    table = Table(header_style="bold")
    for heading in ("platform", "kinds of post", "text", "media", "threads", "polls", "alt text", "doubles"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        if "error" in row:
            table.add_row(row["name"], Text(row["error"]))
            continue
        table.add_row(
            row["name"],
            "; ".join(kind["name"] for kind in row["kinds"]),
            str(row["text"]["limit"]),
            summary(row["media"]),
            plain(row["threads"]),
            plain(row["polls"]),
            plain(row["alt_text_limit"]),
            "\n".join(dict.fromkeys(kind["publishing_call"]["doubles"] for kind in row["kinds"])),
        )
    console().print(table)


def _row(name: str) -> dict[str, Any]:
    """One platform; where its module cannot be used, why. A broken package must not hide the others."""
    try:
        return capabilities.describe(capabilities.find(name))
    except (Refused, ImportError, AttributeError) as error:
        return {"name": name, "error": f"cannot be used: {error}"}


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Such as x; schedulerx platforms list names them.")], as_json: Json = False
) -> None:
    """Show all that is known of one platform. Example: schedulerx platforms show bluesky"""
    with told(as_json=as_json):
        found = capabilities.describe(capabilities.find(name))
    if as_json:
        emit(found)
        return
    out = console()
    out.print(Text(f"{found['title']} ({found['name']})", style="bold"))
    for label, words in _facts(found):
        out.print(Text(f"{label}: ", style="bold") + Text(words))
    for table in _tables(found):
        out.print()
        out.print(table)
    out.print(Text(found["credentials_help"]))
    _explain(out, found)


def _facts(found: dict[str, Any]) -> list[tuple[str, str]]:
    """What is told in a line each."""
    facts = [
        ("limits from", found["source"]),
        ("text", f"at most {found['text']['limit']} {found['text']['counted']}"),
        ("alt text", "none" if found["alt_text_limit"] is None else f"at most {found['alt_text_limit']} characters"),
        ("threads", plain(found["threads"])),
        ("polls", plain(found["polls"])),
        ("first comment", plain(found["first_comment"])),
        ("media reach it by", {"bytes": "upload", "url": "URL", "either": "upload or URL"}[found["transport"]]),
        ("prepared ahead by", duration(found["prepare_lead_s"])),
        ("credentials renewed ahead by", duration(found["refresh_ahead_s"])),
        ("API hosts", ", ".join(found["api_hosts"])),
    ]
    if found["lifetime_of_prepared_s"]:
        facts.insert(8, ("what was prepared stays good for", duration(found["lifetime_of_prepared_s"])))
    if found["options_source"]:
        facts.insert(1, ("options from", found["options_source"]))
    if found["prices"]:
        sources = "; ".join(dict.fromkeys(price["source"] for price in found["prices"]))
        facts.append(("cost", f"{'; '.join(_price(price) for price in found['prices'])} ({sources})"))
    facts += [(f"scopes ({one['way']})", f"{' '.join(one['scopes'])} ({one['source']})") for one in found["sign_in"]]
    return facts


def _price(price: dict[str, str]) -> str:
    """An amount and what it is for, such as "$0.200 (a post with a link)"."""
    amount = price["amount"]
    money = f"${amount}" if price["currency"] == "USD" else f"{amount} {price['currency']}"
    # Where it is for one thing alone, its words end with the same amount.
    return f"{money} ({price['words'].removesuffix(f' {amount}')})"


def _tables(found: dict[str, Any]) -> list[Table]:
    """Kinds of post, media, quotas, options, credentials."""
    kinds = _table("Kinds of post", "kind", "placement", "media by", "publishing call", "reconcile", "doubles")
    for kind in found["kinds"]:
        call = kind["publishing_call"]
        words = (kind["name"], kind["placement"] or "-", kind["media_by"] or "-", call["name"], call["reconcile"])
        kinds.add_row(*map(Text, words), Text(call["doubles"]))
    media = _table("Media", "placement", "files", "pictures", "animations", "video", "source")
    for rule in found["media"]:
        cells = (pictures(rule), animations(rule), video(rule), rule["source"])
        media.add_row(rule["placement"], f"{rule['min_count']} to {rule['max_count']}", *map(Text, cells))
    quotas = _table("Quotas", "at most", "of", "source")
    for one in found["quotas"]:
        quotas.add_row(quota(one), one["scope"], Text(one["source"]))
    rows: list[tuple[str, dict[str, Any]]] = []
    for option in found["options"]:
        rows += [(option["name"], option), *((f"{option['name']}.{one['name']}", one) for one in option["fields"])]
    # Most often one document stands for all of them, and has been named.
    others = any(one["source"] != found["options_source"] for _, one in rows)
    headings = ("key", "value", "default", "help", *(("source",) if others else ()))
    options = _table(f"Options (--option {found['name']}.KEY=VALUE)", *headings)
    for key, one in rows:
        default = "required" if one["required"] else plain(one["default"])
        cells = (key, one["type"], default, shortened(one["help"]), *((one["source"] or "-",) if others else ()))
        options.add_row(*map(Text, cells))
    names = _table("Credentials (schedulerx accounts add)", "field", "needed", "secret", "help")
    for field in found["credentials"]:
        cells = (field["name"], plain(field["required"]), plain(field["secret"]), shortened(field["help"]))
        names.add_row(*map(Text, cells))
    return [table for table in (kinds, media, quotas, options, names) if table.row_count]


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _explain(out: Console, found: dict[str, Any]) -> None:
    """The promises in whole sentences, each once."""
    out.print()
    out.print(Text("What is promised about doubles", style="bold"))
    told: dict[str, list[str]] = {}
    for kind in found["kinds"]:
        told.setdefault(kind["publishing_call"]["doubles_explained"], []).append(kind["name"])
    for words, names in told.items():
        out.print(Text(f"  {'; '.join(names)}: ", style="bold") + Text(words))
    budget = max(kind["publishing_call"]["budget_s"] for kind in found["kinds"])
    out.print(Text(f"  A publishing call may take {amount(budget)} s in all; then it counts as unanswered."))
