"""What is told about each platform: whole, with sources, and the same as the module itself answers."""

from __future__ import annotations

import json
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from platforms import registry
from platforms.base import PublishingCall, ReconcileKind
from platforms.kinds import kinds_of
from platforms.x import api as x_api
from scheduler import capabilities
from scheduler.capabilities_models import credentials_of, options_of, schema_of
from scheduler.capabilities_words import promise
from scheduler.errors import Refused

NAMES = ("bluesky", "instagram", "mastodon", "pinterest", "tiktok", "x")


def described(name: str) -> dict[str, Any]:
    return capabilities.describe(capabilities.find(name))


@pytest.mark.parametrize("name", NAMES)
def test_is_plain_json_with_a_dated_source_for_each_limit(name: str) -> None:
    found = described(name)
    assert json.loads(json.dumps(found)) == found
    sources = [found["source"], *(rule["source"] for rule in found["media"])]
    sources += [quota["source"] for quota in found["quotas"]]
    sources += [rule["video"]["source"] for rule in found["media"] if rule["video"]]
    assert all("202" in source for source in sources), sources
    assert found["text"]["limit"] == registry.get(name).capabilities.text_limit
    assert found["text"]["counted"]
    assert {rule["placement"] for rule in found["media"]} == set(registry.get(name).capabilities.media)


@pytest.mark.parametrize("name", NAMES)
def test_each_kind_of_post_is_what_the_module_makes_of_its_example(name: str) -> None:
    module = registry.get(name)
    shown = {kind["name"]: kind for kind in described(name)["kinds"]}
    kinds = kinds_of(module)
    assert len(shown) == len(kinds) > 0
    for kind in kinds:
        follows = kind.example.part > 0
        wrong = [one for one in module.validate(kind.example) if one.field in {"media", "text"}]
        assert follows or wrong == [], kind.name
        call = module.publishing_call(kind.example)
        told = shown[kind.name]["publishing_call"]
        assert (told["name"], told["reconcile"]) == (call.name, call.reconcile.value)
        assert shown[kind.name]["placement"] in ({None} if follows else set(module.capabilities.media))


def test_each_placement_is_reached_by_a_kind_of_post() -> None:
    for name in NAMES:
        module = registry.get(name)
        reached = {module.placement(kind.example) for kind in kinds_of(module)}
        assert reached == set(module.capabilities.media), name


def test_the_ways_to_sign_in_name_their_scopes() -> None:
    ways = {name: {way["way"]: way for way in described(name)["sign_in"]} for name in NAMES}
    assert set(ways["instagram"]) == {"instagram", "facebook"}
    assert "instagram_business_content_publish" in ways["instagram"]["instagram"]["scopes"]
    assert ways["x"]["oauth"]["scopes"] == list(x_api.SCOPES)
    for found in ways.values():
        assert found
        assert all(way["scopes"] and "202" in way["source"] for way in found.values())


def test_only_x_charges() -> None:
    priced = {name for name in NAMES if any(kind["cost"] for kind in described(name)["kinds"])}
    assert priced == {"x"}
    costs = {kind["name"]: kind["cost"]["amount"] for kind in described("x")["kinds"]}
    assert costs["text"] == costs["poll"] == costs["thread"] == "0.015"
    assert costs["text with a link"] == "0.200"
    assert [(price["amount"], price["words"]) for price in described("x")["prices"]] == [
        ("0.015", "a post 0.015"),
        ("0.200", "a post with a link 0.200"),
    ]
    assert described("mastodon")["prices"] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_limits_of_options_have_a_dated_source(name: str) -> None:
    found = described(name)
    assert "202" in found["options_source"]
    for option in found["options"]:
        assert "202" in option["source"], option["name"]
        assert all("202" in field["source"] for field in option["fields"])


@pytest.mark.parametrize("name", ["mastodon", "x"])
def test_polls_and_threads_are_kinds_of_their_own(name: str) -> None:
    kinds = [kind["name"] for kind in described(name)["kinds"]]
    assert {"poll", "thread"} <= set(kinds)


def test_what_follows_a_post_has_a_promise_of_its_own() -> None:
    kinds = {kind["name"]: kind["publishing_call"] for kind in described("instagram")["kinds"]}
    assert kinds["reel"]["reconcile"] == "two_step"
    assert (kinds["first comment"]["name"], kinds["first comment"]["reconcile"]) == (
        "POST /{ig-media}/comments",
        "lookup",
    )
    assert [name for name in NAMES if described(name)["first_comment"]] == ["instagram"]


def test_tiktok_tells_its_promises_apart() -> None:
    doubles = {kind["name"]: kind["publishing_call"]["doubles"] for kind in described("tiktok")["kinds"]}
    assert doubles["video, uploaded"].startswith("never doubled")
    assert doubles["photos, public"] == "never repeated: found, or held for a person"
    assert doubles["photos, not public"] == "never repeated: held for a person"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (PublishingCall("a", ReconcileKind.CLIENT_ID), "id is ours"),
        (PublishingCall("a", ReconcileKind.TWO_STEP), "made before"),
        (PublishingCall("a", ReconcileKind.KEYED, key_lifetime_s=3600), "within 50 minutes"),
        (PublishingCall("a", ReconcileKind.LOOKUP), "quarantine"),
        (PublishingCall("a", ReconcileKind.LOOKUP, absence_provable=False), "never sent again"),
        (PublishingCall("a", ReconcileKind.NONE), "held for a person"),
    ],
)
def test_each_way_to_settle_doubt_has_its_words(call: PublishingCall, words: str) -> None:
    assert words in promise(call).long


def test_no_two_ways_share_their_words() -> None:
    calls = [PublishingCall("a", kind, key_lifetime_s=60) for kind in ReconcileKind]
    assert len({promise(call).long for call in calls}) == len(ReconcileKind)


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    often: int = Field(ge=1, le=9)
    """How often."""


class Outer(BaseModel):
    """All there is. Source of the limits: the ``Book``,
    2026-08.
    """

    model_config = ConfigDict(extra="forbid")

    word: Annotated[str, Field(max_length=7)] = "tea"
    """What to say, over
    two lines."""
    described: bool = Field(False, description="Said by the field.")
    inner: list[Inner] | None = None
    needed: float


def test_options_with_type_default_and_help() -> None:
    options = {option["name"]: option for option in options_of(Outer)}
    assert options["word"] == {
        "name": "word",
        "type": "text (at most 7 characters)",
        "required": False,
        "default": "tea",
        "help": "What to say, over two lines.",
        "source": "the Book, 2026-08",
        "fields": [],
    }
    assert options["described"]["help"] == "Said by the field."
    assert options["needed"]["required"] is True
    assert options["inner"]["fields"] == [
        {
            "name": "often",
            "type": "whole number (from 1, to 9)",
            "required": True,
            "default": None,
            "help": "How often.",
            "source": "the Book, 2026-08",
            "fields": [],
        }
    ]
    assert schema_of(Outer)["properties"]["word"]["description"] == "What to say, over two lines."


@pytest.mark.parametrize("name", NAMES)
def test_no_credential_that_proves_something_is_told_to_be_harmless(name: str) -> None:
    fields = {field["name"]: field["secret"] for field in credentials_of(registry.get(name).credentials_model)}
    told = [field for field, secret in fields.items() if not secret]
    assert any(fields.values())
    assert not [field for field in told if any(word in field for word in ("token", "secret", "password", "private"))]


def test_an_unknown_name_is_refused_with_the_names() -> None:
    with pytest.raises(Refused, match="there are: bluesky, instagram, mastodon, pinterest, tiktok, x"):
        capabilities.find("myspace")
