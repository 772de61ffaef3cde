"""``schedulerx media inspect|list|show|prune``: what files are, what became of them, what nobody needs any more."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from media import recipe, rules
from media.errors import MachineFailed, MediaRefused, StoreUnavailable
from media.sandbox import normalize, probe_own
from platforms import registry
from scheduler.cli.output import FAILED, REFUSED, emit, say, told
from scheduler.errors import NotFound, Refused, UnknownAccount

MACHINE = "machine_failed"
"""The reason where it is not the file that is at fault."""

app = typer.Typer(no_args_is_help=True, help="Look at files; list and prune what is stored.")


@app.command()
def inspect(
    files: Annotated[list[str], typer.Argument(metavar="FILE...")],
    for_: Annotated[
        str | None, typer.Option("--for", metavar="PLATFORM[:PLACEMENT]", help="Judge it for this platform.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write what the platform would get into this folder.")] = None,
    cover: Annotated[
        float | None, typer.Option(min=0, help="Also make a cover (JPEG) of each video, taken at this second.")
    ] = None,
    fit: Annotated[str, typer.Option(help="A ratio that is not taken: refuse, pad or crop.")] = "refuse",
    background: Annotated[str, typer.Option(help="Behind transparent and padded areas.")] = "#ffffff",
    animation: Annotated[str, typer.Option(help="One that is not taken: keep (refused) or first_frame.")] = "keep",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Say what files are and what would be done to make them fit. Exit 0: fits or can be made to fit, 2: refused.

    Example: schedulerx media inspect soup.png --for pinterest --out /tmp/renditions
    """
    with told(as_json=as_json):
        rule = _rule(for_) if for_ else None
        if out is not None and rule is None:
            raise Refused("--out needs --for: without a platform there is nothing to make")
        if cover is not None and out is None:
            raise Refused("--cover needs --for and --out: a platform to make it for and a folder to put it into")
        try:
            options = recipe.Options(fit=fit, background=background, animation=animation)
        except ValueError as error:
            raise Refused(str(error)) from None
        found = [_one(name, rule, out, options, cover) for name in files]
    if as_json:
        emit(found)
    else:
        for one in found:
            _say(one)
    reasons = {one["reason"]["code"] for one in found if not one["ok"]}
    if reasons:
        raise typer.Exit(FAILED if reasons == {MACHINE} else REFUSED)


FACTS = ("kind", "width", "height", "duration_s", "orientation", "mode", "icc", "has_alpha", "animated", "frames",
         "private")  # fmt: skip
"""What is told of an original, of all that probing found."""
STATES = ("pending", "stored", "rendered", "ready", "failed")
ROWS = """
    SELECT a.id AS asset_id, a.name, a.mime AS original_mime, a.size AS original_size, a.sha256 AS original_sha256,
           a.probe, a.state AS asset_state, r.id AS rendition_id, r.state, r.progress, r.mime, r.size, r.sha256,
           r.width, r.height, r.duration_s, r.actions, coalesce(r.error_code, a.error_code) AS error_code,
           coalesce(r.error_message, a.error_message) AS error_message, a.delete_after
      FROM media_assets a LEFT JOIN renditions r ON r.asset_id = a.id
"""


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, newest first.")] = 50,
    state: Annotated[
        str | None,
        typer.Option(help="Only files or renditions in this state: pending, stored, rendered, ready, failed."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """List stored files with what was made of them, how far that is and why it failed."""
    with told(as_json=as_json):
        if state is not None and state not in STATES:
            raise Refused(f"There is no state {state!r}; there are: {', '.join(STATES)}")
        # A file that could not even be fetched has no rendition: it is found by its own state.
        found = _rows(
            "WHERE CAST(:state AS text) IS NULL OR r.state = :state OR (a.state = :state AND (r.id IS NULL OR"
            " a.state = 'failed')) ORDER BY a.id DESC, r.id DESC LIMIT :limit",
            limit=limit,
            state=state,
        )
    if as_json:
        emit(found)
        return
    for row in found:
        made = "no rendition" if row["state"] is None else f"{row['state']} {row['progress']:.0%}"
        why = f": {row['error_message']} [{row['error_code']}]" if row["error_code"] else ""
        what = " ".join(one for one in (row["original_mime"], _shape(row["original"])) if one)
        say(f"{row['asset_id']}  {row['name']}  {what}  {row['asset_state']}  {made}{why}")


@app.command()
def show(
    asset_id: Annotated[int, typer.Argument(metavar="ID", help="A file's number, as media list shows it.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Show all that is known of a stored file, and of each rendition made of it.

    Example: schedulerx media show 12
    """
    with told(as_json=as_json):
        found = _rows("WHERE a.id = :id ORDER BY r.id", id=asset_id)
        if not found:
            raise NotFound(f"There is no file {asset_id}; schedulerx media list shows all")
    if as_json:
        emit(found)
        return
    first = found[0]
    say(f"{first['asset_id']}  {first['name']}  {first['asset_state']}")
    for name, value in {
        "type": first["original_mime"],
        "bytes": first["original_size"],
        "sha256": first["original_sha256"],
        **(first["original"] or {}),
        "deleted after": first["delete_after"],
    }.items():
        if value not in (None, [], ""):
            say(f"  {name}: {', '.join(value) if isinstance(value, list) else value}")
    for row in found:
        if row["rendition_id"] is None:
            say("  no rendition" + (f": {row['error_message']} [{row['error_code']}]" if row["error_code"] else ""))
            continue
        size = f", {row['mime']}, {_shape(row)}, {row['size']:,} bytes" if row["size"] else ""
        say(f"  rendition {row['rendition_id']}: {row['state']} {row['progress']:.0%}{size}")
        for action in row["actions"]:
            say(f"    {action['name']}: {action['why']}")
        if row["error_code"]:
            say(f"    {row['error_message']} [{row['error_code']}]")


def _rows(which: str, **values: Any) -> list[dict[str, Any]]:
    """Files with their renditions, a row for each; ``original``: what probing found, None before it did."""
    from sqlalchemy import text

    from scheduler.api import database

    with database() as conn:
        rows = conn.execute(text(f"{ROWS} {which}"), values).mappings().all()
    return [
        {
            **{name: value for name, value in row.items() if name != "probe"},
            "original": {name: row["probe"].get(name) for name in FACTS} if row["probe"] else None,
            "delete_after": row["delete_after"].isoformat() if row["delete_after"] else None,
        }
        for row in rows
    ]


def _shape(found: dict[str, Any] | None) -> str:
    """``640x480``, and how long it plays."""
    if not found or not found["width"]:
        return ""
    lasts = f" {found['duration_s']:.1f} s" if found["duration_s"] else ""
    return f"{found['width']}x{found['height']}{lasts}"


@app.command()
def prune(
    yes: Annotated[bool, typer.Option("--yes", help="Really delete; without it, only say what would be.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Delete what no post needs: stored files a day after they were marked, orphans and unfinished uploads in the
    bucket, dead runs' files.

    Example: schedulerx media prune        (only says), then: schedulerx media prune --yes
    """
    from scheduler import prune as cleaning
    from scheduler.api import database
    from scheduler.errors import Unavailable
    from scheduler.settings import current

    with told(as_json=as_json):
        settings = current()
        with database(settings):
            pass  # it answers, and has our schema
        spooled = cleaning.stale_spool(settings, dry_run=not yes)
        done = cleaning.run(settings, dry_run=not yes)
        try:
            lost = cleaning.delete_orphans(settings) if yes else sum(1 for _ in cleaning.orphans(settings))
            begun = cleaning.unfinished_uploads(settings)
            uploads = cleaning.give_up_uploads(settings) if yes else sum(1 for _ in begun)
        except StoreUnavailable as error:
            raise Unavailable(f"The object store: {error}") from None
    counts = {
        "marked": done.marked,
        "deleted": done.deleted,
        "orphans": lost,
        "uploads": uploads,
        "spool": len(spooled),
        "dry_run": not yes,
    }
    if as_json:
        emit(counts)
        return
    verb = "Would be done" if not yes else "Done"
    say(
        f"{verb}: {done.marked} marked, {done.deleted} deleted, {lost} orphans and"
        f" {uploads} unfinished uploads in the bucket, {len(spooled)} old folders"
    )


def _rule(words: str) -> rules.MediaRule:
    platform, _, placement = words.partition(":")
    # The table knows more platforms than there are modules; those of third parties are known to their modules only.
    known = {place: rule for (name, place), rule in rules.RULES.items() if name == platform}
    if platform in registry.names():
        known = {**registry.get(platform).capabilities.media, **known}
    elif not known:
        names = sorted({*registry.names(), *(name for name, _ in rules.RULES)})
        raise UnknownAccount(f"There is no platform {platform!r}; there are: {', '.join(names)}")
    name = placement or next(iter(known), "")
    if name not in known:
        raise Refused(f"{platform} has no placement {placement!r}; it has: {', '.join(known) or 'none'}")
    return known[name]


def _one(
    name: str, rule: rules.MediaRule | None, out: Path | None, options: recipe.Options, cover: float | None
) -> dict[str, Any]:
    told_: dict[str, Any] = {
        "path": name,
        "ok": False,
        "reason": None,
        "probe": None,
        "actions": [],
        "output": None,
        "size_after": None,
        "cover": None,
    }
    path = Path(name).expanduser()
    try:
        found = probe_own(path, name=name)
        told_["probe"] = found.as_json()
        if rule is not None:
            wrong = rules.violations(found, rule, name=name, fit=options.fit, still=options.still)
            if wrong:
                told_["reason"] = {"code": wrong[0].code, "message": wrong[0].message}
                return told_
            plan = recipe.plan(found, rule, options=options, name=name)
            told_["actions"] = [{"name": one.name, "why": one.why} for one in plan.actions]
            with tempfile.TemporaryDirectory() as scratch:
                folder = out or Path(scratch)
                folder.mkdir(parents=True, exist_ok=True)
                made = normalize(path, plan, folder)
                told_["actions"] = [{"name": one.name, "why": one.why} for one in made.actions]
                told_["output"] = str(made.path) if out else None
                told_["size_after"] = made.size
                if cover is not None and found.clip is not None:
                    told_["cover"] = str(normalize(path, recipe.poster(rule, at_s=cover), folder).path)
    except MediaRefused as error:
        told_["reason"] = {"code": error.code, "message": error.message}
        return told_
    except MachineFailed as error:
        told_["reason"] = {"code": MACHINE, "message": str(error)}
        return told_
    told_["ok"] = True
    return told_


def _say(one: dict[str, Any]) -> None:
    found = one["probe"]
    lasts = f", {found['duration_s']:.1f} s" if found and found.get("duration_s") else ""
    lasts += ", 360 degrees" if found and (found.get("clip") or {}).get("spherical") else ""
    what = (
        f"{found['mime']}, {found['width']}x{found['height']}, {found['size']:,} bytes, {found['mode']}{lasts}"
        if found
        else ""
    )
    if not one["ok"]:
        say(f"{one['path']}: refused: {one['reason']['message']} [{one['reason']['code']}] {what}")
        return
    say(f"{one['path']}: {what}")
    for action in one["actions"]:
        say(f"  {action['name']}: {action['why']}")
    for made in (one["output"], one["cover"]):
        if made:
            say(f"  -> {made}")
