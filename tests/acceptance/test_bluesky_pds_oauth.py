"""Signing in to Bluesky's own server by OAuth, and posting with what it gave: PAR, PKCE, DPoP, nonces, refresh.

The person at the sign-in page is played by the calls that the page's own script makes. Elsewhere it is skipped, as
``test_bluesky_pds``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import bluesky_server
import pytest
import requests

from platforms.base import AccountRef, AuthExpired, Call, Draft, Effect, Identity, NotSent, Published, Refreshed
from platforms.bluesky import PLATFORM, dpop
from platforms.bluesky.connect import CONNECTOR
from platforms.connect import Begun, Connected, Desk, read_answer
from platforms.http import Client

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(1200)]

REDIRECT = "http://127.0.0.1:48765/callback"
PASSWORD = "a long password"
numbers = itertools.count(1)


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[bluesky_server.Running]:
    if not bluesky_server.asked_for(request.config):
        pytest.skip("needs a real Bluesky server: run make acceptance")
    with bluesky_server.running() as here:
        yield here


def now() -> datetime:
    return datetime.now(UTC)


class Person:
    """An account on the server, and a browser with its cookies."""

    def __init__(self, server: bluesky_server.Running) -> None:
        self.handle = f"person{next(numbers)}.test"
        made = requests.post(
            f"{server.url}/xrpc/com.atproto.server.createAccount",
            json={"handle": self.handle, "email": f"{self.handle}@example.com", "password": PASSWORD},
            timeout=30,
        ).json()
        self.did = str(made["did"])
        # As its own documents name it: proofs are made for this address.
        self.pds = server.url.replace("127.0.0.1", "localhost")
        self.cookies: dict[str, str] = {}
        self.client = Client(api_hosts=PLATFORM.api_hosts, override=server.directory, deadline_s=30)

    def desk(self) -> Desk:
        return Desk(self.client, now, {"handle": self.handle, "server": self.pds}, REDIRECT)

    def _send(self, method: str, url: str, headers: Mapping[str, str], **rest: Any) -> requests.Response:
        # By hand: the cookies are marked secure, and no jar gives those to plain http.
        cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        got = requests.request(method, url, headers={**headers, **cookie}, timeout=30, allow_redirects=False, **rest)
        self.cookies |= {one.name: one.value or "" for one in got.cookies}
        return got

    def _page_call(self, page: str, name: str, body: dict[str, Any], token: str | None = None) -> dict[str, Any]:
        headers = {
            "Origin": self.pds,
            "Referer": page,
            "Sec-Fetch-Mode": "same-origin",
            "Sec-Fetch-Site": "same-origin",
            "Sec-Fetch-Dest": "empty",
            "x-csrf-token": self.cookies["csrf-token"],
            **({"Authorization": f"Bearer {token}"} if token else {}),
        }
        got = self._send("POST", f"{self.pds}/@atproto/oauth-provider/~api{name}", headers, json=body)
        found: dict[str, Any] = got.json()
        assert got.status_code == 200, found
        return found

    def answers(self, page: str, *, deny: bool = False) -> dict[str, str]:
        """What the browser brings back from the sign-in page."""
        navigates = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"}
        shown = self._send("GET", page, navigates)
        assert shown.status_code == 200, shown.text[-500:]
        if deny:
            found = self._page_call(page, "/reject", {})
        else:
            who = {"locale": "en", "username": self.handle, "password": PASSWORD, "remember": False}
            signed = self._page_call(page, "/sign-in", who)
            found = self._page_call(page, "/consent", {"did": self.did}, signed.get("ephemeralToken"))
        headers = {
            "Referer": page,
            "Sec-Fetch-Mode": "navigate",
            "Sec-Fetch-Site": "same-origin",
            "Sec-Fetch-Dest": "document",
        }
        back = self._send("GET", str(found["url"]), headers)
        assert back.status_code == 303, back.text[-500:]
        location = back.headers["location"]
        assert location.startswith(REDIRECT + "?")
        return dict(parse_qsl(urlsplit(location).query))

    def connected(self) -> dict[str, Any]:
        begun = CONNECTOR.begin(self.desk())
        assert isinstance(begun, Begun), begun
        answer = self.answers(begun.url)
        assert read_answer(begun, answer) is None
        done = CONNECTOR.finish(self.desk(), begun, answer)
        assert isinstance(done, Connected), done
        return dict(done.credentials)

    def call(self, credentials: Mapping[str, Any], http: Any = None) -> Call:
        checkpoint: dict[str, Any] = {}
        account = AccountRef("bluesky", "acme", self.handle, self.did)
        return Call(http or self.client, account, credentials, now, checkpoint, checkpoint.update, "key")


class Counting:
    """A client that counts what publishes."""

    def __init__(self, client: Client, before: Callable[[], None] = lambda: None) -> None:
        self.client, self.before, self.published = client, before, 0

    def request(self, method: str, url: str, *, effect: Effect, **rest: Any) -> Any:
        if effect is Effect.PUBLISHES:
            self.published += 1
        return self.client.request(method, url, effect=effect, **rest)


@pytest.fixture
def person(server: bluesky_server.Running) -> Person:
    return Person(server)


def test_signed_in_posted_renewed_and_posted_again(person: Person) -> None:
    credentials = person.connected()
    assert PLATFORM.credentials_model.model_validate(credentials)
    assert (credentials["did"], credentials["pds"], credentials["issuer"]) == (person.did, person.pds, person.pds)
    assert set(str(credentials["scope"]).split()) == {"atproto", "transition:generic"}
    identity = PLATFORM.identify(person.call(credentials))
    assert isinstance(identity, Identity), identity
    assert (identity.remote_id, identity.handle, identity.missing_scopes) == (person.did, person.handle, ())
    for text in ("posted with a proof", "posted with a renewed token"):
        counting = Counting(person.client)
        call = person.call(credentials, counting)
        done = PLATFORM.publish(call, Draft(text, call.account))
        assert isinstance(done, Published), done
        assert counting.published == 1
        found = requests.get(
            f"{person.pds}/xrpc/com.atproto.repo.listRecords",
            params={"repo": person.did, "collection": "app.bsky.feed.post"},
            timeout=30,
        ).json()["records"]
        assert text in {one["value"]["text"] for one in found}
        renewed = PLATFORM.refresh(person.call(credentials))
        assert isinstance(renewed, Refreshed), renewed
        assert renewed.credentials["access_token"] != credentials["access_token"]
        assert renewed.credentials["refresh_token"] != credentials["refresh_token"]
        credentials = dict(renewed.credentials)


def test_a_nonce_that_the_server_does_not_take_costs_one_more_request(person: Person) -> None:
    credentials = person.connected()
    jwk = credentials["dpop_key"]
    stale = type("Old", (), {"headers": {"dpop-nonce": "stale"}})()
    for url in (person.pds, credentials["token_endpoint"]):
        dpop.NONCES.keep(jwk, url, stale, now())
    assert isinstance(PLATFORM.identify(person.call(credentials)), Identity)
    dpop.NONCES.keep(jwk, person.pds, stale, now())
    assert isinstance(PLATFORM.refresh(person.call(credentials)), Refreshed)


def test_a_publishing_call_with_a_bad_nonce_is_not_sent_twice(person: Person) -> None:
    credentials = person.connected()
    stale = type("Old", (), {"headers": {"dpop-nonce": "stale"}})()
    dpop.NONCES.keep(credentials["dpop_key"], person.pds, stale, now())
    counting = Counting(person.client)
    call = person.call(credentials, counting)
    outcome = PLATFORM.publish(call, Draft("once", call.account))
    assert isinstance(outcome, NotSent), outcome
    assert (outcome.code, counting.published) == ("dpop_nonce", 1)
    done = PLATFORM.publish(call, Draft("once", call.account))
    assert isinstance(done, Published), done


def test_a_denied_consent_comes_back_as_such(person: Person) -> None:
    begun = CONNECTOR.begin(person.desk())
    assert isinstance(begun, Begun), begun
    wrong = read_answer(begun, person.answers(begun.url, deny=True))
    assert wrong is not None
    assert wrong.code == "access_denied"


def test_tokens_are_worth_nothing_with_another_key_and_a_spent_one_ends_the_session(person: Person) -> None:
    credentials = person.connected()
    stolen = {**credentials, "dpop_key": dpop.new_key()}
    assert isinstance(PLATFORM.identify(person.call(stolen)), AuthExpired)
    first = PLATFORM.refresh(person.call(credentials))
    assert isinstance(first, Refreshed), first
    again = PLATFORM.refresh(person.call(credentials))
    assert isinstance(again, AuthExpired), again
    assert again.permanent
