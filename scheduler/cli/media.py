"""``schedulerx media inspect|list|prune``: what files are, what became of them, what nobody needs any more."""

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
from scheduler.errors import Refused, UnknownAccount

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


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, newest first.")] = 50,
    state: Annotated[
        str | None, typer.Option(help="Only renditions in this state: pending, rendered, ready, failed.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """List stored files with what was made of them, how far that is and why it failed."""
    from sqlalchemy import text

    from scheduler.api import database

    with told(as_json=as_json), database() as conn:
        rows = (
            conn.execute(
                text("""
                SELECT a.id AS asset_id, a.name, a.mime AS original_mime, a.size AS original_size,
                       a.state AS asset_state, r.id AS rendition_id, r.state, r.progress, r.mime, r.size, r.width,
                       r.height, r.duration_s, r.actions, coalesce(r.error_code, a.error_code) AS error_code,
                       coalesce(r.error_message, a.error_message) AS error_message, a.delete_after
                  FROM media_assets a LEFT JOIN renditions r ON r.asset_id = a.id
                 WHERE CAST(:state AS text) IS NULL OR r.state = :state
                 ORDER BY a.id DESC, r.id DESC LIMIT :limit
            """),
                {"limit": limit, "state": state},
            )
            .mappings()
            .all()
        )
    if as_json:
        emit(
            [{**row, "delete_after": row["delete_after"].isoformat() if row["delete_after"] else None} for row in rows]
        )
        return
    for row in rows:
        made = "no rendition" if row["state"] is None else f"{row['state']} {row['progress']:.0%}"
        why = f": {row['error_message']} [{row['error_code']}]" if row["error_code"] else ""
        say(f"{row['asset_id']}  {row['name']}  {row['original_mime']}  {row['asset_state']}  {made}{why}")


@app.command()
def prune(
    yes: Annotated[bool, typer.Option("--yes", help="Really delete; without it, only say what would be.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Delete what no post needs: stored files a day after they were marked, orphans in the bucket, dead runs' files.

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
        except StoreUnavailable as error:
            raise Unavailable(f"The object store: {error}") from None
    counts = {
        "marked": done.marked,
        "deleted": done.deleted,
        "orphans": lost,
        "spool": len(spooled),
        "dry_run": not yes,
    }
    if as_json:
        emit(counts)
        return
    verb = "Would be done" if not yes else "Done"
    say(
        f"{verb}: {done.marked} marked, {done.deleted} deleted, {lost} orphans in the bucket,"
        f" {len(spooled)} old folders"
    )


def _rule(words: str) -> rules.MediaRule:
    platform, _, placement = words.partition(":")
    if platform not in registry.names():
        raise UnknownAccount(f"There is no platform {platform!r}; there are: {', '.join(registry.names())}")
    known = registry.get(platform).capabilities.media
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
