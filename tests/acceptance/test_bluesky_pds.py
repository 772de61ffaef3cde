"""The Bluesky module against Bluesky's own server: what it takes, what it refuses, and that nothing doubles.

``make acceptance`` installs the server (about two minutes, once) and runs this. Elsewhere it is skipped.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import bluesky_server
import pytest
import requests
from PIL import Image

from platforms.base import (
    AccountRef,
    AuthExpired,
    Call,
    Doubt,
    Draft,
    Effect,
    Found,
    Identity,
    MediaItem,
    MediaKind,
    Published,
    Ready,
    Refreshed,
    Rejected,
    Repeatable,
    Unknown,
)
from platforms.bluesky import PLATFORM
from platforms.bluesky.text import graphemes
from platforms.errors import TransportError
from platforms.http import Client

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(1200)]

POST = "app.bsky.feed.post"
NO_FILE = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
names = itertools.count(1)


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[bluesky_server.Running]:
    if not bluesky_server.asked_for(request.config):
        pytest.skip("needs a real Bluesky server: run make acceptance")
    with bluesky_server.running() as here:
        print(
            f"\nBluesky's server: installed in {here.install_s:.0f} s, started in {here.boot_s:.1f} s,"
            f" {here.megabytes} MB"
        )
        yield here


class Losing:
    """A client that carries out what publishes and then loses the answer."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def request(self, method: str, url: str, *, effect: Effect, **rest: Any) -> Any:
        reply = self.client.request(method, url, effect=effect, **rest)
        if effect is Effect.PUBLISHES:
            raise TransportError("the answer was lost", sent=True)
        return reply


class Desk:
    """One account on the server, as a worker would use it."""

    def __init__(self, url: str) -> None:
        self.url = url
        name = f"acme{next(names)}.test"
        made = requests.post(
            f"{url}/xrpc/com.atproto.server.createAccount",
            json={"handle": name, "email": f"{name}@example.com", "password": "a long password"},
            timeout=30,
        ).json()
        headers = {"Authorization": f"Bearer {made['accessJwt']}"}
        app = requests.post(
            f"{url}/xrpc/com.atproto.server.createAppPassword", headers=headers, json={"name": "t"}, timeout=30
        ).json()
        self.did, self.handle = str(made["did"]), name
        self.credentials: dict[str, Any] = {"identifier": name, "password": app["password"], "server": url}
        self.account = AccountRef("bluesky", "acme")
        # An override must not matter: the account's own server wins.
        self.client = Client(api_hosts=PLATFORM.api_hosts, override="http://127.0.0.1:9", deadline_s=20)
        self.checkpoint: dict[str, Any] = {}
        identity = PLATFORM.identify(self.call())
        assert isinstance(identity, Identity), identity
        self.account = AccountRef("bluesky", "acme", identity.handle, identity.remote_id, dict(identity.facts))
        self.sign_in()

    def sign_in(self) -> None:
        renewed = PLATFORM.refresh(self.call())
        assert isinstance(renewed, Refreshed), renewed
        self.credentials = dict(renewed.credentials)

    def call(self, http: Any = None) -> Call:
        now: Callable[[], datetime] = lambda: datetime.now(UTC)  # noqa: E731 - one clock, given as a value
        return Call(
            http or self.client,
            self.account,
            self.credentials,
            now,
            self.checkpoint,
            self.checkpoint.update,
            "key-of-one-content",
        )

    def draft(self, text: str, *media: MediaItem, **options: Any) -> Draft:
        draft = Draft(text, self.account, media, options)
        assert PLATFORM.validate(draft) == []
        return draft

    def prepare(self, draft: Draft) -> None:
        if PLATFORM.needs_prepare(draft):
            outcome = PLATFORM.prepare(self.call(), draft)
            assert isinstance(outcome, Ready), outcome

    def publish(self, draft: Draft, http: Any = None) -> Any:
        self.prepare(draft)
        return PLATFORM.publish(self.call(http), draft)

    def look(self, draft: Draft) -> Any:
        return PLATFORM.reconcile(self.call(), draft, Doubt(datetime.now(UTC), None, frozenset()))

    def ask(self, name: str, **params: str) -> Mapping[str, Any]:
        reply = requests.get(f"{self.url}/xrpc/{name}", params=params, timeout=20)
        assert reply.status_code == 200, reply.text
        return dict(reply.json())

    def records(self, kind: str = POST) -> list[Any]:
        return list(self.ask("com.atproto.repo.listRecords", repo=self.did, collection=kind)["records"])


@pytest.fixture
def desk(server: bluesky_server.Running) -> Desk:
    return Desk(server.url)


def item(colour: str, size: tuple[int, int] = (120, 80), alt: str = "") -> MediaItem:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "JPEG")
    data = out.getvalue()
    sha = hashlib.sha256(data).hexdigest()
    return MediaItem(
        MediaKind.IMAGE, "image/jpeg", len(data), *size, sha, alt, read=lambda: io.BytesIO(data), name=f"{colour}.jpg"
    )


def test_text_with_links_mentions_and_tags(desk: Desk) -> None:
    other = Desk(desk.url)
    text = f"👩‍👩‍👧 Grüße an @{other.handle}: https://example.com/ä?x=1, example.org/tee und #Tee!"
    began = time.monotonic()
    outcome = desk.publish(desk.draft(text, langs=["de"], labels=["nudity"], tags=["kuchen"]))
    print(f"\npublished in {(time.monotonic() - began) * 1000:.0f} ms")
    assert isinstance(outcome, Published), outcome
    [found] = desk.records()
    assert found["uri"] == outcome.remote_id
    value = found["value"]
    assert value["text"] == text
    raw = text.encode()
    told = [
        (raw[facet["index"]["byteStart"] : facet["index"]["byteEnd"]].decode(), facet["features"][0])
        for facet in value["facets"]
    ]
    kind = "app.bsky.richtext.facet"
    assert told == [
        (f"@{other.handle}", {"$type": f"{kind}#mention", "did": other.did}),
        ("https://example.com/ä?x=1", {"$type": f"{kind}#link", "uri": "https://example.com/%C3%A4?x=1"}),
        ("example.org/tee", {"$type": f"{kind}#link", "uri": "https://example.org/tee"}),
        ("#Tee", {"$type": f"{kind}#tag", "tag": "Tee"}),
    ]
    assert outcome.url == f"https://bsky.app/profile/{desk.handle}/post/{found['uri'].rsplit('/', 1)[1]}"


def test_four_images_come_back_byte_for_byte(desk: Desk) -> None:
    media = [item(colour, alt=f"all {colour}") for colour in ("red", "green", "blue", "teal")]
    assert isinstance(desk.publish(desk.draft("", *media)), Published)
    [found] = desk.records()
    images = found["value"]["embed"]["images"]
    assert [image["alt"] for image in images] == [one.alt for one in media]
    assert {tuple(image["aspectRatio"].values()) for image in images} == {(120, 80)}
    for image, one in zip(images, media, strict=True):
        cid = image["image"]["ref"]["$link"]
        blob = requests.get(
            f"{desk.url}/xrpc/com.atproto.sync.getBlob", params={"did": desk.did, "cid": cid}, timeout=20
        )
        assert hashlib.sha256(blob.content).hexdigest() == one.sha256


def test_a_video_goes_to_a_server_of_this_machine_as_it_is(desk: Desk) -> None:
    data = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + bytes(2000)
    clip = dataclasses.replace(
        item("red"), kind=MediaKind.VIDEO, mime="video/mp4", size=len(data), read=lambda: io.BytesIO(data)
    )
    assert isinstance(desk.publish(desk.draft("It moves", clip)), Published)
    [found] = desk.records()
    assert found["value"]["embed"]["$type"] == "app.bsky.embed.video"
    assert found["value"]["embed"]["video"]["mimeType"] == "video/mp4"


def test_card_and_rules_for_replies_and_quotes(desk: Desk) -> None:
    draft = desk.draft("Tea at example.com", card_title="Tea", replies=["mentioned", "following"], quotes=False)
    outcome = desk.publish(draft)
    assert isinstance(outcome, Published), outcome
    [post] = desk.records()
    assert post["value"]["embed"]["external"] == {"uri": "https://example.com", "title": "Tea", "description": ""}
    for kind in ("app.bsky.feed.threadgate", "app.bsky.feed.postgate"):
        [gate] = desk.records(kind)
        assert gate["value"]["post"] == post["uri"]
        assert gate["uri"].rsplit("/", 1)[1] == post["uri"].rsplit("/", 1)[1]


def test_a_lost_answer_is_found_and_a_resend_makes_no_second_post(desk: Desk) -> None:
    draft = desk.draft("Once", item("red", alt="red"))
    desk.prepare(draft)
    assert isinstance(desk.look(draft), Repeatable)
    with pytest.raises(TransportError):
        desk.publish(draft, Losing(desk.client))
    found = desk.look(draft)
    assert isinstance(found, Found), found
    before = desk.records()
    again = desk.publish(draft)
    assert isinstance(again, Published), again
    assert again.remote_id == found.remote_id
    assert desk.records() == before
    # As after a long pause: another time in the record, the same key.
    desk.checkpoint["record"] = {**desk.checkpoint["record"], "created_at": "2026-01-01T00:00:00.000Z"}
    late = desk.publish(draft)
    assert isinstance(late, Unknown), late
    assert late.code == "record_exists"
    assert isinstance(desk.look(draft), Found)
    assert desk.records() == before


def test_eight_at_once_make_one_post(desk: Desk) -> None:
    draft = desk.draft("Eight times")
    began = time.monotonic()
    first = desk.publish(draft)
    count = 8

    def send(_number: int) -> Any:
        with Client(api_hosts=PLATFORM.api_hosts, deadline_s=20) as client:
            return desk.publish(draft, client)

    with ThreadPoolExecutor(count) as pool:
        outcomes = list(pool.map(send, range(count)))
    print(f"\n{count + 1} sends in {time.monotonic() - began:.2f} s")
    assert {outcome.remote_id for outcome in [first, *outcomes]} == {first.remote_id}
    assert len(desk.records()) == 1


@pytest.mark.parametrize(
    "cluster",
    [
        "x",
        "\u00e9",
        "e\u0301",
        "\u65e5",
        "🇩🇪",
        "👍🏽",
        "❤\ufe0f",
        "1\ufe0f\u20e3",
        "👩\u200d👩\u200d👧",
        "\u0915\u094d\u0937",
        "\uac01",
        "\u1112\u1161\u11ab",
    ],
)
def test_the_server_counts_as_we_do(desk: Desk, cluster: str) -> None:
    # As many as fit into the bytes, filled up to the limit with a letter.
    some = min(300, 2_400 // len(cluster.encode()))
    fits = cluster * some + "x" * (300 - graphemes(cluster * some))
    assert graphemes(fits) == 300
    assert isinstance(desk.publish(desk.draft(fits)), Published)
    desk.checkpoint.clear()
    over = Draft(fits + "x", desk.account)
    assert {bad.code for bad in PLATFORM.validate(over)} == {"text_too_long"}
    refused = desk.publish(over)
    assert isinstance(refused, Rejected), refused
    assert "300" in refused.message


def test_what_it_refuses_is_understood(desk: Desk) -> None:
    five = [item(colour) for colour in ("red", "green", "blue", "teal", "gold")]
    draft = Draft("Five", desk.account, tuple(five))
    assert {bad.code for bad in PLATFORM.validate(draft)} == {"too_many_media"}
    refused = desk.publish(draft)
    assert isinstance(refused, Rejected), refused
    assert "maximum 4" in refused.message
    desk.checkpoint.clear()
    lost = desk.draft("Lost", item("red"))
    desk.prepare(lost)
    desk.checkpoint["media"][0]["blob"]["ref"] = {
        "$link": "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
    }
    dropped = PLATFORM.publish(desk.call(), lost)
    assert (type(dropped).__name__, getattr(dropped, "code", "")) == ("NotSent", "blob_lost"), dropped
    assert isinstance(PLATFORM.publish(desk.call(), lost), Published)
    assert len(desk.records()) == 1


def test_sessions(desk: Desk) -> None:
    draft = desk.draft("Signed in")
    good = dict(desk.credentials)
    desk.credentials["access_token"] = "no.token.atall"
    refused = desk.publish(draft)
    assert isinstance(refused, AuthExpired), refused
    assert not refused.permanent
    desk.sign_in()
    assert desk.credentials["refresh_token"] != good["refresh_token"]
    assert isinstance(desk.publish(draft), Published)
    desk.credentials["refresh_token"] = "no.token.atall"
    desk.sign_in()  # by the app password
    assert isinstance(PLATFORM.identify(desk.call()), Identity)
    assert PLATFORM.expires_at(desk.credentials) is not None
    desk.credentials = {**good, "refresh_token": "no.token.atall", "password": "wrong"}
    wrong = PLATFORM.refresh(desk.call())
    assert isinstance(wrong, AuthExpired), wrong
    assert wrong.permanent
