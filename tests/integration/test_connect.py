"""``accounts connect`` from the command to a published post: a process, a browser, the sign-in pages of the sandbox."""

from __future__ import annotations

import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from browser import sign_in
from PIL import Image
from typer.testing import CliRunner

from db.crypto import Cipher, new_key
from platforms import registry
from platforms.base import Call, Draft, MediaItem, MediaKind, Processing, Published, Ready
from platforms.http import Client
from platforms.sandbox import Sandbox
from scheduler import Media, schedule
from scheduler import accounts as profiles
from scheduler.api import database as transaction
from scheduler.cli import sign_in as terminal
from scheduler.cli.main import app
from workers import followup

BROWSER = Path(__file__).parents[1] / "browser.py"
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    PORT = probe.getsockname()[1]
BACK = {
    "x": f"http://127.0.0.1:{PORT}/callback",
    "pinterest": f"http://localhost:{PORT}/callback",
    "tiktok": f"http://127.0.0.1:{PORT}/callback/",
    "instagram": "https://example.com/callback",
}


@pytest.fixture
def box() -> Any:
    with Sandbox(seed=3) as running:
        for platform, redirect in BACK.items():
            running.app(platform, "my-app", "my-secret", [redirect])
        running.account("bluesky", "acme")
        yield running


class Desk:
    """The command, the browser that it opens, and what it left behind."""

    def __init__(
        self, environment: Any, database: Any, box: Sandbox, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.environment, self.database, self.box, self.log = environment, database, box, folder / "browser.log"
        self.monkeypatch = monkeypatch
        self.page = ""
        """What the browser shows in the end."""

    def point(self, platform: str, **more: str) -> None:
        name = f"SCHEDULERX_{platform.upper()}"
        found = {f"{name}_API_URL": self.box.url}
        if platform in BACK:
            found |= {f"{name}_CLIENT_ID": "my-app", f"{name}_CLIENT_SECRET": "my-secret"}
        if platform == "instagram":
            found[f"{name}_REDIRECT_URI"] = BACK["instagram"]
        self.environment.change(**found | more)

    def start(self, *words: str, consent: dict[str, Any] | None = None) -> subprocess.Popen[str]:
        """In a process of its own, as a person has it."""
        return subprocess.Popen(
            [sys.executable, "-m", "scheduler.cli.main", "accounts", "connect", *words],
            env={
                **os.environ,
                "BROWSER": f"{sys.executable} {BROWSER} %s",
                "BROWSER_LOG": str(self.log),
                "CONSENT": json.dumps(consent or {}),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, consent: dict[str, Any] | None = None) -> tuple[int, Any, str]:
        """In this process: exit code, what was printed as JSON, and what was said to the person."""
        browsing: list[threading.Thread] = []

        def go(url: str) -> None:
            self.page = requests.get(sign_in(url, **(consent or {})), timeout=10).text

        def opened(url: str) -> bool:
            browsing.append(threading.Thread(target=go, args=(url,)))
            browsing[-1].start()
            return True

        self.monkeypatch.setenv("DISPLAY", ":0")
        self.monkeypatch.setattr(webbrowser, "open", opened)
        done = CliRunner().invoke(app, ["accounts", "connect", *words, "--json"], catch_exceptions=False)
        for thread in browsing:
            thread.join()
        return done.exit_code, json.loads(done.stdout), done.stderr

    def paste(self, *words: str, change: Callable[[str], str] = str) -> tuple[int, Any, str]:
        """As on a server: the address is read from what is said, opened elsewhere, and the way back pasted."""
        said: list[str] = []
        self.monkeypatch.setattr(terminal, "tell", said.append)

        def line() -> str:
            [url] = [word for word in said[-1].split() if word.startswith(self.box.url)]
            return change(sign_in(url))

        self.monkeypatch.setattr(terminal, "heard", line)
        words = ("accounts", "connect", *words, "--no-browser", "--json")
        done = CliRunner().invoke(app, list(words), catch_exceptions=False)
        return done.exit_code, json.loads(done.stdout), "".join(said)

    def credentials(self, platform: str) -> dict[str, Any]:
        from scheduler.settings import current

        sealed = self.database.one("SELECT credentials FROM accounts WHERE platform = :p", p=platform)
        return Cipher(current().secret()).open(sealed)

    def counts(self) -> int:
        return int(self.database.one("SELECT count(*) FROM accounts"))


@pytest.fixture
def desk(environment: Any, database: Any, box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(environment, database, box, tmp_path, monkeypatch)


def published(pipeline: Any, settings: Any, target: str) -> Any:
    """A text that goes out on ``target``; its row."""
    pipeline.settings = settings
    [one] = schedule("Connected & posted", to=[target], at="now").scheduled
    return pipeline.until(one.id, "published", "failed", "held", "missed")


# --- Each platform, from the command to a post --------------------------------------------------------------


@pytest.mark.parametrize(
    ("platform", "words"),
    [("x", ["--port", str(PORT)]), ("mastodon", []), ("bluesky", ["--handle", "acme.bsky.social"])],
)
def test_connected_by_the_browser_and_posted(
    desk: Desk, pipeline: Any, box: Sandbox, platform: str, words: list[str]
) -> None:
    desk.point(platform)
    code, told, said = desk.run(platform, "acme", *words)
    assert (code, told.get("ok")) == (0, True), (told, said)
    assert told["missing_scopes"] == []
    assert told["account"] == f"{platform}:acme"
    assert "close this page" in desk.page
    kept = desk.credentials(platform)
    for secret in ("access_token", "refresh_token", "client_secret"):
        assert str(kept.get(secret, "nothing")) not in json.dumps(told) + said
    from scheduler.settings import current

    row = published(pipeline, current(), f"{platform}:acme")
    assert (row.status, row.evidence) == ("published", "api"), row
    assert [post["account"] for post in box.accepted()] == ["acme"]
    granted = desk.database.one("SELECT scopes FROM accounts")
    assert granted == told["scopes"] != []


def test_pinterest_connected_and_pinned(desk: Desk, pipeline: Any, box: Sandbox, pictures: dict[str, Path]) -> None:
    from scheduler.settings import current

    desk.point("pinterest")
    code, told, said = desk.run("pinterest", "acme", "--port", str(PORT))
    assert (code, told["missing_scopes"]) == (0, []), (told, said)
    assert desk.credentials("pinterest")["client_secret"] == "my-secret"
    pipeline.settings = current()
    media, board = [Media(str(pictures["jpeg"]), alt="noise")], {"pinterest": {"board": "Ideas"}}
    [one] = schedule("Pin", to=["pinterest:acme"], at="now", media=media, options=board).scheduled
    assert pipeline.until(one.id, "published", "failed", "held").status == "published"
    assert len(box.accepted("pinterest", "acme")) == 1


def test_what_only_one_platform_asks_for_is_answered_on_the_line(desk: Desk) -> None:
    desk.point("pinterest")
    words = ("--answer", "secret_boards=yes", "--answer", "access_tier=trial")
    code, told, said = desk.run("pinterest", "acme", "--port", str(PORT), *words)
    assert (code, told["missing_scopes"]) == (0, []), (told, said)
    assert "boards:read_secret" in told["scopes"]
    assert desk.credentials("pinterest")["access_tier"] == "trial"
    code, told, _ = desk.run("pinterest", "other", "--port", str(PORT), "--answer", "secret_boards=perhaps")
    assert (code, "none of: yes, no" in told["error"]["message"]) == (2, True)


def go_out(desk: Desk, platform: str, media: MediaItem, options: dict[str, Any]) -> Any:
    """Publishes by the module alone, with what was stored, as a worker would."""
    from scheduler.settings import current

    module = registry.get(platform)
    client = Client(api_hosts=module.api_hosts, override=current().api_url(platform), deadline_s=20)
    with transaction(current()) as conn:
        account = profiles.reference(profiles.find(conn, f"{platform}:acme"))
    checkpoint: dict[str, Any] = {}
    call = Call(
        client, account, desk.credentials(platform), lambda: datetime.now(UTC), checkpoint, lambda _values: None, "key"
    )
    draft = Draft("Connected", account, (media,), options)
    assert module.validate(draft) == []
    step = module.prepare
    for _ in range(200):
        outcome = step(call, draft)
        if isinstance(outcome, Ready):
            step = module.publish
        elif isinstance(outcome, Processing):
            checkpoint.update(outcome.checkpoint or {})
            step = module.poll if step is not module.prepare else module.prepare
            threading.Event().wait(0.02)
        else:
            return outcome
    raise AssertionError("it never ended")


def box_of(kind: bytes, inner: bytes) -> bytes:
    """A box of an MP4."""
    return (len(inner) + 8).to_bytes(4, "big") + kind + inner


@pytest.mark.parametrize("pasted", [False, True])
def test_tiktok_connected_and_posted(desk: Desk, box: Sandbox, pasted: bool) -> None:
    desk.point("tiktok")
    connect = desk.paste if pasted else desk.run
    code, told, said = connect("tiktok", "acme", "--port", str(PORT))
    assert (code, told.get("missing_scopes")) == (0, []), (told, said)
    kept = desk.credentials("tiktok")
    assert (kept["client_key"], kept["client_secret"]) == ("my-app", "my-secret")
    assert kept["refresh_expires_at"] > kept["expires_at"]
    if not pasted:
        # A true header and no pictures: six seconds of 720 x 1280.
        mvhd = box_of(b"mvhd", bytes(12) + (1000).to_bytes(4, "big") + (6000).to_bytes(4, "big") + bytes(80))
        tkhd = box_of(b"tkhd", bytes(76) + (720 << 16).to_bytes(4, "big") + (1280 << 16).to_bytes(4, "big"))
        moov = box_of(b"moov", mvhd + box_of(b"trak", tkhd))
        data = box_of(b"ftyp", b"mp42" + bytes(12)) + moov + box_of(b"mdat", bytes(200))
        clip = MediaItem(
            MediaKind.VIDEO, "video/mp4", len(data), 720, 1280, hashlib.sha256(data).hexdigest(), duration_s=5.0,
            read=lambda: io.BytesIO(data), read_range=lambda at, size: data[at : at + size],
        )  # fmt: skip
        assert isinstance(go_out(desk, "tiktok", clip, {"privacy": "PUBLIC_TO_EVERYONE"}), Published)
        assert len(box.accepted("tiktok", "acme")) == 1


@pytest.fixture
def photo() -> Iterator[MediaItem]:
    """A picture that a platform can fetch."""
    out = io.BytesIO()
    Image.new("RGB", (400, 400), "teal").save(out, "JPEG")
    data = out.getvalue()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "image/jpeg")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    sha = hashlib.sha256(data).hexdigest()
    url = f"http://127.0.0.1:{server.server_port}/p.jpg"
    yield MediaItem(MediaKind.IMAGE, "image/jpeg", len(data), 400, 400, sha, url=url)
    server.shutdown()
    server.server_close()
    thread.join()


def test_instagram_connected_by_pasting_and_posted(desk: Desk, box: Sandbox, photo: MediaItem) -> None:
    """Its own login takes https redirects alone, so nothing can be caught on this machine."""
    desk.point("instagram")
    code, told, said = desk.paste("instagram", "acme")
    assert (code, told.get("missing_scopes")) == (0, []), (told, said)
    kept = desk.credentials("instagram")
    assert kept["login"] == "instagram"
    assert datetime.fromisoformat(kept["expires_at"]) > datetime.now(UTC) + timedelta(days=59)
    assert isinstance(go_out(desk, "instagram", photo, {}), Published)
    assert len(box.accepted("instagram", "acme")) == 1


def test_instagram_by_facebook_finds_the_page(desk: Desk, box: Sandbox, photo: MediaItem) -> None:
    desk.point("instagram", SCHEDULERX_INSTAGRAM_REDIRECT_URI="")
    box.app("instagram", "my-app", "my-secret", [f"http://localhost:{PORT}/callback"])
    box.account("instagram", "person", pages=["acme", "other"])
    words = ("instagram", "acme", "--login", "facebook", "--port", str(PORT))
    code, told, _ = desk.run(*words, consent={"account": "person"})
    assert (code, told["error"]["code"]) == (1, "which_profile")
    assert "acme, other" in told["error"]["message"]
    assert desk.counts() == 0
    code, told, said = desk.run(*words, "--profile", "@acme", consent={"account": "person"})
    assert (code, told.get("handle")) == (0, "acme"), (told, said)
    kept = desk.credentials("instagram")
    assert (kept["login"], kept.get("expires_at")) == ("facebook", None)
    assert isinstance(go_out(desk, "instagram", photo, {}), Published)
    assert len(box.accepted("instagram", "acme")) == 1


# --- In a process of its own ----------------------------------------------------------------------------------


def test_a_process_and_a_browser(desk: Desk) -> None:
    desk.point("x")
    child = desk.start("x", "acme", "--port", str(PORT))
    out, said = child.communicate("", timeout=60)
    assert (child.returncode, out) == (0, "x:acme is connected as acme\n"), said
    assert f"{desk.box.url}/i/oauth2/authorize?" in said
    assert desk.log.read_text().startswith("200 ")
    kept = desk.credentials("x")
    assert not [word for word in ("access_token", "refresh_token", "client_secret") if str(kept[word]) in out + said]


def test_a_process_on_a_server_that_has_no_browser(desk: Desk) -> None:
    desk.point("mastodon")
    child = desk.start("mastodon", "acme", "--no-browser", "--json")
    assert child.stdin is not None
    assert child.stderr is not None
    with child:
        lines = iter(child.stderr.readline, "")
        page = next(line.strip() for line in lines if line.startswith("  http"))
        child.stdin.write(sign_in(page) + "\n")
        out, _ = child.communicate(timeout=60)
    assert (child.returncode, json.loads(out)["ok"]) == (0, True)


def test_nobody_comes_back(desk: Desk) -> None:
    desk.point("mastodon")
    desk.monkeypatch.setattr(webbrowser, "open", lambda _url: True)
    words = ["accounts", "connect", "mastodon", "acme", "--timeout", "1", "--json"]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert (done.exit_code, json.loads(done.stdout)["error"]["code"], desk.counts()) == (1, "timeout", 0)


# --- What does not lead to an account -------------------------------------------------------------------------


def test_a_denied_consent_is_told_and_nothing_is_stored(desk: Desk) -> None:
    desk.point("x")
    code, told, _ = desk.run("x", "acme", "--port", str(PORT), consent={"deny": True})
    assert (code, told["error"]["code"], desk.counts()) == (1, "access_denied", 0)
    assert "Access was not granted" in desk.page


def test_a_missing_scope_is_told_at_once(desk: Desk) -> None:
    desk.point("x")
    words, consent = ("x", "acme", "--port", str(PORT)), {"without": ["media.write"]}
    code, told, _ = desk.run(*words, consent=consent)
    assert (code, told["error"]["code"], desk.counts()) == (1, "missing_scopes", 0)
    assert "media.write" in told["error"]["message"]
    code, told, _ = desk.run(*words, "--allow-missing", consent=consent)
    assert (code, told["missing_scopes"], desk.counts()) == (0, ["media.write"], 1)


def test_an_address_of_another_sign_in_is_not_taken(desk: Desk) -> None:
    desk.point("tiktok")
    words = ("tiktok", "acme", "--port", str(PORT))
    code, told, _ = desk.paste(*words, change=lambda url: url.replace("state=", "state=x"))
    assert (code, told["error"]["code"]) == (1, "wrong_state")
    code, told, _ = desk.paste(*words, change=lambda url: url.replace("/callback/", "/elsewhere/"))
    assert (code, told["error"]["code"], desk.counts()) == (2, "refused", 0)


def test_what_is_missing_is_asked_for_before_anything_is_sent(desk: Desk, box: Sandbox) -> None:
    desk.environment.change(SCHEDULERX_X_API_URL=box.url)
    for words, part in (
        (("x", "acme"), "SCHEDULERX_X_CLIENT_ID"),
        (("pinterest", "acme", "--client-id", "my-app"), "SCHEDULERX_PINTEREST_CLIENT_SECRET"),
        (("instagram", "acme", "--client-id", "my-app"), "SCHEDULERX_INSTAGRAM_CLIENT_SECRET"),
        (("mastodon", "acme"), "--server"),
        (("bluesky", "acme"), "--handle"),
        (("myspace", "acme"), "no platform"),
        (("x", "not a name", "--client-id", "a"), "cannot be an account's name"),
        (("x", "acme", "--client-id", "a", "--handle", "b"), "does not ask for --handle"),
        (("x", "acme", "--client-id", "a", "--redirect-uri", "http://other.example/"), "https://"),
    ):
        result = CliRunner().invoke(app, ["accounts", "connect", *words, "--json"], input="", catch_exceptions=False)
        assert result.exit_code == 2, (words, result.output)
        assert part in json.loads(result.stdout)["error"]["message"], (words, result.stdout)
    assert box.summary()["requests"] == {}


# --- An account that is there -----------------------------------------------------------------------------------


def test_connecting_again_releases_what_waited_and_keeps_the_app(desk: Desk, pipeline: Any, box: Sandbox) -> None:
    from scheduler.settings import current

    desk.point("x")
    assert desk.run("x", "acme", "--port", str(PORT))[0] == 0
    pipeline.settings = current()
    box.account("x", "acme", revoked=True)
    [one] = schedule("Waits", to=["x:acme"], at="now").scheduled
    assert pipeline.until(one.id, "held", "published").held_for == "reconnect"
    # The app is known from before: neither its id nor its secret has to be said again.
    desk.environment.change(SCHEDULERX_X_CLIENT_ID=None, SCHEDULERX_X_CLIENT_SECRET=None)
    code, told, said = desk.run("x", "acme", "--port", str(PORT))
    assert (code, told["state"]) == (0, "active"), (told, said)
    assert pipeline.until(one.id, "held", "published").status == "published"
    assert desk.database.one("SELECT token_version FROM accounts") == 2


def added(desk: Desk, who: str, *words: str) -> tuple[int, Any, str]:
    """``accounts add`` over mastodon:acme, by credentials of another kind than those that are stored."""
    given = json.dumps({"server": desk.box.url, "access_token": f"sandbox-mastodon-{who}"})
    words = ("accounts", "add", "mastodon", "acme", *words, "--json")
    done = CliRunner().invoke(app, list(words), input=given, catch_exceptions=False)
    return done.exit_code, json.loads(done.stdout), done.stderr


def connected(desk: Desk, who: str, *words: str) -> tuple[int, Any, str]:
    """``accounts connect`` as somebody."""
    return desk.run("mastodon", "acme", *words, consent={"account": who})


@pytest.mark.parametrize("come_in", [connected, added])
def test_another_profile_does_not_take_a_name_over_unasked(
    desk: Desk, box: Sandbox, come_in: Callable[..., tuple[int, Any, str]]
) -> None:
    desk.point("mastodon")
    box.account("mastodon", "other")
    assert desk.run("mastodon", "acme")[0] == 0
    before = desk.credentials("mastodon")
    [one] = schedule("For acme", to=["mastodon:acme"], at="2031-01-01T10:00Z").scheduled
    code, told, _ = come_in(desk, "other")
    assert (code, told["error"]["code"]) == (2, "not_allowed")
    assert "(1 posts)" in told["error"]["message"]
    assert desk.credentials("mastodon") == before
    # What has begun on the platform as somebody cannot go on as somebody else.
    desk.database.run(
        "UPDATE scheduled_posts SET status = 'unknown', checkpoint = '{}', generation = generation + 1 WHERE id = :id",
        id=one.id,
    )
    code, told, _ = come_in(desk, "other", "--replace")
    assert (code, "under way" in told["error"]["message"]) == (2, True)
    # The same profile may come back at any time.
    assert come_in(desk, "acme")[0] == 0
    desk.database.run("UPDATE scheduled_posts SET status = 'scheduled', generation = generation + 1")
    code, told, said = come_in(desk, "other", "--replace")
    assert (code, told.get("handle", "").partition("@")[0]) == (0, "other"), (told, said)


SECRET_SCOPES = {"boards:read_secret", "boards:write_secret", "pins:read_secret", "pins:write_secret"}


def test_what_a_person_said_of_pinterest_stays_with_the_profile(desk: Desk, box: Sandbox) -> None:
    desk.point("pinterest")
    box.account("pinterest", "other")
    words = ("pinterest", "acme", "--port", str(PORT))
    said = ("--answer", "secret_boards=yes", "--answer", "access_tier=trial")
    assert desk.run(*words, *said)[0] == 0

    def stored() -> tuple[Any, Any, bool]:
        kept = desk.credentials("pinterest")
        facts = desk.database.one("SELECT facts FROM accounts")
        return (
            kept.get("access_tier"),
            facts["tier"],
            set(str(kept["scope"]).replace(",", " ").split()) >= SECRET_SCOPES,
        )

    # Nothing is said: it stays as it was said.
    assert desk.run(*words)[0] == 0
    assert stored() == ("trial", "trial", True)
    # What is said anew goes before.
    assert desk.run(*words, "--answer", "access_tier=standard", "--answer", "secret_boards=no")[0] == 0
    assert stored() == ("standard", "standard", False)
    # Another profile starts from nothing, and gets no scope that it was not asked for.
    assert desk.run(*words, *said)[0] == 0
    code, told, _ = desk.run(*words, "--replace", consent={"account": "other"})
    assert (code, told.get("handle")) == (0, "other"), told
    assert stored() == (None, "unknown", False)


def test_the_tier_of_one_app_is_not_told_of_another(desk: Desk, box: Sandbox) -> None:
    desk.point("pinterest")
    words = ("pinterest", "acme", "--port", str(PORT))
    assert desk.run(*words, "--answer", "access_tier=trial")[0] == 0
    box.app("pinterest", "new-app", "new-secret", [BACK["pinterest"]])
    desk.environment.change(SCHEDULERX_PINTEREST_CLIENT_ID="new-app", SCHEDULERX_PINTEREST_CLIENT_SECRET="new-secret")
    assert desk.run(*words)[0] == 0
    kept = desk.credentials("pinterest")
    assert (kept["client_id"], kept.get("access_tier")) == ("new-app", None)


def test_instagram_by_facebook_stays_with_the_profile_and_the_version(desk: Desk, box: Sandbox) -> None:
    desk.point("instagram", SCHEDULERX_INSTAGRAM_REDIRECT_URI="")
    box.app("instagram", "my-app", "my-secret", [f"http://localhost:{PORT}/callback"])
    box.account("instagram", "person", pages=["acme", "other"])
    words = ("instagram", "acme", "--port", str(PORT))
    person = {"account": "person"}
    assert desk.run(*words, "--login", "facebook", "--profile", "acme", consent=person)[0] == 0
    from scheduler.settings import current

    held = {**desk.credentials("instagram"), "api_version": "v25.0"}
    sealed = Cipher(current().secret()).seal(held)
    desk.database.run("UPDATE accounts SET credentials = :c", c=sealed)
    code, told, said = desk.run(*words, consent=person)
    assert (code, told.get("handle")) == (0, "acme"), (told, said)
    assert desk.credentials("instagram")["api_version"] == "v25.0"
    # Nobody says which profile takes the name over: it has to be said, and the old one's version is not its own.
    code, told, _ = desk.run(*words, "--replace", consent=person)
    assert (code, told["error"]["code"]) == (1, "which_profile")
    assert desk.run(*words, "--replace", "--profile", "other", consent=person)[0] == 0
    assert "api_version" not in desk.credentials("instagram")


def test_an_account_whose_credentials_no_key_opens_can_be_connected_again(desk: Desk) -> None:
    """It is what doctor advises after the key was lost."""
    from scheduler.settings import current

    desk.point("x")
    assert desk.run("x", "acme", "--port", str(PORT))[0] == 0
    lost = Cipher(new_key())
    desk.database.run("UPDATE accounts SET credentials = :c", c=lost.seal({"access_token": "a"}))
    code, told, said = desk.run("x", "acme", "--port", str(PORT))
    assert (code, told.get("state")) == (0, "active"), (told, said)
    assert (
        Cipher(current().secret()).open(desk.database.one("SELECT credentials FROM accounts"))["client_id"] == "my-app"
    )


# --- Bluesky's sessions -----------------------------------------------------------------------------------------


def test_sixty_four_workers_make_one_refresh_of_an_oauth_session(desk: Desk, box: Sandbox) -> None:
    from scheduler.settings import current

    desk.point("bluesky")
    assert desk.run("bluesky", "acme", "--handle", "acme.bsky.social")[0] == 0
    before, number = desk.credentials("bluesky"), desk.database.one("SELECT id FROM accounts")
    together, done = threading.Barrier(64), []

    def worker() -> None:
        together.wait()
        done.append(followup.refresh(current(), number, 1))

    threads = [threading.Thread(target=worker) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [False] * 63 + [True]
    after = desk.credentials("bluesky")
    assert after["dpop_key"] == before["dpop_key"]
    assert after["access_token"] != before["access_token"]
    assert after["refresh_token"] != before["refresh_token"]
    # One for the code, one refused for its nonce at most, one that renewed.
    assert box.summary()["requests"]["bluesky.oauth_token"] <= 3


def test_an_oauth_session_survives_its_token_and_a_lost_answer(desk: Desk, pipeline: Any, box: Sandbox) -> None:
    from scheduler.settings import current

    desk.point("bluesky", SCHEDULERX_QUARANTINE_SECONDS="1")
    assert desk.run("bluesky", "acme", "--handle", "acme.bsky.social")[0] == 0
    box.account("bluesky", "acme", expired=True)
    box.set_faults([{"step": "bluesky.put_record", "kind": "reset_after", "count": 1, "skip": 1}])
    row = published(pipeline, current(), "bluesky:acme")
    assert (row.status, row.evidence) == ("published", "reconciled"), row
    assert len(box.accepted()) == 1
    assert box.summary()["doubled"] == []
