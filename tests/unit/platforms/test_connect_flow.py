"""What every sign-in shares: PKCE, the way back, and the code flow that modules only describe."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fake_http import NOW, Answer, FakeHttp

from platforms import registry
from platforms.base import Effect, NotSent, RateLimited, Rejected
from platforms.connect import (
    Begun,
    Connectable,
    Connected,
    Desk,
    Pkce,
    challenge,
    is_loopback,
    missing_scopes,
    new_state,
    new_verifier,
    parameters_of,
    read_answer,
    same_place,
)

BACK = "http://127.0.0.1:8765/callback"
APP = {"client_id": "id", "client_secret": "secret"}
TOKENS = {"access_token": "at", "refresh_token": "rt", "expires_in": 7200, "scope": "a b"}


def connector(name: str) -> Any:
    module = registry.get(name)
    assert isinstance(module, Connectable)
    return module.connector


def desk(http: FakeHttp, told: dict[str, str] | None = None, redirect: str = BACK) -> Desk:
    return Desk(http, lambda: NOW, APP if told is None else told, redirect)


def begun(name: str, told: dict[str, str] | None = None, redirect: str = BACK) -> tuple[Begun, dict[str, str]]:
    found = connector(name).begin(desk(FakeHttp(lambda _: Answer()), told, redirect))
    assert isinstance(found, Begun)
    return found, {key: value for key, [value] in parse_qs(urlsplit(found.url).query).items()}


def finished(name: str, answer: Answer, told: dict[str, str] | None = None, redirect: str = BACK) -> tuple[Any, Any]:
    start, _ = begun(name, told, redirect)
    http = FakeHttp(lambda _: answer)
    return connector(name).finish(desk(http, told, redirect), start, {"code": "c", "state": start.state}), http


# --- PKCE and the way back ------------------------------------------------------------------------------------


def test_the_challenge_is_the_one_of_the_standard() -> None:
    """RFC 7636, appendix B."""
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    expected = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    assert challenge(verifier, Pkce.S256) == {"code_challenge": expected, "code_challenge_method": "S256"}
    in_hex = base64.urlsafe_b64decode(expected + "=").hex()
    assert challenge(verifier, Pkce.S256_HEX)["code_challenge"] == in_hex
    assert challenge(verifier, Pkce.NONE) == {}


def test_states_and_verifiers_are_new_each_time_and_long_enough() -> None:
    assert len({new_state() for _ in range(50)} | {new_verifier() for _ in range(50)}) == 100
    assert 43 <= len(new_verifier()) <= 128
    assert len(base64.urlsafe_b64decode(new_state() + "=")) == 32


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"state": "s", "code": "c"}, None),
        ({"state": "t", "code": "c"}, "wrong_state"),
        ({"code": "c"}, "wrong_state"),
        ({"state": "é", "code": "c"}, "wrong_state"),
        ({"state": "s"}, "no_code"),
        ({"state": "s", "error": "access_denied"}, "access_denied"),
        ({"state": "s", "error": "access_denied", "code": "c"}, "access_denied"),
        ({"state": "s", "error": "x", "error_reason": "user_denied"}, "access_denied"),
        ({"state": "s", "error": "invalid_scope", "error_description": "no such scope"}, "invalid_scope"),
        ({"state": "t", "error": "access_denied"}, "wrong_state"),
    ],
)
def test_what_the_browser_brings(answer: dict[str, str], code: str | None) -> None:
    wrong = read_answer(Begun("https://a.b", "s", BACK), answer)
    assert (wrong.code if wrong else None) == code


def test_addresses_that_are_pasted() -> None:
    assert same_place(f" {BACK}?code=1#_ ", BACK)
    assert same_place("HTTPS://Example.com?code=1", "https://example.com/")
    for other in ("http://127.0.0.1:8766/callback?code=1", "https://127.0.0.1:8765/callback", "http://evil/callback"):
        assert not same_place(other, BACK)
    assert parameters_of(f"{BACK}?code=a%2Ab&state=s#_") == {"code": "a*b", "state": "s"}
    assert [is_loopback(one) for one in (BACK, "http://localhost/", "http://[::1]:1/", "https://localhost/")] == [
        True, True, True, False,
    ]  # fmt: skip
    assert not is_loopback("http://localhost.example/")


def test_a_wider_scope_covers_its_parts() -> None:
    assert missing_scopes(("write:media", "read:accounts"), ("write",)) == ("read:accounts",)


# --- Each platform's address ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", registry.names())
def test_every_platform_declares_its_facts_with_their_source(name: str) -> None:
    facts = connector(name).facts({})
    assert facts.scopes
    assert facts.source[-7:-3].isdigit() or facts.source[-4:].isdigit()
    assert [question.name for question in connector(name).questions if question.secret] in ([], ["client_secret"])


@pytest.mark.parametrize(
    ("name", "told", "start", "expected"),
    [
        ("x", APP, "https://x.com/i/oauth2/authorize",
         {"client_id": "id", "scope": "tweet.read tweet.write users.read media.write offline.access",
          "code_challenge_method": "S256"}),
        ("pinterest", APP, "https://www.pinterest.com/oauth/",
         {"client_id": "id", "scope": "boards:read,boards:write,pins:read,pins:write,user_accounts:read"}),
        ("tiktok", APP, "https://www.tiktok.com/v2/auth/authorize/",
         {"client_key": "id", "code_challenge_method": "S256"}),
        ("instagram", APP, "https://www.instagram.com/oauth/authorize", {"client_id": "id"}),
        ("instagram", {**APP, "login": "facebook"}, "https://www.facebook.com/v26.0/dialog/oauth", {"client_id": "id"}),
    ],
)  # fmt: skip
def test_the_page_that_is_opened(name: str, told: dict[str, str], start: str, expected: dict[str, str]) -> None:
    found, query = begun(name, told)
    assert found.url.startswith(start + "?")
    assert expected.items() <= query.items()
    assert (query["response_type"], query["redirect_uri"], query["state"]) == ("code", BACK, found.state)
    assert "secret" not in found.url
    assert "+" not in urlsplit(found.url).query
    assert ("code_challenge" in query) is (name in {"x", "tiktok"})
    assert "verifier" not in repr(found)


def test_tiktok_binds_the_code_only_where_it_comes_back_to_this_machine() -> None:
    _, query = begun("tiktok", APP)
    assert len(query["code_challenge"]) == 64
    _, query = begun("tiktok", APP, "https://example.com/back")
    assert "code_challenge" not in query


# --- The exchange -----------------------------------------------------------------------------------------------


def test_a_confidential_client_of_x_names_itself_by_basic() -> None:
    outcome, http = finished("x", Answer(200, TOKENS))
    assert isinstance(outcome, Connected)
    assert outcome.credentials == {
        "access_token": "at", "refresh_token": "rt", "client_id": "id", "client_secret": "secret", "scope": "a b",
        "expires_at": (NOW + timedelta(hours=2)).isoformat(),
    }  # fmt: skip
    [sent] = http.sent
    assert (sent.method, sent.url, sent.effect) == ("POST", "https://api.x.com/2/oauth2/token", Effect.PREPARES)
    assert base64.b64decode(sent.headers["Authorization"].removeprefix("Basic ")) == b"id:secret"
    assert sorted(sent.form) == ["code", "code_verifier", "grant_type", "redirect_uri"]
    assert registry.get("x").credentials_model.model_validate(dict(outcome.credentials))


def test_a_public_client_of_x_names_itself_in_the_form() -> None:
    outcome, http = finished("x", Answer(200, TOKENS), {"client_id": "id"})
    assert isinstance(outcome, Connected)
    assert "client_secret" not in outcome.credentials
    assert http.sent[0].form["client_id"] == "id"
    assert "Authorization" not in http.sent[0].headers


def test_pinterest_is_asked_for_tokens_that_renew_without_end() -> None:
    _, http = finished("pinterest", Answer(200, TOKENS))
    assert http.sent[0].form["continuous_refresh"] == "true"
    assert "code_verifier" not in http.sent[0].form


def test_tiktok_names_the_app_in_the_form_and_tells_when_the_refresh_token_ends() -> None:
    answer = {**TOKENS, "open_id": "o", "refresh_expires_in": 86_400, "scope": "user.info.basic,video.publish"}
    outcome, http = finished("tiktok", Answer(200, answer))
    assert isinstance(outcome, Connected)
    assert (http.sent[0].form["client_key"], http.sent[0].form["client_secret"]) == ("id", "secret")
    assert outcome.credentials["refresh_expires_at"] == (NOW + timedelta(days=1)).isoformat()
    assert registry.get("tiktok").credentials_model.model_validate(dict(outcome.credentials))


@pytest.mark.parametrize(
    ("name", "answer", "kind", "code"),
    [
        ("x", Answer(400, {"error": "invalid_request", "error_description": "expired"}), Rejected, "invalid_request"),
        ("x", Answer(401, {"error": "unauthorized_client"}), Rejected, "unauthorized_client"),
        ("x", Answer(429, {}, {"retry-after": "60"}), RateLimited, None),
        ("x", Answer(503, b"<html>"), NotSent, "sign_in_failed"),
        ("x", Answer(200, {"scope": "a"}), NotSent, "sign_in_failed"),
        ("pinterest", Answer(401, {"code": 2, "message": "Authentication failed."}), Rejected, "2"),
        # TikTok refuses with 200.
        ("tiktok", Answer(200, {"error": "invalid_grant", "error_description": "spent"}), Rejected, "invalid_grant"),
        ("instagram", Answer(400, {"error_type": "OAuthException", "code": 400, "error_message": "Invalid code"}),
         Rejected, "OAuthException"),
    ],
)  # fmt: skip
def test_what_a_token_endpoint_refuses(name: str, answer: Answer, kind: type, code: str | None) -> None:
    outcome, http = finished(name, answer)
    assert isinstance(outcome, kind), outcome
    assert getattr(outcome, "code", None) == code
    assert "secret" not in outcome.message
    assert len(http.sent) == 1
