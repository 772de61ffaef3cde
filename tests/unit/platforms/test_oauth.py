"""Refreshing tokens and signing requests, as X and Pinterest share it."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

import pytest
from fake_http import NOW, Answer, FakeHttp

from platforms import oauth
from platforms.base import AccountRef, AuthExpired, Call, Effect, NotSent, RateLimited, Refreshed

URL = "https://api.x.com/2/oauth2/token"
WHOLE = {
    "access_token": "old",
    "refresh_token": "r-old",
    "client_id": "id",
    "client_secret": "secret",
    "scope": "a",
}


def refresh(answer: Answer, credentials: Any = None, **kwargs: Any) -> tuple[Any, FakeHttp]:
    http = FakeHttp(lambda _: answer)
    call = Call(http, AccountRef("x", "acme"), WHOLE if credentials is None else credentials, lambda: NOW)
    return oauth.refresh(call, url=URL, **kwargs), http


def test_a_confidential_client_names_itself_by_basic() -> None:
    outcome, http = refresh(Answer(200, {"access_token": "new", "refresh_token": "r-new", "expires_in": 7200}))
    until = NOW + timedelta(hours=2)
    assert isinstance(outcome, Refreshed)
    assert outcome.expires_at == until
    assert outcome.credentials == {
        **WHOLE,
        "access_token": "new",
        "refresh_token": "r-new",
        "expires_at": until.isoformat(),
    }
    [sent] = http.sent
    assert sent.effect is Effect.PREPARES
    assert sent.form == {"grant_type": "refresh_token", "refresh_token": "r-old"}
    assert base64.b64decode(sent.headers["Authorization"].removeprefix("Basic ")) == b"id:secret"


def test_a_public_client_names_itself_in_the_form() -> None:
    public = {key: value for key, value in WHOLE.items() if key != "client_secret"}
    _, http = refresh(Answer(200, {"access_token": "new"}), public, public_client=True)
    assert http.sent[0].form["client_id"] == "id"
    assert "Authorization" not in http.sent[0].headers


def test_what_is_not_renewed_is_carried_over() -> None:
    outcome, _ = refresh(Answer(200, {"access_token": "new", "scope": "a b"}))
    assert outcome.credentials["refresh_token"] == "r-old"
    assert outcome.credentials["scope"] == "a b"
    assert outcome.expires_at is None
    assert outcome.credentials["expires_at"] is None


@pytest.mark.parametrize("missing", ["refresh_token", "client_id", "client_secret"])
def test_what_cannot_be_renewed_is_left_until_it_runs_out(missing: str) -> None:
    half = {key: value for key, value in WHOLE.items() if key != missing}
    later = {**half, "expires_at": (NOW + timedelta(minutes=1)).isoformat()}
    for credentials in (half, {**half, "expires_at": NOW.isoformat()}):
        outcome, http = refresh(Answer(), credentials)
        assert isinstance(outcome, AuthExpired)
        assert outcome.permanent
        assert http.sent == []
    assert refresh(Answer(), later)[0] is None


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(400, {"error": "invalid_grant"}), AuthExpired),
        (Answer(401, {"error": "invalid_client"}), AuthExpired),
        (Answer(400, {"code": 283, "message": "The refresh token is not valid."}), AuthExpired),
        (Answer(401, {"message": "Authentication failed."}), AuthExpired),
        (Answer(403, {"error": "access_denied"}), AuthExpired),
        # What stands in front of a token endpoint says nothing of the token.
        (Answer(403, b"<html>"), NotSent),
        (Answer(403, {}), NotSent),
        (Answer(403, {"message": "Forbidden"}), NotSent),
        (Answer(401, b"<html>"), NotSent),
        (Answer(400, b""), NotSent),
        (Answer(400, {}), NotSent),
        (Answer(400, ["invalid_grant"]), NotSent),
        (Answer(400, {"error": "temporarily_unavailable"}), NotSent),
        (Answer(503, {"error": "invalid_grant"}), NotSent),
        (Answer(429, {}), RateLimited),
        (Answer(500, {}), NotSent),
        (Answer(302, {}), NotSent),
        (Answer(200, b"<html>"), NotSent),
        (Answer(200, {"access_token": ""}), NotSent),
        (Answer(200, {"access_token": 7}), NotSent),
    ],
)
def test_refusals(answer: Answer, kind: type) -> None:
    outcome, http = refresh(answer)
    assert isinstance(outcome, kind)
    assert len(http.sent) == 1
    if isinstance(outcome, AuthExpired):
        assert outcome.permanent
    if isinstance(outcome, RateLimited):
        assert outcome.until == NOW + oauth.TOKEN_WAIT


def test_invalid_grant_keeps_its_name() -> None:
    assert refresh(Answer(400, {"error": "invalid_grant"}))[0].code == "invalid_grant"


def test_an_oauth1_signature_covers_the_query(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oauthlib.oauth1.rfc5849.generate_nonce", lambda: "nonce")
    monkeypatch.setattr("oauthlib.oauth1.rfc5849.generate_timestamp", lambda: "1")
    keys = {"consumer_key": "ck", "consumer_secret": "cs", "token": "t", "token_secret": "ts"}
    plain = oauth.oauth1_header("GET", URL, **keys)["Authorization"]
    asked = oauth.oauth1_header("GET", URL, params={"a": "b c,d"}, **keys)["Authorization"]
    other = oauth.oauth1_header("POST", URL, **keys)["Authorization"]
    assert len({plain, asked, other}) == 3
    assert 'oauth_signature_method="HMAC-SHA1"' in plain
    assert plain == oauth.oauth1_header("GET", URL, **keys)["Authorization"]
