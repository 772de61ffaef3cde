"""``schedulerx media inspect``: what a file is, and what a platform would make of it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from media import recipe, rules
from media.errors import MediaRefused
from media.images import normalize
from media.probe import probe
from platforms import registry
from scheduler.cli.output import REFUSED, emit, say, told
from scheduler.errors import Refused, UnknownAccount

app = typer.Typer(no_args_is_help=True, help="Look at files.")


@app.command()
def inspect(
    files: Annotated[list[str], typer.Argument(metavar="FILE...")],
    for_: Annotated[
        str | None, typer.Option("--for", metavar="PLATFORM[:PLACEMENT]", help="Judge it for this platform.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write what the platform would get into this folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Say what files are and what would be done to make them fit. Exit 0: fits or can be made to fit, 2: refused.

    Example: schedulerx media inspect soup.png --for pinterest --out /tmp/renditions
    """
    with told(as_json=as_json):
        rule = _rule(for_) if for_ else None
        if out is not None and rule is None:
            raise Refused("--out needs --for: without a platform there is nothing to make")
        found = [_one(name, rule, out) for name in files]
    if as_json:
        emit(found)
    else:
        for one in found:
            _say(one)
    if not all(one["ok"] for one in found):
        raise typer.Exit(REFUSED)


def _rule(words: str) -> rules.MediaRule:
    platform, _, placement = words.partition(":")
    if platform not in registry.names():
        raise UnknownAccount(f"There is no platform {platform!r}; there are: {', '.join(registry.names())}")
    known = registry.get(platform).capabilities.media
    name = placement or next(iter(known), "")
    if name not in known:
        raise Refused(f"{platform} has no placement {placement!r}; it has: {', '.join(known) or 'none'}")
    return known[name]


def _one(name: str, rule: rules.MediaRule | None, out: Path | None) -> dict[str, Any]:
    told_: dict[str, Any] = {
        "path": name,
        "ok": False,
        "reason": None,
        "probe": None,
        "actions": [],
        "output": None,
    }
    path = Path(name).expanduser()
    try:
        found = probe(path, name=name)
        told_["probe"] = found.as_json()
        if rule is not None:
            wrong = rules.violations(found, rule, name=name)
            if wrong:
                told_["reason"] = {"code": wrong[0].code, "message": wrong[0].message}
                return told_
            plan = recipe.plan(found, rule, name=name)
            told_["actions"] = [{"name": one.name, "why": one.why} for one in plan.actions]
            with tempfile.TemporaryDirectory() as scratch:
                folder = out or Path(scratch)
                folder.mkdir(parents=True, exist_ok=True)
                made = normalize(path, plan, folder)
                told_["actions"] = [{"name": one.name, "why": one.why} for one in made.actions]
                told_["output"] = str(made.path) if out else None
                told_["size_after"] = made.size
    except MediaRefused as error:
        told_["reason"] = {"code": error.code, "message": error.message}
        return told_
    told_["ok"] = True
    return told_


def _say(one: dict[str, Any]) -> None:
    found = one["probe"]
    what = (
        f"{found['mime']}, {found['width']}x{found['height']}, {found['size']:,} bytes, {found['mode']}"
        if found
        else ""
    )
    if not one["ok"]:
        say(f"{one['path']}: refused: {one['reason']['message']} [{one['reason']['code']}] {what}")
        return
    say(f"{one['path']}: {what}")
    for action in one["actions"]:
        say(f"  {action['name']}: {action['why']}")
    if one["output"]:
        say(f"  -> {one['output']}")
