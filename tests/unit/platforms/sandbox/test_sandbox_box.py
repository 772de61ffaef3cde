"""The sandbox as a whole: the judge, the control calls, restarts after kill -9, the pages, the wire."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from sandbox_client import Client, picture

from platforms.sandbox import Sandbox
from platforms.sandbox.journal import Journal
from platforms.sandbox.ledger import fingerprint


def refused(*words: str) -> str:
    """What a sandbox says that cannot be started as asked."""
    argv = [sys.executable, "-m", "platforms.sandbox", *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr


def test_what_it_cannot_be_started_with_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused("--port", str(port))
    assert said.startswith(f"sandbox: it cannot listen on 127.0.0.1:{port} (Address already in use); ")
    (tmp_path / "file").write_text("{")
    assert refused("--data", str(tmp_path / "file")).startswith(f"sandbox: {tmp_path}/file/blobs cannot be used (")
    assert refused("--faults", str(tmp_path / "file")).startswith(f"sandbox: --faults {tmp_path}/file: is not JSON")
    assert "'70000' is no port" in refused("--port", "70000")


def test_the_judge_counts_by_content_and_account(box: Sandbox, x: Client) -> None:
    other = Client(box, "sandbox-x-other")
    began = time.time()
    for sender in (x, x, other):
        assert sender("POST", "/2/tweets", json={"text": "same"}).status_code == 201
    for _ in range(2):
        media_id = x.upload(picture())
        body = {"text": "with a picture", "media": {"media_ids": [media_id]}}
        assert x("POST", "/2/tweets", json=body).status_code == 201
    rows = requests.get(f"{box.url}/_sandbox/accepted", timeout=10).json()
    assert rows == box.accepted()
    assert all(began <= row["request_began_at"] <= row["accepted_at"] for row in rows)
    picked = requests.get(
        f"{box.url}/_sandbox/accepted", params={"account": "other", "platform": "x"}, timeout=10
    ).json()
    assert [row["account"] for row in picked] == ["other"]
    assert len(requests.get(f"{box.url}/_sandbox/accepted?offset=4", timeout=10).json()) == 1
    summary = requests.get(f"{box.url}/_sandbox/summary", timeout=10).json()
    assert (summary["accepted"], summary["distinct"]) == (5, 3)
    assert [(row["text"], row["count"]) for row in summary["doubled"]] == [("same", 2), ("with a picture", 2)]
    assert summary["requests"]["x.create"] == 5


def test_alt_text_does_not_make_a_post_another_one() -> None:
    shas = ["a" * 64]
    one = fingerprint("x", "acme", "t", shas, {})
    assert one == fingerprint("x", "acme", "t", shas, {})
    assert one != fingerprint("x", "acme", "t", ["b" * 64], {})
    assert one != fingerprint("x", "acme", "t", shas, {"reply_to": "1"})


def test_control_calls(box: Sandbox) -> None:
    def control(path: str, body: Any) -> requests.Response:
        return requests.post(f"{box.url}/_sandbox/{path}", json=body, timeout=10)

    made = control("accounts", {"platform": "pinterest", "name": "acme", "boards": ["One", "Two"]})
    assert made.status_code == 201
    assert [board["name"] for board in made.json()["boards"]] == ["One", "Two"]
    several = control("accounts", [{"platform": "x", "name": "a", "token": "mine"}, {"platform": "x", "name": "b"}])
    assert several.json()[0]["token"] == "mine"
    for wrong in (
        {"platform": "mars", "name": "a"},
        {"platform": "x"},
        {"platform": "x", "name": "a", "c": 1},
    ):
        assert control("accounts", wrong).status_code == 400
    listed = requests.get(f"{box.url}/_sandbox/accounts", timeout=10).json()
    assert [row["name"] for row in listed] == ["acme", "a", "b"]
    assert control("latency", {"ms": 5}).json() == {"*": 5.0}
    assert control("latency", {"ms": 7, "step": "x.*"}).json() == {"*": 5.0, "x.*": 7.0}
    assert control("latency", {"ms": 0}).json() == {}
    for wrong in ({"ms": -1}, {}, [], {"ms": "soon"}):
        assert control("latency", wrong).status_code == 400
    assert control("settings", {"enforce_limits": True}).json()["enforce_limits"] is True
    assert control("settings", {"colour": 1}).status_code == 400
    assert requests.get(f"{box.url}/_sandbox/settings", timeout=10).json()["enforce_limits"] is True
    assert requests.get(f"{box.url}/_sandbox/latency", timeout=10).json() == {}
    assert requests.post(f"{box.url}/_sandbox/faults", data=b"{", timeout=10).status_code == 400


def test_reset_forgets(box: Sandbox) -> None:
    token = box.account("x", "acme")["token"]
    x = Client(box, token)
    x("POST", "/2/tweets", json={"text": "a"})
    box.reset(keep_accounts=True)
    assert box.accepted() == []
    assert x("GET", "/2/users/me").status_code == 200
    assert requests.post(f"{box.url}/_sandbox/reset", timeout=10).json() == {"reset": True}
    assert x("GET", "/2/users/me").status_code == 401


def test_unknown_paths_and_methods(box: Sandbox) -> None:
    assert requests.get(f"{box.url}/2/nothing", timeout=10).status_code == 404
    assert requests.put(f"{box.url}/2/tweets", timeout=10).status_code == 405


def run(folder: Path, *more: str) -> tuple[subprocess.Popen[bytes], str]:
    ready = folder / "ready.json"
    ready.unlink(missing_ok=True)
    command = [sys.executable, "-m", "platforms.sandbox", "--data", str(folder / "data")]
    process = subprocess.Popen([*command, "--ready-file", str(ready), *more], stdout=subprocess.DEVNULL, cwd=Path.cwd())
    deadline = time.monotonic() + 30
    while not ready.exists():
        assert process.poll() is None, "the sandbox ended"
        assert time.monotonic() < deadline, "the sandbox did not start"
        time.sleep(0.02)
    told = json.loads(ready.read_text())
    assert told["pid"] == process.pid
    return process, told["url"]


def test_a_killed_sandbox_goes_on_where_it_was(tmp_path: Path) -> None:
    (tmp_path / "faults.json").write_text('[{"step": "x.me", "kind": "forbidden"}]')
    process, url = run(tmp_path, "--faults", str(tmp_path / "faults.json"))
    try:
        box: Any = type("Remote", (), {"url": url})()
        x = Client(box, "sandbox-x-acme")
        assert x("GET", "/2/users/me").status_code == 403
        data = picture()
        half = len(data) // 2
        body = {"media_type": "image/png", "total_bytes": len(data), "media_category": "tweet_image"}
        media_id = x("POST", "/2/media/upload/initialize", json=body).json()["data"]["id"]
        path = f"/2/media/upload/{media_id}"
        part = {"media": ("b", data[:half], "application/octet-stream")}
        assert x("POST", f"{path}/append", data={"segment_index": "0"}, files=part).status_code == 200
        kept = x("POST", "/2/tweets", json={"text": "kept"}).json()["data"]["id"]
        gone = x("POST", "/2/tweets", json={"text": "gone"}).json()["data"]["id"]
        x("DELETE", f"/2/tweets/{gone}")
        before = requests.get(f"{url}/_sandbox/accepted", timeout=10).json()
        form = {"grant_type": "refresh_token", "refresh_token": "sandbox-refresh-x-acme", "client_id": "app"}
        renewed = requests.post(f"{url}/2/oauth2/token", data=form, timeout=10).json()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with (tmp_path / "data" / "journal.jsonl").open("ab") as journal:
            journal.write(b'{"kind": "post", "pl')  # torn by the kill
        process, url = run(tmp_path)
        box.url = url
        assert requests.get(f"{url}/_sandbox/accepted", timeout=10).json() == before
        assert Client(box, renewed["access_token"])("GET", "/2/users/me").status_code == 200
        assert requests.post(f"{url}/2/oauth2/token", data=form, timeout=10).status_code == 400
        x = Client(box, "sandbox-x-acme-again")
        assert x("POST", f"{path}/finalize").status_code == 403
        made = requests.post(f"{url}/_sandbox/accounts", json={"platform": "x", "name": "acme"}, timeout=10).json()
        x = Client(box, made["token"])
        part = {"media": ("b", data[half:], "application/octet-stream")}
        assert x("POST", f"{path}/append", data={"segment_index": "1"}, files=part).status_code == 200
        assert x("POST", f"{path}/finalize").json()["data"]["size"] == len(data)
        made_post = x("POST", "/2/tweets", json={"text": "on", "media": {"media_ids": [media_id]}})
        assert int(made_post.json()["data"]["id"]) > int(kept)
    finally:
        process.terminate()
        assert process.wait(timeout=15) == 0


def test_a_damaged_journal_is_not_taken_for_the_truth(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_text('{"kind": "a"\n{"kind": "a"}\n')
    journal = Journal(tmp_path)
    journal.on("a", lambda _record: None)
    with pytest.raises(ValueError, match=r"line 1 of journal\.jsonl is damaged"):
        journal.open()


def test_starting_on_a_taken_port_says_so(box: Sandbox) -> None:
    taken = int(box.url.rpartition(":")[2])
    with pytest.raises(OSError, match="address already in use"), Sandbox(port=taken):
        pass
    with pytest.raises(RuntimeError, match="not running"):
        Sandbox().reset()


def test_the_pages_show_posts_and_escape_what_people_wrote(box: Sandbox, x: Client, pinterest: Client) -> None:
    assert "No post has arrived yet" in requests.get(box.url, timeout=10).text
    media_id = x.upload(picture())
    alt = {"id": media_id, "metadata": {"alt_text": {"text": '"><script>alt</script>'}}}
    x("POST", "/2/media/metadata", json=alt)
    body = {"text": "<script>text</script>", "media": {"media_ids": [media_id]}}
    post_id = x("POST", "/2/tweets", json=body).json()["data"]["id"]
    reply = {"text": "next", "reply": {"in_reply_to_tweet_id": post_id}}
    x("POST", "/2/tweets", json=reply)
    board = pinterest("GET", "/v5/boards").json()["items"][0]["id"]
    sha = box.accepted()[0]["content"]["pictures"][0]["sha256"]
    source = {"source_type": "image_url", "url": f"{box.url}/_sandbox/blob/{sha}"}
    pin = {"board_id": board, "title": "<i>", "link": "javascript:alert(1)", "media_source": source}
    pin_id = pinterest("POST", "/v5/pins", json=pin).json()["id"]
    front = requests.get(box.url, timeout=10).text
    assert "&lt;script&gt;text&lt;/script&gt;" in front
    assert "<script>text" not in front
    assert "<script>alt" not in front
    assert 'href="javascript' not in front
    assert f'href="/x/status/{post_id}"' in front
    assert "none published twice" in front
    assert requests.get(f"{box.url}/_sandbox/feed", timeout=10).text in front
    for path in (
        f"/x/status/{post_id}",
        f"/acme/status/{post_id}",
        f"/pinterest/pin/{pin_id}",
        f"/pin/{pin_id}",
    ):
        assert requests.get(box.url + path, timeout=10).status_code == 200
    assert requests.get(f"{box.url}/x/status/12", timeout=10).status_code == 404
    assert requests.get(f"{box.url}/_sandbox/blob/{sha}", timeout=10).headers["content-type"] == "image/png"
    assert requests.get(f"{box.url}/_sandbox/blob/none", timeout=10).status_code == 404
    avatar = requests.get(f"{box.url}/_sandbox/avatar/x/blue-harbour.svg", timeout=10)
    assert ">BH<" in avatar.text


def raw(box: Sandbox, *pieces: bytes) -> bytes:
    """Sends bytes piece by piece and reads until the server closes."""
    host, _, port = box.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as sock:
        for piece in pieces:
            sock.sendall(piece)
            time.sleep(0.03)
        answer = b""
        while data := sock.recv(65536):
            answer += data
    return answer


HEAD = (
    b"POST /2/tweets HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer sandbox-x-acme\r\nContent-Type: application/json\r\n"
)


def test_the_wire(box: Sandbox) -> None:
    first = HEAD + b"Content-Length: 12\r\n\r\n" + b'{"text":"a"}'
    second = HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\nExpect: 100-continue\r\n\r\n"
    chunked = [b"6\r\n", b'{"text\r\n', b'6;x=1\r\n":"b"}\r\n0\r\n\r\n']
    answer = raw(box, first[:20], first[20:-3], first[-3:] + second, *chunked)
    assert answer.count(b"HTTP/1.1 201 ") == 2
    assert answer.count(b"HTTP/1.1 100 ") == 1
    assert [row["content"]["text"] for row in box.accepted()] == ["a", "b"]


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"hello\r\n\r\n",
        b"GET / SPDY/3\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: many\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"a" * 70_000,
    ],
)
def test_what_is_not_http_is_answered_and_closed(box: Sandbox, request_bytes: bytes) -> None:
    assert raw(box, request_bytes).startswith(b"HTTP/1.1 400 ")
    assert box.accepted() == []


def test_half_a_request_stores_nothing(box: Sandbox) -> None:
    host, _, port = box.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as sock:
        sock.sendall(HEAD + b"Content-Length: 12\r\n\r\n" + b'{"text"')
    time.sleep(0.1)
    assert box.accepted() == []


def test_many_clients_at_once_on_fresh_connections(box: Sandbox) -> None:
    senders = [Client(box, f"sandbox-x-a{number}") for number in range(8)]
    box.set_latency(20, "*.publish")

    def send(number: int) -> int:
        return senders[number % 8]("POST", "/2/tweets", json={"text": f"n{number}"}).status_code

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(send, range(200))) == {201}
    summary = box.summary()
    assert (summary["accepted"], summary["distinct"], summary["doubled"]) == (200, 200, [])
