"""OAuth sessions of Bluesky: how they are begun, used for requests, renewed, and what is not believed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fake_http import NOW, Answer, FakeHttp, Sent
from pydantic import ValidationError
from world_bluesky import DID, PDS, BlueskyWorld

from platforms.base import (
    AccountRef,
    AuthExpired,
    Call,
    Draft,
    Effect,
    Identity,
    NotSent,
    Published,
    RateLimited,
    Refreshed,
    Rejected,
)
from platforms.bluesky import PLATFORM, api, dpop, identity, oauth_session, proven
from platforms.bluesky.connect import CONNECTOR, loopback_client
from platforms.bluesky.models import Credentials
from platforms.connect import Begun, Connected, Desk
from platforms.sandbox.oauth_bluesky import verified

ISSUER = "https://bsky.social"
BACK = "http://127.0.0.1:48765/callback"
TOLD = {"handle": "acme.bsky.social"}
META = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/oauth/authorize",
    "token_endpoint": f"{ISSUER}/oauth/token",
    "pushed_authorization_request_endpoint": f"{ISSUER}/oauth/par",
    "scopes_supported": ["atproto", "transition:generic"],
    "dpop_signing_alg_values_supported": ["ES256"],
    "code_challenge_methods_supported": ["S256"],
    "authorization_response_iss_parameter_supported": True,
}
SERVICE = {"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": PDS}
DOCUMENT = {"id": DID, "alsoKnownAs": ["at://acme.bsky.social"], "service": [SERVICE]}
TOKENS = {
    "access_token": "at-1", "refresh_token": "rt-1", "token_type": "DPoP", "expires_in": 3600, "sub": DID,
    "scope": "atproto transition:generic",
}  # fmt: skip
NONCE = {"DPoP-Nonce": "n1"}


class Net:
    """Everything between a handle and a session; ``change`` replaces answers by the end of their path."""

    def __init__(self, **change: Answer) -> None:
        self.change = change

    def __call__(self, sent: Sent) -> Answer:
        host, name = urlsplit(sent.url).hostname, sent.path.rsplit("/", 1)[1].rsplit(".", 1)[-1]
        answers = {
            "resolveHandle": Answer(200, {"did": DID}),
            DID: Answer(200, DOCUMENT),
            "oauth-protected-resource": Answer(200, {"resource": PDS, "authorization_servers": [ISSUER]}),
            "oauth-authorization-server": Answer(200, META),
            "par": Answer(201, {"request_uri": "urn:x", "expires_in": 299}, NONCE),
            "token": Answer(200, TOKENS, NONCE),
        }
        assert host in {"bsky.social", "plc.directory", "morel.us-east.host.bsky.network"}, sent.url
        return self.change.get(name.replace("-", "_").replace(":", "_"), answers[name])


def desk(http: FakeHttp, told: dict[str, str] | None = None, redirect: str = BACK) -> Desk:
    return Desk(http, lambda: NOW, TOLD if told is None else told, redirect)


def begin(net: Net | None = None, told: dict[str, str] | None = None, redirect: str = BACK) -> tuple[Any, FakeHttp]:
    http = FakeHttp(net or Net())
    return CONNECTOR.begin(desk(http, told, redirect)), http


def finish(net: Net | None = None, **answer: str) -> tuple[Any, FakeHttp]:
    begun, _ = begin()
    assert isinstance(begun, Begun)
    http = FakeHttp(net or Net())
    return CONNECTOR.finish(desk(http), begun, {"code": "c", "state": begun.state, "iss": ISSUER, **answer}), http


# --- Signing in -------------------------------------------------------------------------------------------------


def test_the_request_is_pushed_with_a_proof_and_only_its_number_is_in_the_address() -> None:
    begun, http = begin()
    assert isinstance(begun, Begun)
    client = loopback_client(BACK)
    assert parse_qs(urlsplit(begun.url).query) == {"client_id": [client], "request_uri": ["urn:x"]}
    pushed = http.sent[-1]
    assert pushed.url == META["pushed_authorization_request_endpoint"]
    assert pushed.form["scope"] == "atproto transition:generic"
    assert (pushed.form["login_hint"], pushed.form["redirect_uri"]) == ("acme.bsky.social", BACK)
    assert pushed.form["code_challenge_method"] == "S256"
    _, claims = verified(pushed.headers["DPoP"])
    assert (claims["htm"], claims["htu"]) == ("POST", pushed.url)


def test_the_loopback_client_names_its_redirect_without_the_port() -> None:
    parts = urlsplit(loopback_client(BACK))
    assert (parts.scheme, parts.netloc, parts.path) == ("http", "localhost", "")
    declared = {"redirect_uri": ["http://127.0.0.1/callback"], "scope": ["atproto transition:generic"]}
    assert parse_qs(parts.query) == declared


def test_a_session_is_bound_to_a_key_of_its_own() -> None:
    first, http = finish()
    second, _ = finish()
    assert isinstance(first, Connected)
    assert isinstance(second, Connected)
    assert first.credentials["dpop_key"] != second.credentials["dpop_key"]
    assert Credentials.model_validate(dict(first.credentials))
    assert PLATFORM.expires_at(first.credentials) == NOW + timedelta(hours=1)
    assert PLATFORM.access_ends_at(first.credentials) == NOW + timedelta(weeks=2)
    [sent] = http.sent
    assert sent.form["code_verifier"]
    assert dpop.thumbprint(verified(sent.headers["DPoP"])[0]["jwk"]) == dpop.thumbprint(first.credentials["dpop_key"])


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"resolveHandle": Answer(400, {"error": "InvalidRequest"})}, "lookup_failed"),
        ({"resolveHandle": Answer(502, {})}, "lookup_failed"),
        ({"resolveHandle": Answer(200, {"did": "did:key:z"})}, "lookup_failed"),
        ({DID.replace(":", "_"): Answer(200, {**DOCUMENT, "alsoKnownAs": ["at://other.test"]})}, "handle_not_claimed"),
        ({DID.replace(":", "_"): Answer(200, {**DOCUMENT, "id": "did:plc:other"})}, "lookup_failed"),
        ({DID.replace(":", "_"): Answer(200, {**DOCUMENT, "service": []})}, "invalid_pds"),
        *[
            ({DID.replace(":", "_"): Answer(200, {**DOCUMENT, "service": [{**SERVICE, "serviceEndpoint": bad}]})},
             "invalid_pds")
            for bad in ("http://pds.example.org", "https://127.0.0.1", "http://localhost:1", "https://169.254.169.254",
                        "https://u:p@pds.example.org", "https://pds.example.org/path", "https://intranet", 7)
        ],
        ({"oauth_protected_resource": Answer(200, {"authorization_servers": [ISSUER, ISSUER]})}, "lookup_failed"),
        ({"oauth_protected_resource": Answer(200, {"authorization_servers": ["http://10.0.0.1"]})}, "lookup_failed"),
        ({"oauth_protected_resource": Answer(302, {})}, "lookup_failed"),
        ({"oauth_authorization_server": Answer(201, META)}, "lookup_failed"),
        *[
            ({"oauth_authorization_server": Answer(200, {**META, **bad})}, "unsuitable_server")
            for bad in (
                {"issuer": "https://evil.example"}, {"token_endpoint": "https://evil.example/token"},
                {"token_endpoint": None}, {"pushed_authorization_request_endpoint": ""},
                {"authorization_endpoint": "http://bsky.social/a"}, {"scopes_supported": ["openid"]},
                {"dpop_signing_alg_values_supported": ["RS256"]}, {"code_challenge_methods_supported": ["plain"]},
                {"authorization_response_iss_parameter_supported": False},
            )
        ],
        ({"par": Answer(400, {"error": "invalid_request", "error_description": "no"}, NONCE)}, "invalid_request"),
        ({"par": Answer(201, {"request_uri": "urn:x"})}, "no_nonce"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_ends_before_the_page(change: dict[str, Answer], code: str) -> None:
    outcome, _ = begin(Net(**change))
    assert isinstance(outcome, Rejected | NotSent), outcome
    assert outcome.code == code


@pytest.mark.parametrize(
    ("told", "code"),
    [
        ({"handle": "acme"}, "invalid_handle"),
        ({"handle": "acme@example.com"}, "invalid_handle"),
        ({"handle": "did:plc:short"}, "invalid_handle"),
        ({"handle": "did:web:localhost"}, "invalid_did"),
        ({**TOLD, "server": "ftp://a"}, "invalid_server"),
        ({**TOLD, "client_id": "http://app.example/m.json"}, "invalid_client_id"),
        ({**TOLD, "client_id": "https://app.example/m.json", "client_secret": "{}"}, "invalid_key"),
        ({**TOLD, "client_id": "https://app.example/m.json", "client_secret": "no json"}, "invalid_key"),
    ],
)
def test_answers_that_cannot_be_used(told: dict[str, str], code: str) -> None:
    outcome, http = begin(told=told)
    assert isinstance(outcome, Rejected)
    assert (outcome.code, http.sent) == (code, [])


def test_a_did_is_taken_as_well() -> None:
    outcome, http = begin(told={"handle": DID})
    assert isinstance(outcome, Begun)
    assert "resolveHandle" not in http.sent[0].url


def test_a_confidential_client_signs_for_itself_and_keeps_its_key() -> None:
    import json

    key = {**dpop.new_key(), "kid": "k1"}
    app = "https://app.example/client-metadata.json"
    told = {**TOLD, "client_id": app, "client_secret": json.dumps(key)}
    begun, http = begin(told=told, redirect="https://app.example/callback")
    assert isinstance(begun, Begun)
    head, claims = verified(http.sent[-1].form["client_assertion"], dpop.public_of(key))
    assert (head["kid"], claims["iss"], claims["sub"], claims["aud"]) == ("k1", app, app, ISSUER)
    done = CONNECTOR.finish(desk(FakeHttp(Net()), told), begun, {"code": "c", "iss": ISSUER})
    assert isinstance(done, Connected)
    assert done.credentials["client_key"] == key
    assert isinstance(PLATFORM.refresh(call(FakeHttp(Net()), done.credentials)), Refreshed)


def test_a_redirect_elsewhere_needs_an_app_of_ones_own() -> None:
    outcome, _ = begin(redirect="https://app.example/callback")
    assert isinstance(outcome, Rejected)
    assert outcome.code == "client_needed"


@pytest.mark.parametrize(
    ("net", "answer", "code"),
    [
        (Net(), {"iss": "https://evil.example"}, "wrong_issuer"),
        (Net(), {"iss": ""}, "wrong_issuer"),
        (Net(token=Answer(200, {**TOKENS, "sub": "did:plc:somebodyelse"}, NONCE)), {}, "bad_tokens"),
        (Net(token=Answer(200, {**TOKENS, "token_type": "Bearer"}, NONCE)), {}, "bad_tokens"),
        (Net(token=Answer(200, {**TOKENS, "scope": "transition:generic"}, NONCE)), {}, "bad_tokens"),
        (Net(token=Answer(200, {**TOKENS, "scope": None}, NONCE)), {}, "bad_tokens"),
        (Net(token=Answer(200, TOKENS)), {}, "no_nonce"),
        (
            Net(token=Answer(400, {"error": "invalid_grant", "error_description": "expired"}, NONCE)),
            {},
            "invalid_grant",
        ),
    ],
)
def test_tokens_that_are_not_believed(net: Net, answer: dict[str, str], code: str) -> None:
    outcome, http = finish(net, **answer)
    assert isinstance(outcome, Rejected)
    assert outcome.code == code
    # A code is not sent anywhere before it is sure whose answer this is.
    assert len(http.sent) == (0 if code == "wrong_issuer" else 1)


# --- Requests ---------------------------------------------------------------------------------------------------


def session() -> dict[str, Any]:
    return {
        **TOKENS, "did": DID, "handle": "acme.bsky.social", "pds": PDS, "issuer": ISSUER, "client_id": "http://localhost",
        "token_endpoint": META["token_endpoint"], "dpop_key": dpop.new_key(), "expires_at": NOW.isoformat(),
        "session_began_at": NOW.isoformat(),
    }  # fmt: skip


def call(http: FakeHttp, credentials: Any) -> Call:
    checkpoint: dict[str, Any] = {}
    account = AccountRef("bluesky", "acme", "acme.bsky.social", DID)
    return Call(http, account, credentials, lambda: NOW, checkpoint, checkpoint.update, "k")


class Guarded:
    """A server of records that wants a nonce, and changes it when it is told to."""

    def __init__(self) -> None:
        self.world, self.nonce, self.refused = BlueskyWorld(), "n1", 0

    def __call__(self, sent: Sent) -> Answer:
        if "DPoP" not in sent.headers:
            return self.world(sent)
        _, claims = verified(sent.headers["DPoP"])
        assert (claims["htm"], claims["htu"]) == (sent.method, sent.url)
        headers = {"DPoP-Nonce": self.nonce}
        if claims.get("nonce") != self.nonce:
            self.refused += 1
            said = {**headers, "WWW-Authenticate": 'DPoP error="use_dpop_nonce"'}
            return Answer(401, {"error": "use_dpop_nonce", "message": "nonce"}, said)
        answer = self.world(sent)
        return Answer(answer.status, answer.body, {**answer.headers, **headers})


def test_a_read_is_repeated_once_with_the_servers_nonce() -> None:
    server = Guarded()
    http = FakeHttp(server)
    surroundings = call(http, session())
    assert isinstance(PLATFORM.identify(surroundings), Identity)
    assert [sent.headers["Authorization"] for sent in http.sent] == ["DPoP at-1", "DPoP at-1"]
    assert isinstance(PLATFORM.identify(surroundings), Identity)
    assert (len(http.sent), server.refused) == (3, 1)


def test_a_server_that_is_never_satisfied_is_left_alone_after_the_second_time() -> None:
    http = FakeHttp(lambda _: Answer(401, {"error": "use_dpop_nonce"}, NONCE))
    outcome = PLATFORM.identify(call(http, session()))
    assert isinstance(outcome, NotSent)
    assert len(http.sent) == 2


def test_the_publishing_call_gets_its_nonce_by_a_read_and_leaves_once() -> None:
    server = Guarded()
    http = FakeHttp(server)
    surroundings = call(http, session())
    assert isinstance(PLATFORM.publish(surroundings, Draft("hi", surroundings.account)), Published)
    assert [(sent.effect, sent.path.rsplit(".", 1)[1]) for sent in http.sent] == [
        (Effect.READ, "getSession"),
        (Effect.PUBLISHES, "putRecord"),
    ]
    # The nonce is still fresh: no further question.
    assert isinstance(PLATFORM.publish(surroundings, Draft("hi", surroundings.account)), Published)
    assert len(http.sent) == 3


def test_a_publishing_call_that_is_refused_for_its_nonce_was_not_sent_and_is_not_repeated() -> None:
    server = Guarded()
    http = FakeHttp(server)
    surroundings = call(http, session())
    proven.freshen(surroundings, f"{PDS}/xrpc/x", "at-1")
    server.nonce = "n2"
    outcome = PLATFORM.publish(surroundings, Draft("hi", surroundings.account))
    assert isinstance(outcome, NotSent)
    assert (outcome.code, len(http.publishing), server.world.published()) == ("dpop_nonce", 1, [])


def test_a_wrong_clock_is_no_fault_of_the_post() -> None:
    http = FakeHttp(lambda _: Answer(400, {"error": "invalid_dpop_proof", "message": "iat"}, NONCE))
    surroundings = call(http, session())
    outcome = PLATFORM.publish(surroundings, Draft("hi", surroundings.account))
    assert isinstance(outcome, NotSent)
    assert "clock" in outcome.message


def test_a_pass_for_the_video_service_is_no_token_of_the_session() -> None:
    http = FakeHttp(lambda _: Answer(200, {}))
    api.xrpc(call(http, session()), "GET", "a.b", effect=Effect.READ, token="pass", at="https://video.bsky.app")
    assert http.sent[0].headers["Authorization"] == "Bearer pass"
    assert "DPoP" not in http.sent[0].headers


def test_a_file_is_not_sent_twice_for_want_of_a_nonce() -> None:
    http = FakeHttp(Guarded())
    surroundings = call(http, session())
    body = bytes(proven.LARGE + 1)
    token = str(surroundings.credentials["access_token"])
    name = "com.atproto.repo.uploadBlob"
    reply = api.xrpc(surroundings, "POST", name, effect=Effect.PREPARES, token=token, content=body, mime="image/png")
    assert reply.status == 200
    assert [len(sent.content) for sent in http.sent] == [0, len(body)]


# --- Renewing ---------------------------------------------------------------------------------------------------


def renewed(*answers: Answer) -> tuple[Any, FakeHttp]:
    waiting = list(answers)
    http = FakeHttp(lambda _: waiting.pop(0))
    return PLATFORM.refresh(call(http, session())), http


def test_a_session_is_renewed_with_the_same_key() -> None:
    wanted = Answer(400, {"error": "use_dpop_nonce"}, NONCE)
    outcome, http = renewed(wanted, Answer(200, {**TOKENS, "access_token": "at-2", "refresh_token": "rt-2"}, NONCE))
    assert isinstance(outcome, Refreshed)
    assert (outcome.credentials["access_token"], outcome.credentials["refresh_token"]) == ("at-2", "rt-2")
    assert outcome.expires_at == NOW + timedelta(hours=1)
    assert outcome.credentials["pds"] == PDS
    assert outcome.credentials["session_began_at"] == NOW.isoformat()
    assert [verified(sent.headers["DPoP"])[1].get("nonce") for sent in http.sent] == [None, "n1"]
    assert {dpop.thumbprint(verified(sent.headers["DPoP"])[0]["jwk"]) for sent in http.sent} == {
        dpop.thumbprint(outcome.credentials["dpop_key"])
    }


@pytest.mark.parametrize(
    ("answer", "kind", "permanent"),
    [
        (Answer(400, {"error": "invalid_grant", "error_description": "replayed"}, NONCE), AuthExpired, True),
        (Answer(401, {"error": "invalid_client"}, NONCE), AuthExpired, True),
        (Answer(200, {**TOKENS, "sub": "did:plc:other"}, NONCE), AuthExpired, True),
        (Answer(200, {}, NONCE), AuthExpired, True),
        (Answer(429, {}, {"retry-after": "30"}), RateLimited, None),
        (Answer(503, b"<html>"), NotSent, None),
        (Answer(403, b"<html>"), NotSent, None),
        (Answer(401, b""), NotSent, None),
        (Answer(400, {"error": "invalid_client_metadata", "error_description": "fetch failed"}, NONCE), NotSent, None),
        (Answer(400, {"error": {"code": "invalid_grant"}}, NONCE), NotSent, None),
        (Answer(502, {"error": "invalid_grant"}), NotSent, None),
        (Answer(400, {"error": "use_dpop_nonce"}), NotSent, None),
    ],
)
def test_what_a_renewal_comes_to(answer: Answer, kind: type, permanent: bool | None) -> None:
    outcome, http = renewed(answer)
    assert isinstance(outcome, kind), outcome
    assert getattr(outcome, "permanent", None) is permanent
    assert len(http.sent) == 1


def test_without_a_refresh_token_or_a_key_only_a_person_can_help() -> None:
    for wrong in ({"refresh_token": None}, {"dpop_key": {"kty": "EC"}}):
        http = FakeHttp(lambda _: Answer(200, TOKENS, NONCE))
        outcome = PLATFORM.refresh(call(http, {**session(), **wrong}))
        assert isinstance(outcome, AuthExpired)
        assert (outcome.permanent, http.sent) == (True, [])


def test_a_token_that_does_not_say_when_it_ends_is_not_relied_on() -> None:
    outcome, _ = renewed(Answer(200, {**TOKENS, "expires_in": "soon"}, NONCE))
    assert isinstance(outcome, Refreshed)
    assert outcome.expires_at == NOW + oauth_session.ACCESS_LIFE


# --- Credentials ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["access_token", "did", "pds", "issuer", "token_endpoint", "client_id"])
def test_a_session_is_stored_whole_or_not_at_all(missing: str) -> None:
    done, _ = finish()
    assert isinstance(done, Connected)
    with pytest.raises(ValidationError, match=missing):
        Credentials.model_validate({**done.credentials, missing: None})


def test_a_key_that_signs_nothing_is_not_stored() -> None:
    done, _ = finish()
    assert isinstance(done, Connected)
    with pytest.raises(ValidationError, match="private key"):
        Credentials.model_validate({**done.credentials, "dpop_key": {"kty": "EC"}})


def test_an_app_password_still_needs_its_two_halves() -> None:
    for wrong in ({"identifier": "a"}, {"password": "p"}, {}):
        with pytest.raises(ValidationError, match="identifier and password"):
            Credentials.model_validate(wrong)


def test_the_server_that_a_person_named_is_where_the_next_sign_in_begins() -> None:
    begun, _ = begin()
    assert isinstance(begun, Begun)
    answer = {"code": "c", "state": begun.state, "iss": ISSUER}
    for told, stored in (({**TOLD, "server": PDS}, PDS), (TOLD, None)):
        at = desk(FakeHttp(Net()), told)
        done = CONNECTOR.finish(at, begun, answer)
        assert isinstance(done, Connected)
        assert done.credentials.get("server") == stored
        assert CONNECTOR.answers(done.credentials) == ({"server": PDS} if stored else {})
        assert Credentials.model_validate(dict(done.credentials))


def test_only_the_server_that_a_person_named_may_be_on_this_machine() -> None:
    here = "http://localhost:2583"
    assert identity.origin_of(here, trusted=here) == here
    assert identity.origin_of("http://localhost:2584", trusted=here) is None
    assert identity.origin_of("https://PDS.example.org/") == "https://pds.example.org"
