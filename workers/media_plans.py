"""What has to be made of a post's files, decided once a fetched one is known: alone, or together with the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, text

from db.states import Status
from db.transitions import move
from media.probe import Probe
from media.sets import depends
from platforms.base import Draft, Violation
from scheduler import intake
from scheduler.checking import fit, placement_rule
from scheduler.options import PostOptions, post_options
from scheduler.settings import Settings
from workers.work import Work, load

WAITING = text("""
    SELECT s.id, s.generation FROM scheduled_posts s
     WHERE s.status = 'scheduled'
       AND EXISTS (SELECT 1 FROM scheduled_post_media m
                    WHERE m.scheduled_post_id = s.id AND m.asset_id = :id AND m.rendition_id IS NULL)
     ORDER BY s.id FOR UPDATE OF s
""")
"""Locked, so that of two files of one post that are fetched at once the second to come sees the first."""
FILES = text("""
    SELECT m.position, m.asset_id, m.rendition_id, a.name, a.probe, a.state FROM scheduled_post_media m
      JOIN media_assets a ON a.id = m.asset_id WHERE m.scheduled_post_id = :id
""")


def fail_post(conn: Connection, scheduled_post_id: int, generation: int, code: str, message: str) -> None:
    """Fails one post because of its media."""
    move(
        conn,
        scheduled_post_id,
        generation=generation,
        source=Status.SCHEDULED,
        target=Status.FAILED,
        by="media",
        why="its media was refused",
        error_code=code,
        error_message=message[:2000],
    )


def plan_renditions(conn: Connection, settings: Settings, asset_id: int) -> None:
    """Decides for each post that waits for this file what has to be made of its files, as far as they are known."""
    for row in conn.execute(WAITING, {"id": asset_id}).all():
        work = load(conn, settings, row.id)
        if work is None:
            continue
        files = {one.position: one for one in conn.execute(FILES, {"id": row.id})}
        post, _ = post_options(work.row.options)
        for draft, places in zip(work.parts.drafts[: work.parts.threaded], work.parts.files, strict=False):
            wrong = _plan_part(conn, work, draft, [files[place] for place in places if place in files], post)
            if wrong:
                fail_post(conn, row.id, row.generation, wrong[0].code, " · ".join(one.message for one in wrong))
                break


def _plan_part(
    conn: Connection, work: Work, draft: Draft, files: Sequence[Row[Any]], post: PostOptions
) -> list[Violation]:
    """Plans the files of one part that are known; what is wrong with them."""
    if not files:
        return []
    platform = str(work.row.platform)
    rule = placement_rule(work.module, draft)
    if rule is None:
        return [Violation("unsupported", f"{platform} takes no such media", "media", None, platform)]
    known = [one for one in files if one.state == "stored" and one.probe]
    probes = [(Probe.from_json(one.probe), str(one.name)) for one in known]
    wrong, recipes = fit(probes, rule, post, platform, count=len(files))
    if len(known) == len(files):
        said = {one.code for one in wrong}
        wrong += [one for one in work.module.validate(draft) if one.code not in said]
    if wrong:
        return wrong
    for one, recipe in zip(known, recipes, strict=False):
        if one.rendition_id is None or depends(rule):
            rendition_id, _ = intake.rendition(conn, one.asset_id, recipe)
            conn.execute(
                text(
                    "UPDATE scheduled_post_media SET rendition_id = :r WHERE scheduled_post_id = :id AND position = :p"
                ),
                {"r": rendition_id, "id": work.id, "p": one.position},
            )
    return []
