"""Prune beyond the rows: what no row knows, and what dead runs left."""

from __future__ import annotations

import hashlib
import os
import time
from datetime import timedelta

from media.storage import Store
from scheduler import prune


def test_orphans_are_found_only_when_old_and_known_to_nobody(
    scheduled, pipeline, settings, pictures, tmp_path, monkeypatch
):
    scheduled("Hello", media=[pictures["jpeg"]])
    pipeline.until_quiet()
    store = Store(settings.store())
    known = {one.key for one in store.list()}
    lost = tmp_path / "lost"
    lost.write_bytes(b"nobody knows me")
    sha256 = hashlib.sha256(lost.read_bytes()).hexdigest()
    key = store.rendition_key(sha256, "image/png")
    store.put_file(key, lost, "image/png", sha256)
    assert key not in [one.key for one in prune.orphans(settings)]
    monkeypatch.setattr(prune, "OLD", timedelta(seconds=-60))
    found = {one.key for one in prune.orphans(settings)}
    assert key in found
    assert not found & known
    assert prune.delete_orphans(settings) == len(found)
    assert not store.exists(key)
    assert known <= {one.key for one in store.list()}


def test_folders_of_dead_runs_are_removed_when_old(settings):
    spool = settings.spool()
    names = ["render-dead", "fetch-dead", "rendition-424242", "unsent"]
    for name in names:
        (spool / name).mkdir()
    assert prune.stale_spool(settings) == []
    before = time.time() - 2 * 24 * 3600
    for name in names:
        os.utime(spool / name, (before, before))
    assert [path.name for path in prune.stale_spool(settings, dry_run=True)] == sorted(names[:3])
    assert (spool / "render-dead").is_dir()
    prune.stale_spool(settings)
    assert not (spool / "render-dead").exists()
    assert (spool / "unsent").is_dir()
