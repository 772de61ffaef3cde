"""No secret leaves by a log line: nested, in words, in exceptions, in both forms."""

from __future__ import annotations

import io
import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pytest
import structlog

from scheduler import logging as logs
from scheduler.logging import HIDDEN, scrub

# Made up, in the shapes of real ones.
TOKENS = [
    "AAAAAAAAAAAAAAAAAAAAAMLheAAAAAAA0%2BuSeid%2BULvsea4JtiGRiSDSJSI",
    "pina_AEATXXWAAA2AAAIAGBAEQDQF5VHY2GABACGSO4ZGZ5RNMS",
    "EAACEdEose0cBAHZCZBZCXkBAKZA1sZBZAZC9LcZC0ZAxg",
    "ya29.a0AfH6SMBx-QwErTyUiOp_1234567890",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
]
FORMS = [
    "Authorization: Bearer {}",
    "bearer {}",
    "https://api.example/x?access_token={}&y=1",
    "refresh_token={}",
    '{{"access_token": "{}", "x": 1}}',
    "{{'refresh_token': '{}'}}",
    '"{{\\"client_secret\\": \\"{}\\"}}"',
    "https://s3.example/a.jpg?X-Amz-Signature={}",
    "postgresql://user:{}@host/db",
    "code={}",
    "oauth_token: {}",
    "password={}",
]


@pytest.fixture(params=["json", "console"])
def written(request, monkeypatch):
    """Logging as a process has it, into memory; what was written."""
    stream = io.StringIO()
    monkeypatch.setattr(logs.sys, "stderr", stream)
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    structlog.reset_defaults()
    logs.configure(form=request.param, level="INFO")
    yield stream.getvalue
    root.handlers[:], root.level = before, level
    structlog.reset_defaults()
    logs.configure(form="console", level="ERROR")


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("form", FORMS)
def test_a_token_in_words_is_hidden(form, token):
    told = scrub("before " + form.format(token) + " after")
    assert token not in told
    assert token.split("%")[0][:20] not in told
    assert HIDDEN in told
    assert told.startswith("before ")
    assert told.endswith(" after")


@pytest.mark.parametrize(
    "words",
    [
        "code: 400",
        "http code=",
        "a bearer of news",
        "https://x.com/acme/status/17",
        "the tokens are fine",
        "basic rules",
        '{"access_token": null}',
        "status code: 429 from api.example",
    ],
)
def test_plain_words_stay(words):
    assert scrub(words) == words


@pytest.mark.parametrize(
    "url",
    [
        "https://api.telegram.org/bot123456:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw/sendMessage",
        "https://discord.com/api/webhooks/123456789/abcdefghijklmnopqrstuvwxyz-ABCDEFGH",
    ],
)
def test_a_secret_in_a_path_is_hidden(url):
    assert "AAHdq" not in scrub(url)
    assert "abcdefghij" not in scrub(url)


class Pair(NamedTuple):
    """A tuple that cannot be made of one argument."""

    one: str
    two: str


class Clumsy:
    """An object that shows its secret."""

    def __repr__(self) -> str:
        return f"Clumsy(access_token={TOKENS[1]})"


def test_nothing_is_too_deep_and_nothing_breaks(written):
    secret = TOKENS[1]
    logs.logger("t").info(
        "deep",
        a={"b": [{"access_token": secret}, (f"Bearer {secret}",)]},
        c={"headers": {"Authorization": secret}},
        d=MappingProxyType({"client_secret": secret}),
        e=Pair("x", f"token=x access_token={secret}"),
        f=Clumsy(),
        g={f"Bearer {secret}"},
        h=RuntimeError(f"Bearer {secret}"),
        i=f"access_token={secret}".encode(),
        password=secret,
        j=Path("/a/b"),
        k=datetime(2031, 1, 1, tzinfo=UTC),
        token_version=7,
        idempotency_key="mine",
        n=None,
        z=1.5,
    )
    told = written()
    assert secret not in told
    assert "mine" in told
    assert "2031-01-01" in told


def test_a_traceback_is_hidden_with_its_causes(written):
    secret = TOKENS[0]
    log = logs.logger("t")

    def fails() -> None:
        try:
            raise ValueError({"access_token": secret, "note": "cause"})  # noqa: TRY301 - a cause is wanted
        except ValueError as error:
            raise RuntimeError(
                f"GET https://api.example/2/x?access_token={secret} with Authorization: Bearer {secret}"
            ) from error

    try:
        fails()
    except RuntimeError:
        log.exception("broken")
        logging.getLogger("somebody.else").exception("broken too")
    told = written()
    assert "RuntimeError" in told
    assert "cause" in told
    assert secret not in told


def test_other_peoples_loggers_are_cleaned_too(written):
    logging.getLogger("urllib3.thing").warning("url %s", f"https://a/b?access_token={TOKENS[1]}")
    logging.getLogger("thing").warning("hello", extra={"credentials": TOKENS[1], "fine": "shown"})
    told = written()
    assert TOKENS[1] not in told
    assert "shown" in told


def test_json_lines_are_json_with_what_is_bound(written, request):
    structlog.contextvars.bind_contextvars(correlation_id="c-1")
    try:
        logs.logger("t").warning("said", number=1)
    finally:
        structlog.contextvars.clear_contextvars()
    line = written().strip()
    assert "c-1" in line
    if line.startswith("{"):
        told = json.loads(line)
        assert (told["event"], told["number"], told["correlation_id"], told["level"]) == ("said", 1, "c-1", "warning")
        assert told["timestamp"].endswith("Z")


def test_only_our_own_loggers_are_believed_to_have_taken_secrets_out(written):
    logging.getLogger("somebody.else").warning("told access_token=abcdefgh12345", extra={"_clean": True, "secret": "x"})
    logs.logger("ours").warning("said", words="access_token=abcdefgh12345", token="abcdefgh12345")
    try:
        int("access_token=abcdefgh12345")
    except ValueError:
        logging.getLogger("somebody.else").exception("failed")
        logs.logger("ours").exception("failed")
    assert "abcdefgh12345" not in written()
    assert written().count(HIDDEN) >= 6
    assert "_clean" not in written()


def test_a_line_is_cleaned_once(written, monkeypatch):
    cleaned = []
    monkeypatch.setattr(logs, "clean", lambda words: cleaned.append(words) or words)
    logs.logger("ours").warning("said", words="some words")
    assert cleaned.count("some words") == 1
    assert "some words" in written()
