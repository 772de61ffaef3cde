"""Prune beyond the rows: what no row knows, and what dead runs left. And the store against a strict server."""

from __future__ import annotations

import hashlib
import os
import random
import resource
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from media import storage
from media.errors import MediaRefused, StoreUnavailable
from media.reach import check_public
from media.storage import Store, StoreConfig
from scheduler import prune

sys.path.insert(0, str(Path(__file__).parent))
import swift


def test_orphans_are_found_only_when_old_and_known_to_nobody(
    scheduled, pipeline, settings, pictures, tmp_path, monkeypatch, database
):
    scheduled("Hello", media=[pictures["jpeg"]])
    pipeline.until_quiet()
    store = Store(settings.store())
    # What rows name, not what the store lists: it also holds what earlier tests left.
    rows = database.rows("SELECT storage_key FROM media_assets UNION SELECT storage_key FROM renditions")
    known = {row.storage_key for row in rows}
    assert len(known) == 2
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


def test_uploads_that_were_never_ended_are_given_up_when_old(settings, monkeypatch):
    store = Store(settings.store())
    key = store.rendition_key("ab" * 32, "video/mp4")
    store._client.create_multipart_upload(Bucket=store.config.bucket, Key=key)
    elsewhere = store._client.create_multipart_upload(Bucket=store.config.bucket, Key="somebody/else")
    assert key in [one.key for one in store.unfinished()]
    assert list(prune.unfinished_uploads(settings)) == []
    monkeypatch.setattr(prune, "OLD", timedelta(seconds=-60))
    assert [one.key for one in prune.unfinished_uploads(settings)] == [key]
    assert prune.give_up_uploads(settings) == 1
    # What is not ours is left alone.
    assert [one.upload_id for one in store.unfinished()] == [elsewhere["UploadId"]]
    store.give_up(next(store.unfinished()))
    assert list(store.unfinished()) == []


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


# --- Against a strict store -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def strict(tmp_path_factory):
    """A store in OpenStack Swift, which refuses what S3 itself refuses."""
    try:
        with swift.running(tmp_path_factory.mktemp("swift")) as endpoint:
            store = Store(StoreConfig(endpoint, swift.KEY, swift.SECRET, "bucket-one"))
            store.ensure_bucket()
            yield store
    except swift.NotInstallable as reason:
        pytest.skip(str(reason))


@pytest.mark.acceptance
def test_swift_takes_files_whole_and_in_equal_parts(strict, tmp_path):
    for size in (100, storage.PART_BYTES, 2 * storage.PART_BYTES + 77):
        path = tmp_path / "file"
        head = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\1\0\0\0\1\0"
        path.write_bytes(head + random.Random(size).randbytes(size - len(head)))
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        key = strict.rendition_key(sha256, "image/png")
        strict.put_file(key, path, "image/png", sha256)
        strict.put_file(key, path, "image/png", sha256)
        strict.download(key, tmp_path / "back", sha256=sha256)
        assert (tmp_path / "back").read_bytes() == path.read_bytes()
        # As a platform fetches it: presigned, without credentials.
        check_public(strict.public_url(key, 60), size=size, mime="image/png", allow_loopback=True)
        # Another last character, whatever the signature ends in.
        url = strict.public_url(key, 60)
        tampered = url[:-1] + ("0" if url[-1] != "0" else "1")
        with pytest.raises(MediaRefused) as caught:
            check_public(tampered, size=size, mime="image/png", allow_loopback=True)
        assert caught.value.code == "forbidden"
        strict.delete(key)
        assert not strict.exists(key)


@pytest.mark.acceptance
def test_swift_refuses_wrong_keys_in_words(strict):
    other = Store(replace(strict.config, secret_access_key="wrong"))
    with pytest.raises(StoreUnavailable, match="secret key is wrong"):
        other.check()


@pytest.mark.slow
@pytest.mark.acceptance
def test_memory_stays_flat_while_200_megabytes_are_stored(strict, tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as out:
        for number in range(200):
            out.write(number.to_bytes(8, "big") * 131_072)
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    # Warm: the client itself takes 40 MB at its first use.
    strict.check()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    strict.put_file("media/large", path, "video/mp4", sha256)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 5 * storage.PART_BYTES
