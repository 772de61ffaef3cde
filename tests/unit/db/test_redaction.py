"""What was held as a secret is never said again, in any form in which it may turn up."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from db import redaction
from db.crypto import Cipher, new_key

TOKEN = 'tok/en+with "odd" marks 12345'


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known at first."""
    monkeypatch.setattr(redaction, "_known", type(redaction._known)())


@pytest.mark.parametrize("said", [TOKEN, quote(TOKEN, safe=""), json.dumps({"x": TOKEN})])
def test_a_known_value_is_hidden_plain_in_urls_and_in_json(said: str) -> None:
    redaction.remember(TOKEN)
    assert "12345" not in redaction.hide(f"before {said} after")
    assert redaction.hide("before after") == "before after"


def test_sealing_and_opening_both_remember() -> None:
    cipher = Cipher(new_key())
    sealed = cipher.seal({"token": "first-secret-value", "server": "https://mastodon.example"})
    assert redaction.hide("first-secret-value at https://mastodon.example") == "[hidden] at https://mastodon.example"
    redaction._known.clear()
    cipher.open(sealed)
    assert redaction.hide("first-secret-value") == "[hidden]"


def test_a_url_that_is_a_secret_is_one_in_its_last_part_too() -> None:
    redaction.remember(*redaction.secrets_in({"webhook_url": "https://discord.example/api/1/abcdefghijklmnopqrst"}))
    assert "abcdefghij" not in redaction.hide("the token abcdefghijklmnopqrst was refused")


def test_the_longer_of_two_secrets_is_hidden_first() -> None:
    redaction.remember("secret-one", "secret-one-and-more")
    assert redaction.hide("secret-one-and-more") == "[hidden]"


def test_only_the_latest_are_kept_and_short_words_never() -> None:
    redaction.remember("short", *(f"secret-number-{number}" for number in range(redaction.REMEMBERED + 1)))
    assert redaction.hide("short secret-number-0.") == "short secret-number-0."
    assert redaction.hide(f"secret-number-{redaction.REMEMBERED}") == "[hidden]"


@pytest.mark.parametrize(
    "plain",
    [
        "error code: 404",
        '{"code": 187, "message": "duplicate"}',
        "status_code=500",
        "10 tokens left",
        "Asia and Australia",
        "at://did:plc:abc/app.bsky.feed.post/3k",
        "urn:li:share:7012345678901234567",
    ],
)
def test_what_is_no_secret_stays(plain: str) -> None:
    assert redaction.clean(plain) == plain


def test_of_very_many_the_latest_are_hidden_and_the_forgotten_leave_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redaction, "_begins", {})
    monkeypatch.setattr(redaction, "REMEMBERED", 3)
    for number in range(10):
        redaction.remember(f"{number}-a-secret-value")
    redaction.remember("9-a-secret-value", "9-a-secret-other")
    said = " ".join(f"{number}-a-secret-value" for number in range(10))
    assert redaction.hide(said).split() == [
        *(f"{number}-a-secret-value" for number in range(8)),
        "[hidden]",
        "[hidden]",
    ]
    assert redaction._begins == {"8-a-secr": 1, "9-a-secr": 2}


def test_words_shorter_than_any_secret_are_left_alone() -> None:
    redaction.remember("12345678")
    assert redaction.hide("1234567") == "1234567"
    assert redaction.hide("") == ""
    assert redaction.hide("12345678") == "[hidden]"
    assert redaction.hide("x12345678") == "x[hidden]"
