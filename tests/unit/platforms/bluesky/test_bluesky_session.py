"""Where requests for an account go, and how its sessions are made, renewed and lost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from fake_http import NOW, Answer, FakeHttp
from pydantic import ValidationError
from world_bluesky import BLUESKY_ACCOUNT, BLUESKY_CREDENTIALS, BLUESKY_SUBJECT, DID, PDS, BlueskyWorld
from worlds import picture

from platforms.base import (
    AuthExpired,
    Call,
    Doubt,
    Draft,
    Identity,
    NotSent,
    RateLimited,
    Refreshed,
)
from platforms.bluesky import PLATFORM
from platforms.bluesky.models import Credentials

FIRST = {"identifier": "acme.bsky.social", "password": "p"}


# --- Where requests go --------------------------------------------------------------------------------------


def origins(credentials: dict[str, Any], draft: Draft | None = None) -> dict[str, set[str]]:
    """The origins that each step speaks to."""
    world, found = BlueskyWorld(), {}
    draft = draft or Draft("hi", BLUESKY_ACCOUNT, (picture(),))
    checkpoint: dict[str, Any] = {}
    http = FakeHttp(world)

    def call() -> Call:
        call = BLUESKY_SUBJECT.call(http, checkpoint, checkpoint.update)
        call.credentials = credentials
        return call

    for step, action in (
        ("refresh", lambda: PLATFORM.refresh(call())),
        ("identify", lambda: PLATFORM.identify(call())),
        ("prepare", lambda: PLATFORM.prepare(call(), draft)),
        ("publish", lambda: PLATFORM.publish(call(), draft)),
        ("reconcile", lambda: PLATFORM.reconcile(call(), draft, Doubt(NOW, None, frozenset()))),
    ):
        http.sent.clear()
        action()
        found[step] = {request.url.split("/xrpc/")[0] for request in http.sent}
    return found


def test_an_account_of_bluesky_signs_in_at_the_door_and_writes_to_its_host() -> None:
    found = origins(BLUESKY_CREDENTIALS)
    assert found.pop("refresh") == {"https://bsky.social"}
    assert set.union(*found.values()) == {PDS}


def test_the_server_may_be_named_as_bluesky_itself() -> None:
    assert origins({**BLUESKY_CREDENTIALS, "server": "bsky.social"})["publish"] == {PDS}


def test_an_account_of_another_server_speaks_to_that_alone() -> None:
    found = origins({**BLUESKY_CREDENTIALS, "server": "pds.example.org"})
    assert set.union(*found.values()) == {"https://pds.example.org"}


def test_a_session_cannot_send_tokens_to_a_stranger() -> None:
    for endpoint in ("https://evil.example", "https://bsky.social.evil.example", "http://a.host.bsky.network", "?"):
        session = BlueskyWorld().session(1)
        session["didDoc"]["service"][0]["serviceEndpoint"] = endpoint
        call = BLUESKY_SUBJECT.call(FakeHttp(lambda _, session=session: Answer(200, session)))
        call.credentials = FIRST
        renewed = PLATFORM.refresh(call)
        assert isinstance(renewed, Refreshed)
        assert "pds" not in renewed.credentials


@pytest.mark.parametrize(
    "server", ["http://pds.example.org", "https://u:p@pds.example.org", "https://a.b/c", "ftp://a.b", ""]
)
def test_servers_that_are_refused(server: str) -> None:
    with pytest.raises(ValidationError):
        Credentials.model_validate({**FIRST, "server": server})


def test_an_override_covers_all_hosts_of_bluesky() -> None:
    from platforms.http import Client

    client = Client(api_hosts=PLATFORM.api_hosts, override="http://127.0.0.1:1")
    for host in ("bsky.social", "morel.us-east.host.bsky.network", "video.bsky.app"):
        assert client._target(f"https://{host}/xrpc/x").netloc == "127.0.0.1:1"
    for host in ("pds.example.org", "evilhost.bsky.network.example", "host.bsky.network"):
        assert client._target(f"https://{host}/xrpc/x").netloc == host


# --- Sessions -----------------------------------------------------------------------------------------------


def answering(*answers: Answer) -> FakeHttp:
    waiting = list(answers)
    return FakeHttp(lambda _: waiting.pop(0))


def renewed_by(http: FakeHttp, credentials: dict[str, Any]) -> Any:
    call = BLUESKY_SUBJECT.call(http)
    call.credentials = credentials
    return PLATFORM.refresh(call)


def test_without_a_session_it_ran_out_long_ago_and_nothing_is_sent() -> None:
    until = PLATFORM.expires_at(FIRST)
    assert until is not None
    assert until < NOW
    http = FakeHttp(BlueskyWorld())
    call = BLUESKY_SUBJECT.call(http)
    call.credentials = FIRST
    draft = Draft("hi", BLUESKY_ACCOUNT, (picture(),))
    for outcome in (PLATFORM.prepare(call, draft), PLATFORM.publish(call, Draft("hi", BLUESKY_ACCOUNT))):
        assert isinstance(outcome, AuthExpired)
        assert not outcome.permanent
    assert http.sent == []


def test_a_refresh_token_is_used_before_the_password() -> None:
    http = FakeHttp(BlueskyWorld())
    assert isinstance(renewed_by(http, BLUESKY_CREDENTIALS), Refreshed)
    [only] = http.sent
    assert only.path.endswith("refreshSession")
    assert only.headers["Authorization"] == "Bearer rt"
    assert only.json is None


def test_a_dead_refresh_token_falls_back_on_the_password() -> None:
    refused = Answer(400, {"error": "ExpiredToken", "message": "Token has been revoked"})
    http = answering(refused, Answer(200, BlueskyWorld().session(5)))
    renewed = renewed_by(http, BLUESKY_CREDENTIALS)
    assert isinstance(renewed, Refreshed)
    assert http.sent[1].json == {"identifier": "acme.bsky.social", "password": "abcd-efgh-ijkl-mnop"}
    assert renewed.credentials["refresh_token"] == "refresh-5"
    assert renewed.expires_at == NOW + timedelta(hours=2)
    assert Credentials.model_validate(dict(renewed.credentials))


def test_trouble_with_the_refresh_token_is_no_reason_to_sign_in_again() -> None:
    for answer, kind in ((Answer(503, b""), NotSent), (Answer(429, {}, {"retry-after": "60"}), RateLimited)):
        http = answering(answer)
        assert isinstance(renewed_by(http, BLUESKY_CREDENTIALS), kind)
        assert len(http.sent) == 1


@pytest.mark.parametrize(
    "answer",
    [
        Answer(403, b"<html>Attention required</html>"),
        Answer(401, b""),
        Answer(400, b"<html>"),
        Answer(403, {"error": "Forbidden", "message": "no"}),
        Answer(400, {"error": "UpstreamTimeout"}),
        Answer(400, ["AuthenticationRequired"]),
    ],
)
@pytest.mark.parametrize("credentials", [FIRST, BLUESKY_CREDENTIALS])
def test_a_guard_before_the_server_does_not_end_a_session(answer: Answer, credentials: dict[str, Any]) -> None:
    http = answering(answer)
    outcome = renewed_by(http, credentials)
    assert isinstance(outcome, NotSent), outcome
    assert len(http.sent) == 1


def test_a_wrong_password_is_for_a_person_to_mend() -> None:
    http = answering(Answer(401, {"error": "AuthenticationRequired", "message": "Invalid identifier or password"}))
    outcome = renewed_by(http, FIRST)
    assert isinstance(outcome, AuthExpired)
    assert outcome.permanent


def test_a_closed_account_is_not_asked_twice() -> None:
    http = answering(Answer(400, {"error": "AccountTakedown", "message": "Account has been taken down"}))
    outcome = renewed_by(http, BLUESKY_CREDENTIALS)
    assert isinstance(outcome, AuthExpired)
    assert outcome.permanent
    assert len(http.sent) == 1


def test_a_second_factor_is_explained() -> None:
    http = answering(Answer(401, {"error": "AuthFactorTokenRequired", "message": "A sign in code has been sent"}))
    outcome = renewed_by(http, FIRST)
    assert isinstance(outcome, AuthExpired)
    assert "app password" in outcome.message


def test_a_token_that_does_not_say_when_it_ends() -> None:
    session = {**BlueskyWorld().session(1), "accessJwt": "opaque"}
    renewed = renewed_by(answering(Answer(200, session)), FIRST)
    assert isinstance(renewed, Refreshed)
    assert renewed.expires_at == NOW + timedelta(minutes=120)


def test_identify_signs_in_where_there_is_no_session() -> None:
    http = FakeHttp(BlueskyWorld())
    call = BLUESKY_SUBJECT.call(http)
    call.credentials = FIRST
    identity = PLATFORM.identify(call)
    assert isinstance(identity, Identity)
    assert (identity.remote_id, identity.handle) == (DID, "acme.bsky.social")
    assert identity.facts == {"server": PDS, "email_confirmed": True}
    assert [request.path.rsplit(".", 1)[1] for request in http.sent] == ["createSession"]


def test_an_inactive_account_is_told() -> None:
    session = {**BlueskyWorld().session(1), "active": False, "status": "deactivated"}
    outcome = PLATFORM.identify(BLUESKY_SUBJECT.call(answering(Answer(200, session))))
    assert isinstance(outcome, AuthExpired)
    assert "deactivated" in outcome.message
