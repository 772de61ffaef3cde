"""The store, against a real server: rclone serving a folder as S3."""

from __future__ import annotations

import csv
import hashlib
import http.server
import io
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from media import addresses, s3, storage
from media.errors import MediaRefused, StoreUnavailable
from media.storage import Store, StoreConfig

KEY, SECRET = "test-key", "a-secret-for-tests"
BINARY = shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which("rclone")
pytestmark = pytest.mark.skipif(BINARY is None, reason="rclone is not installed")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        return int(unused.getsockname()[1])


def words_of(lines: list[str]) -> str:
    row = io.StringIO()
    csv.writer(row, lineterminator="").writerow(lines)
    return row.getvalue()


class Rclone:
    """A store that can be stopped and started again on the same folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        # The pair goes by the environment (a list in CSV), not by the command line, which everybody can read.
        pair = words_of([f"{KEY},{SECRET}"])
        environment = {**os.environ, "RCLONE_CONFIG": os.devnull, "RCLONE_AUTH_KEY": pair}
        address = f"127.0.0.1:{self.port}"
        command = [str(BINARY), "serve", "s3", "--addr", address, "--vfs-cache-mode", "off", str(self.folder)]
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("rclone did not start")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
            self.process = None


@pytest.fixture(scope="module")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rclone]:
    server = Rclone(tmp_path_factory.mktemp("s3"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def store(rclone: Rclone) -> Store:
    made = Store(StoreConfig(f"http://127.0.0.1:{rclone.port}", KEY, SECRET, "bucket-one"))
    made.ensure_bucket()
    return made


@pytest.fixture
def sent(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The operations that are sent from now on."""
    names: list[str] = []
    store._client.meta.events.register("before-send.s3", lambda event_name, **_: names.append(event_name))
    return names


def file(folder: Path, data: bytes) -> tuple[Path, str]:
    path = folder / "file"
    path.write_bytes(data)
    return path, hashlib.sha256(data).hexdigest()


def test_names(store: Store) -> None:
    key = store.original_key("ab")
    assert key == store.original_key("ab") != store.original_key("cd")
    assert key.startswith("originals/")
    other = Store(replace(store.config, secret_access_key="another"))
    assert other.original_key("ab") != key
    assert store.rendition_key("ab", "image/jpeg") == "media/ab.jpg"
    assert store.rendition_key("ab", "x/unknown") == "media/ab"


def test_the_bucket_is_made_once(store: Store) -> None:
    store.ensure_bucket()
    store.check()
    other = Store(replace(store.config, bucket="bucket-two"))
    with pytest.raises(StoreUnavailable, match="no such bucket"):
        other.check()
    other.ensure_bucket()
    other.check()


def test_there_and_back(store: Store, tmp_path: Path) -> None:
    path, sha256 = file(tmp_path, b"some bytes")
    key = store.original_key(sha256)
    store.put_file(key, path, "image/png", sha256)
    assert store.exists(key)
    assert [(one.key, one.size) for one in store.list("originals/")] == [(key, 10)]
    assert list(store.list("nothing/")) == []
    store.download(key, tmp_path / "back", sha256=sha256)
    assert (tmp_path / "back").read_bytes() == b"some bytes"
    with store.open(key) as stream:
        assert (stream.read(4), stream.seek(0), stream.read()) == (b"some", 0, b"some bytes")
    store.delete(key)
    store.delete(key)
    assert not store.exists(key)


def test_the_same_file_is_sent_once(store: Store, tmp_path: Path, sent: list[str]) -> None:
    path, sha256 = file(tmp_path, b"only once")
    for _ in range(3):
        store.put_file("media/once", path, "image/png", sha256)
    assert [name.rpartition(".")[2] for name in sent].count("PutObject") == 1
    other, other_hash = file(tmp_path, b"ONLY ONCE")
    store.put_file("media/once", other, "image/png", other_hash)
    with store.open("media/once") as stream:
        assert stream.read() == b"ONLY ONCE"


def test_a_store_that_forgot_our_metadata(store: Store, rclone: Rclone, tmp_path: Path, sent: list[str]) -> None:
    path, sha256 = file(tmp_path, b"remember me")
    store.put_file("media/kept", path, "image/png", sha256)
    rclone.stop()
    rclone.start()
    sent.clear()
    store.put_file("media/kept", path, "image/png", sha256)
    assert [name.rpartition(".")[2] for name in sent] == ["HeadObject"]


def test_large_files_go_in_equal_parts(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "PART_BYTES", 5 << 20)
    sizes: list[int] = []
    store._client.meta.events.register(
        "provide-client-params.s3.UploadPart", lambda params, **_: sizes.append(len(params["Body"]))
    )
    path, sha256 = file(tmp_path, bytes(range(256)) * 47_000)
    store.put_file("media/large", path, "image/png", sha256)
    assert sizes == [5 << 20, 5 << 20, 256 * 47_000 - (10 << 20)]
    store.download("media/large", tmp_path / "back", sha256=sha256)
    assert (tmp_path / "back").stat().st_size == 256 * 47_000
    with pytest.raises(MediaRefused) as caught:
        store.put_file("media/other", path, "image/png", "0" * 64)
    assert caught.value.code == "changed"
    assert not store.exists("media/other")


class Tagged:
    """A store that tells another tag from now on; what it was asked."""

    def __init__(self, store: Store, *, tag: str) -> None:
        self.asked: list[str] = []
        client = store._client
        client.meta.events.register("before-send.s3", lambda event_name, **_: self.asked.append(event_name))
        client.meta.events.register("after-call.s3.HeadObject", lambda parsed, **_: parsed.update(ETag=tag))

    def reads(self) -> int:
        return sum(name.endswith("GetObject") for name in self.asked)


@pytest.mark.parametrize("size", [100, 12 << 20])
def test_what_was_stored_is_verified_by_its_tag_without_reading_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(storage, "PART_BYTES", 5 << 20)
    path, sha256 = file(tmp_path, os.urandom(size))
    body = path.read_bytes()
    parts = [body[at : at + (5 << 20)] for at in range(0, size, 5 << 20)]
    digests = b"".join(hashlib.md5(part, usedforsecurity=False).digest() for part in parts)
    # As R2 and S3 name what came in parts.
    tag = f'"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"'
    watch = Tagged(store, tag=tag)
    store.put_file(store.rendition_key(sha256, "image/png"), path, "image/png", sha256)
    assert watch.reads() == 0


@pytest.mark.parametrize("size", [100, 12 << 20])
def test_what_has_a_tag_of_another_kind_is_read_back(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(storage, "PART_BYTES", 5 << 20)
    path, sha256 = file(tmp_path, os.urandom(size))
    watch = Tagged(store, tag='"opaque"')
    key = store.rendition_key(sha256, "image/png")
    store.put_file(key, path, "image/png", sha256)
    assert watch.reads() == 1
    assert store.exists(key)


@pytest.mark.parametrize("size", [100, 12 << 20])
def test_a_store_that_kept_other_bytes_is_found_out_and_keeps_nothing(
    store: Store, rclone: Rclone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(storage, "PART_BYTES", 5 << 20)
    path, sha256 = file(tmp_path, os.urandom(size))
    key = store.rendition_key(sha256, "image/png")
    client = store._client

    def bend(**_: object) -> None:
        (rclone.folder / "bucket-one" / key).write_bytes(os.urandom(size))

    for name in ("PutObject", "CompleteMultipartUpload"):
        client.meta.events.register(f"after-call.s3.{name}", bend)
    with pytest.raises(StoreUnavailable, match="not the same"):
        store.put_file(key, path, "image/png", sha256)
    assert not store.exists(key)
    for name in ("PutObject", "CompleteMultipartUpload"):
        client.meta.events.unregister(f"after-call.s3.{name}", bend)
    store.put_file(key, path, "image/png", sha256)
    assert store.exists(key)


def test_a_large_object_that_nobody_verified_is_not_taken_for_the_file(
    store: Store, rclone: Rclone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its note says the right hash: it was written as the upload began, and whoever wrote it died."""
    monkeypatch.setattr(storage, "PART_BYTES", 5 << 20)
    path, sha256 = file(tmp_path, os.urandom(12 << 20))
    key = store.rendition_key(sha256, "image/png")
    store._client.put_object(Bucket="bucket-one", Key=key, Body=bytes(12 << 20), Metadata={storage.HASH_HEADER: sha256})
    store.put_file(key, path, "image/png", sha256)
    with store.open(key) as stream:
        assert hashlib.sha256(stream.read()).hexdigest() == sha256


def test_how_far_an_upload_is_and_who_may_end_it(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "PART_BYTES", 5 << 20)
    path, sha256 = file(tmp_path, os.urandom(12 << 20))
    told: list[float] = []
    store.put_file("media/far", path, "image/png", sha256, told.append)
    assert [round(share, 2) for share in told[:3]] == [0.42, 0.83, 1.0]

    class Lost(Exception):
        pass

    def lost(_share: float) -> None:
        raise Lost

    other, other_hash = file(tmp_path, os.urandom(12 << 20))
    with pytest.raises(Lost):
        store.put_file("media/given-up", other, "image/png", other_hash, lost)
    assert not store.exists("media/given-up")
    assert store._client.list_multipart_uploads(Bucket="bucket-one").get("Uploads", []) == []


def test_how_far_reading_is_and_who_may_end_it(store: Store, tmp_path: Path) -> None:
    path, sha256 = file(tmp_path, os.urandom(3 << 20))
    store.put_file("media/read", path, "image/png", sha256)
    told: list[float] = []
    with store.open("media/read", told.append) as stream:
        assert len(stream.read()) == 3 << 20
    assert [round(share, 2) for share in told] == [0.33, 0.67, 1.0]

    class Lost(Exception):
        pass

    def lost(share: float) -> None:
        told.append(share)
        raise Lost

    told.clear()
    with pytest.raises(Lost):
        store.open("media/read", lost)
    assert len(told) == 1  # and it is not tried again, as an answer that broke off is


def test_a_file_that_changed_is_not_sent(store: Store, tmp_path: Path) -> None:
    path, _ = file(tmp_path, b"new bytes")
    with pytest.raises(MediaRefused) as caught:
        store.put_file("media/changed", path, "image/png", "0" * 64)
    assert caught.value.code == "changed"
    assert not store.exists("media/changed")
    with pytest.raises(MediaRefused) as caught:
        store.put_file("media/changed", tmp_path / "gone", "image/png", "0" * 64)
    assert caught.value.code == "missing"


def test_bytes_that_are_not_what_their_name_says(store: Store, rclone: Rclone, tmp_path: Path) -> None:
    path, sha256 = file(tmp_path, b"the right bytes")
    key = store.rendition_key(sha256, "image/png")
    store.put_file(key, path, "image/png", sha256)
    (rclone.folder / "bucket-one" / key).write_bytes(b"the wrong bytes")
    before = set(tmp_path.iterdir())
    with pytest.raises(StoreUnavailable, match="not those"):
        store.download(key, tmp_path / "back")
    with pytest.raises(StoreUnavailable, match="not those"):
        store.open(key)
    assert set(tmp_path.iterdir()) == before
    with pytest.raises(MediaRefused) as caught:
        store.download("media/none", tmp_path / "back")
    assert caught.value.code == "missing"


def test_presigned(store: Store, tmp_path: Path) -> None:
    path, sha256 = file(tmp_path, b"for strangers")
    store.put_file("media/a b.png", path, "image/png", sha256)
    url = store.public_url("media/a b.png", expires_s=60)
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own loopback server
        assert (answer.read(), answer.headers["Content-Type"]) == (b"for strangers", "image/png")
    for wrong in (url.partition("?")[0], url.replace("X-Amz-Expires=60", "X-Amz-Expires=61")):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(wrong, timeout=5)  # noqa: S310 - our own loopback server
        caught.value.close()
    assert "X-Amz-Expires=604800" in store.public_url("media/a", expires_s=10**9)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"secret_access_key": "another-secret"}, "secret key is wrong"),
        ({"access_key_id": "nobody"}, "access key is not known"),
        ({"endpoint_url": "http://127.0.0.1:1"}, "no answer"),
        ({"endpoint_url": "nonsense"}, "no URL"),
    ],
)
def test_check_says_what_is_wrong(store: Store, change: dict[str, str], words: str) -> None:
    config = replace(store.config, **change)  # type: ignore[arg-type]  # field names
    with pytest.raises(StoreUnavailable, match=words) as caught:
        Store(config).check()
    told = f"{caught.value} {caught.value.__cause__} {caught.value.__context__} {config!r} {Store(config)!r}"
    assert config.secret_access_key not in told
    assert config.access_key_id not in told


class Moody(http.server.BaseHTTPRequestHandler):
    """Answers with the statuses of a list, then with an empty listing."""

    statuses: list[int]
    asked = 0

    def do_GET(self) -> None:
        Moody.asked += 1
        status = self.statuses.pop(0) if self.statuses else 200
        body = b"<ListBucketResult><Name>b</Name></ListBucketResult>" if status == 200 else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_given: object) -> None:
        """Silent."""


@pytest.mark.parametrize(
    ("statuses", "asked", "fails"),
    [([503, 500], 3, False), ([503] * 5, 3, True), ([403], 1, True), ([501], 1, True), ([429], 2, False)],
)
def test_what_is_tried_again(statuses: list[int], asked: int, fails: bool) -> None:
    Moody.statuses, Moody.asked = list(statuses), 0
    with http.server.HTTPServer(("127.0.0.1", 0), Moody) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            moody = Store(StoreConfig(f"http://127.0.0.1:{server.server_port}", KEY, SECRET, "bucket"))
            if fails:
                with pytest.raises(StoreUnavailable, match=str(statuses[0])):
                    moody.check()
            else:
                moody.check()
        finally:
            server.shutdown()
            thread.join()
    assert Moody.asked == asked


def test_the_machines_own_aws_settings_are_ignored(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "gone")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "other")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "other")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    Store(store.config).check()


def test_threads_and_forks(store: Store, tmp_path: Path) -> None:
    fresh = Store(store.config)

    def put(number: int) -> None:
        folder = tmp_path / str(number)
        folder.mkdir()
        path, sha256 = file(folder, f"thread {number % 3}".encode())
        fresh.put_file(fresh.rendition_key(sha256, "image/png"), path, "image/png", sha256)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(12)))
    assert len(fresh._clients) == 1
    child = multiprocessing.get_context("fork").Process(target=in_child, args=(fresh,))
    child.start()
    child.join(30)
    assert child.exitcode == 0


def in_child(inherited: Store) -> None:
    parent = next(iter(inherited._clients.values()))
    inherited.check()
    assert inherited._client is not parent


@pytest.mark.parametrize(
    ("endpoint", "public", "reachable", "loopback"),
    [
        ("http://127.0.0.1:9000", None, False, True),
        ("http://localhost:9000", None, False, True),
        ("http://[::1]:9000", None, False, True),
        ("http://minio:9000", None, False, False),
        ("http://10.0.0.5:9000", None, False, False),
        ("https://1.2.3.4", None, True, False),
        ("http://127.0.0.1:9000", "https://9.9.9.9/", True, False),
        ("https://1.2.3.4", "http://192.168.1.2", False, False),
        ("https://1.2.3.4", "https://media.example.com", True, False),
        ("https://1.2.3.4", "https://inside.example.com", False, False),
        ("https://1.2.3.4", "https://unknown.example.com", True, False),
    ],
)
def test_who_can_reach_it(
    monkeypatch: pytest.MonkeyPatch, endpoint: str, public: str | None, reachable: bool, loopback: bool
) -> None:
    def resolve(host: str, _port: int) -> list[addresses.Address]:
        known = {"media.example.com": "1.1.1.1", "inside.example.com": "10.0.0.1"}
        found = addresses.literal(known.get(host, host))
        if found is None:
            raise addresses.Unresolved(host, temporary=True)
        return [found]

    monkeypatch.setattr(addresses, "resolve", resolve)
    one = Store(StoreConfig(endpoint, KEY, SECRET, "bucket", public_url=public))
    assert one.is_public() is reachable
    assert one.is_public() is reachable
    assert one.is_loopback is loopback
    if public:
        assert one.public_url("media/ä.png") == f"{public.rstrip('/')}/media/%C3%A4.png"


def test_origin() -> None:
    assert s3.origin("https://user:secret@host.example:9000/x?y=z") == "https://host.example:9000"
    assert s3.origin("http://host:port") == "http://host"
