"""Mastodon's rules for a draft, the body it sends, uploads, and who it says it is."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from conformance import prepared
from fake_http import Answer, FakeHttp, Sent
from pydantic import ValidationError
from world_mastodon import CLIP, MASTODON_ACCOUNT, MASTODON_SUBJECT, SERVER, MastodonWorld, form_of
from worlds import picture

from platforms.base import (
    AccountRef,
    Draft,
    Identity,
    MediaKind,
    NotSent,
    Published,
)
from platforms.mastodon import PLATFORM
from platforms.mastodon.limits import FACT, Limits
from platforms.mastodon.models import Credentials

POLL = {"options": ["a", "b"], "expires_in": 3600}


def codes(text: str = "hi", media: tuple[Any, ...] = (), limits: Limits | None = None, **options: Any) -> set[str]:
    facts = {FACT: limits.as_facts()} if limits else {}
    account = dataclasses.replace(MASTODON_ACCOUNT, facts=facts)
    found = PLATFORM.validate(Draft(text, account, media, options))
    assert all(violation.platform == "mastodon" for violation in found)
    return {violation.code for violation in found}


def poll(**changes: Any) -> dict[str, Any]:
    return {"poll": {**POLL, **changes}}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"text": "x" * 500}, set()),
        ({"text": "x" * 501}, {"text_too_long"}),
        ({"text": "x" * 501, "limits": Limits(max_characters=5000)}, set()),
        ({"text": "x" * 201, "limits": Limits(max_characters=200)}, {"text_too_long"}),
        ({"text": "x" * 470 + " https://example.com/" + "y" * 100}, set()),
        ({"text": "x" * 400, "spoiler_text": "y" * 100}, set()),
        ({"text": "x" * 400, "spoiler_text": "y" * 101}, {"text_too_long"}),
        ({"text": ""}, {"empty_post"}),
        ({"text": " \n"}, {"empty_post"}),
        ({"text": "", "media": (picture(),)}, set()),
        ({"media": (picture(),) * 4}, set()),
        ({"media": (picture(),) * 5}, {"too_many_media"}),
        ({"media": (picture(),) * 2, "limits": Limits(max_media_attachments=1)}, {"too_many_media"}),
        ({"media": (CLIP,)}, set()),
        ({"media": (CLIP, picture())}, {"video_not_alone"}),
        ({"media": (picture(kind=MediaKind.GIF),) * 2}, {"video_not_alone"}),
        (
            {"media": (dataclasses.replace(picture(kind=MediaKind.GIF), width=1280, height=721),)},
            {"gif_dimensions"},
        ),
        (
            {"media": (CLIP,), "limits": Limits(supported_mime_types=("image/jpeg",))},
            {"video_unsupported", "media_type"},
        ),
        ({"media": (picture(),), "limits": Limits(supported_mime_types=("image/png",))}, {"media_type"}),
        ({"media": (picture(100),), "limits": Limits(image_size_limit=99)}, {"file_too_large"}),
        (
            {"media": (dataclasses.replace(picture(100), read=None),), "limits": Limits(image_size_limit=99)},
            set(),
        ),
        ({"media": (picture(alt="x" * 1500),)}, set()),
        ({"media": (picture(alt="x" * 1501),)}, {"alt_too_long"}),
        ({"visibility": "direct"}, set()),
        ({"visibility": "secret"}, {"invalid_option"}),
        ({"language": "de"}, set()),
        ({"language": "German"}, {"invalid_option"}),
        ({"scheduled_at": "2027-01-01"}, {"unknown_option"}),
        (poll(), set()),
        (poll(options=["a"]), {"invalid_option"}),
        (poll(options=["a", "a"]), {"poll_options"}),
        (poll(options=list("abcde")), {"poll_options"}),
        (poll(options=["a", "x" * 51]), {"poll_option_too_long"}),
        (poll(expires_in=299), {"poll_duration"}),
        (poll(expires_in=2_629_747), {"poll_duration"}),
        ({**poll(), "media": (picture(),)}, {"poll_with_media"}),
        ({**poll(options=list("abcde")), "limits": Limits(max_options=5)}, set()),
    ],
)
def test_rules(arguments: dict[str, Any], expected: set[str]) -> None:
    assert codes(**arguments) == expected


# --- What is sent -------------------------------------------------------------------------------------------


def sent(draft: Draft) -> Sent:
    world = MastodonWorld()
    checkpoint = prepared(MASTODON_SUBJECT, draft, world)
    http = FakeHttp(world)
    outcome = PLATFORM.publish(MASTODON_SUBJECT.call(http, checkpoint), draft)
    assert isinstance(outcome, Published)
    assert outcome.url == f"{SERVER}/@acme/{outcome.remote_id}"
    return http.sent[-1]


def test_defaults_are_not_sent_and_the_key_is() -> None:
    request = sent(Draft("hi", MASTODON_ACCOUNT))
    assert request.json == {"status": "hi"}
    assert request.headers["Idempotency-Key"] == "key-of-one-content"
    assert request.headers["Authorization"] == "Bearer at"
    assert request.url == f"{SERVER}/api/v1/statuses"


def test_options_are_sent_under_the_names_of_the_api() -> None:
    options: dict[str, Any] = {
        "visibility": "private",
        "spoiler_text": "careful",
        "sensitive": True,
        "language": "de",
        "quote_approval_policy": "nobody",
        "poll": {**POLL, "hide_totals": True},
    }
    assert sent(Draft("hi", MASTODON_ACCOUNT, options=options)).json == {"status": "hi", **options}


def test_media_go_with_their_alt_texts_and_without_the_authors_file_names() -> None:
    world = MastodonWorld()
    http = FakeHttp(world)
    item = dataclasses.replace(picture(alt="a cup", sha="c"), name="at my secret place.jpg")
    draft = Draft("", MASTODON_ACCOUNT, (item, picture(sha="d")))
    checkpoint: dict[str, Any] = {}
    PLATFORM.prepare(MASTODON_SUBJECT.call(http, checkpoint, checkpoint.update), draft)
    forms = [form_of(request) for request in http.sent]
    assert [form.get("description") for form in forms] == ["a cup", None]
    assert [form["file"][0] for form in forms] == ["c" * 24 + ".jpg", "d" * 24 + ".jpg"]
    PLATFORM.publish(MASTODON_SUBJECT.call(http, checkpoint, checkpoint.update), draft)
    assert http.sent[-1].json == {"media_ids": list(world.media)}


def test_the_same_key_makes_one_status() -> None:
    world = MastodonWorld()
    draft = Draft("hi", MASTODON_ACCOUNT)
    outcomes = [PLATFORM.publish(MASTODON_SUBJECT.call(FakeHttp(world)), draft) for _ in range(2)]
    assert outcomes[0] == outcomes[1]
    assert len(world.published()) == 1


# --- Accounts -----------------------------------------------------------------------------------------------


def identity(credentials: dict[str, Any], instance: dict[str, Any] | None = None) -> Any:
    world = MastodonWorld()

    def server(request: Sent) -> Answer:
        if instance is not None and request.path == "/api/v2/instance":
            return Answer(200, instance)
        return world(request)

    call = MASTODON_SUBJECT.call(FakeHttp(server))
    call.account = AccountRef("mastodon", "acme")
    call.credentials = credentials
    return PLATFORM.identify(call)


def test_identify_reads_who_and_what_is_allowed() -> None:
    found = identity({"server": "mastodon.example", "access_token": "at"})
    assert isinstance(found, Identity)
    assert (found.remote_id, found.handle) == ("42", "acme@mastodon.example")
    assert found.facts["server"] == SERVER
    assert found.facts["software"] == "4.7.0"
    assert Limits.of(found.facts).supported_mime_types == ("image/jpeg", "image/png", "image/gif", "video/mp4")
    assert found.missing_scopes == ()


@pytest.mark.parametrize(
    ("scope", "missing"),
    [
        ("read write", ()),
        ("read:accounts read:statuses write:media write:statuses", ()),
        ("profile write:statuses write:media read:statuses", ("read:accounts",)),
        ("read", ("write:media", "write:statuses")),
        ("", ()),
    ],
)
def test_missing_scopes_are_told(scope: str, missing: tuple[str, ...]) -> None:
    found = identity({"server": SERVER, "access_token": "at", "scope": scope})
    assert isinstance(found, Identity)
    assert found.missing_scopes == missing


def test_an_instance_that_answers_nonsense_is_not_believed() -> None:
    assert isinstance(identity({"server": SERVER, "access_token": "at"}, {}), NotSent)


def test_tokens_do_not_run_out() -> None:
    assert PLATFORM.refresh(MASTODON_SUBJECT.call(FakeHttp(MastodonWorld()))) is None
    assert PLATFORM.expires_at({"access_token": "at"}) is None


@pytest.mark.parametrize(
    "server",
    ["http://mastodon.example", "https://u:p@mastodon.example", "https://a.b/c", "https://a.b?x=1", "ftp://a.b", ""],
)
def test_servers_that_are_refused(server: str) -> None:
    with pytest.raises(ValidationError):
        Credentials.model_validate({"access_token": "at", "server": server})


def test_without_a_server_the_token_goes_nowhere() -> None:
    http = FakeHttp(MastodonWorld())
    call = MASTODON_SUBJECT.call(http)
    call.credentials = {"access_token": "at"}
    PLATFORM.identify(call)
    assert {request.url.split("/api/")[0] for request in http.sent} == {"https://no-server-in-credentials.invalid"}
    assert PLATFORM.api_hosts == {"no-server-in-credentials.invalid"}
