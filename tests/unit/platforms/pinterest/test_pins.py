"""Pinterest's rules for a draft, the body it sends, and how a doubtful pin is found again."""

from __future__ import annotations

import base64
import dataclasses
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from fake_http import NOW, Answer, FakeHttp, Sent
from worlds import BOARDS, PINTEREST_ACCOUNT, PINTEREST_SUBJECT, PinterestWorld, clip, picture

from platforms.base import (
    Absent,
    AccountRef,
    Doubt,
    Draft,
    Found,
    Inconclusive,
    NotSent,
    Rejected,
)
from platforms.pinterest import PLATFORM, lookup

URL = "https://cdn.example/a.jpg"
STARTED = NOW - timedelta(minutes=2)


def draft(text: str = "Hot soup", media: Any = None, facts: Any = None, **options: Any) -> Draft:
    account = PINTEREST_ACCOUNT if facts is None else AccountRef("pinterest", "acme", facts=facts)
    return Draft(text, account, (picture(),) if media is None else media, {"board": "Recipes", **options})


def codes(*args: Any, **kwargs: Any) -> set[str]:
    return {violation.code for violation in PLATFORM.validate(draft(*args, **kwargs))}


# --- Rules ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, set()),
        ({"text": ""}, set()),
        ({"text": "x" * 800}, set()),
        ({"text": "x" * 801}, {"text_too_long"}),
        ({"media": ()}, {"media_required"}),
        ({"media": (picture(),) * 5}, set()),
        ({"media": (picture(),) * 6}, {"too_many_media"}),
        ({"media": (picture(), dataclasses.replace(picture(), width=99))}, {"unequal_size"}),
        ({"media": (picture(alt="x" * 250), picture(alt="x" * 247))}, set()),
        ({"media": (picture(alt="x" * 250), picture(alt="x" * 248))}, {"alt_too_long"}),
        ({"media": (picture(alt="x" * 501), picture(alt="x"))}, {"alt_too_long"}),
        ({"media": (picture(),) * 2, "slides": [{"title": "a"}, {"link": "https://a.example"}]}, set()),
        ({"media": (picture(),) * 2, "slides": [{}] * 3}, {"too_many_slides"}),
        ({"media": (picture(),) * 2, "slides": [{"link": "ftp://a"}]}, {"invalid_option"}),
        ({"media": (picture(),) * 2, "slides": [{"name": "a"}]}, {"unknown_option"}),
        ({"media": (picture(),) * 2, "first_slide": 1}, set()),
        ({"media": (picture(),) * 2, "first_slide": 2}, {"first_slide"}),
        ({"slides": [{"title": "a"}]}, {"option_without_effect"}),
        ({"first_slide": 1}, {"option_without_effect"}),
        ({"cover_time_s": 0}, {"option_without_effect"}),
        ({"media": (clip(5),)}, set()),
        ({"media": (clip(5),), "cover_time_s": 3}, set()),
        ({"media": (clip(5),), "cover_time_s": -1}, {"invalid_option"}),
        ({"media": (clip(5), picture())}, set()),
        ({"media": (picture(), clip(5))}, set()),
        ({"media": (clip(5), picture()), "cover_time_s": 3}, {"two_covers"}),
        ({"media": (clip(5), clip(5))}, {"too_many_media"}),
        ({"media": (clip(5), picture(), picture())}, {"too_many_media"}),
        ({"media": (clip(5),), "first_slide": 1}, {"option_without_effect"}),
        ({"media": (clip(5, alt="x" * 501),)}, {"alt_too_long"}),
        ({"ai_modified": True}, set()),
        ({"media": (picture(alt="x" * 500),)}, set()),
        ({"media": (picture(alt="x" * 501),)}, {"alt_too_long"}),
        ({"title": "x" * 100, "link": "http://a.example"}, set()),
        ({"title": "x" * 101}, {"invalid_option"}),
        ({"link": "ftp://a.example"}, {"invalid_option"}),
        ({"link": "https://"}, {"invalid_option"}),
        ({"link": "https://a.example/" + "x" * 2048}, {"invalid_option"}),
        ({"dominant_color": "red"}, {"invalid_option"}),
        ({"media_source": "x"}, {"unknown_option"}),
        ({"board": ""}, {"invalid_option"}),
        ({"board": 2}, set()),
        ({"board": "soups"}, set()),
        ({"board": "Cakes"}, {"unknown_board"}),
        ({"board": "999"}, {"unknown_board"}),
        ({"board_section": "11"}, set()),
        ({"board_section": "salads"}, set()),
        ({"board_section": "12"}, {"unknown_board_section"}),
        ({"board": "2", "board_section": "12"}, set()),
        ({"board": "2", "board_section": "Salads"}, {"board_sections_unknown"}),
        ({"facts": {}, "board": "999"}, set()),
        ({"facts": {}}, {"boards_unknown"}),
        ({"facts": {"boards": []}}, {"unknown_board"}),
        ({"facts": {"boards": [*BOARDS, {"id": "3", "name": "Recipes"}]}}, {"ambiguous_board"}),
        ({"facts": {"boards": [{"id": "5", "name": "1"}, {"id": "1", "name": "x"}]}, "board": "1"}, set()),
        ({"facts": {"boards": [{"id": "1", "name": "Food", "former_names": ["Recipes"]}]}}, set()),
        (
            {
                "facts": {"boards": [{"id": "1", "name": "Food", "former_names": ["x"]}, {"id": "2", "name": "X"}]},
                "board": "x",
            },
            set(),
        ),
    ],
)
def test_rules(arguments: dict[str, Any], expected: set[str]) -> None:
    assert codes(**arguments) == expected


def test_an_option_called_media_is_not_the_media() -> None:
    wrong = Draft("hi", PINTEREST_ACCOUNT, (picture(),), {"board": "1", "media": "pigeon"})
    assert [violation.field for violation in PLATFORM.validate(wrong)] == ["options.media"]


def test_a_pin_without_a_board_is_refused() -> None:
    [found] = PLATFORM.validate(Draft("hi", PINTEREST_ACCOUNT, (picture(),)))
    assert (found.field, found.code) == ("options.board", "invalid_option")


def test_an_unknown_board_is_answered_with_those_there_are() -> None:
    [found] = PLATFORM.validate(draft(board="Cakes"))
    assert "Recipes (1)" in found.message
    assert "Soups (2)" in found.message


# --- The pin ----------------------------------------------------------------------------------------------


def with_option(value: str, *, url: str | None = URL, **changes: Any) -> Draft:
    item = dataclasses.replace(picture(url=url), **changes)
    return Draft("Hot", PINTEREST_ACCOUNT, (item,), {"board": "1", "media": value})


def send(wanted: Draft, checkpoint: dict[str, Any] | None = None, answerer: Any = None) -> tuple[Any, FakeHttp]:
    http = FakeHttp(answerer or PinterestWorld())
    kept: dict[str, Any] = {} if checkpoint is None else checkpoint
    return PLATFORM.publish(PINTEREST_SUBJECT.call(http, kept, kept.update), wanted), http


def test_only_what_was_given_is_sent() -> None:
    _, http = send(Draft("", PINTEREST_ACCOUNT, (picture(url=URL),), {"board": "Soups"}))
    assert http.sent[0].json == {"board_id": "2", "media_source": {"source_type": "image_url", "url": URL}}


def test_each_word_has_its_field() -> None:
    options = {
        "board": "1",
        "board_section": "Salads",
        "title": "T",
        "link": "https://a.example",
        "dominant_color": "#00FF00",
    }
    _, http = send(Draft("D", PINTEREST_ACCOUNT, (picture(url=URL, alt="A"),), options))
    body = http.sent[0].json
    assert body.pop("media_source")["url"] == URL
    assert body == {
        "board_id": "1",
        "board_section_id": "11",
        "title": "T",
        "description": "D",
        "link": "https://a.example",
        "alt_text": "A",
        "dominant_color": "#00FF00",
    }


@pytest.mark.parametrize(
    ("wanted", "source"),
    [
        (with_option("auto"), "image_url"),
        (with_option("auto", url=None), "image_base64"),
        (with_option("url"), "image_url"),
        (with_option("bytes"), "image_base64"),
        (with_option("auto", mime="image/webp"), "image_url"),
    ],
)
def test_how_the_image_travels(wanted: Draft, source: str) -> None:
    _, http = send(wanted)
    sent = http.sent[0].json["media_source"]
    assert sent["source_type"] == source
    if source == "image_base64":
        item = wanted.media[0]
        assert item.read is not None
        assert sent["content_type"] == "image/jpeg"
        assert base64.b64decode(sent["data"]) == item.read().read()


@pytest.mark.parametrize(
    ("wanted", "kind"),
    [
        (with_option("url", url=None), NotSent),
        (with_option("auto", url=None, read=None), NotSent),
        (with_option("bytes", mime="image/webp"), Rejected),
        (draft(media=()), Rejected),
        (draft(board="Cakes"), Rejected),
    ],
)
def test_what_cannot_be_sent_is_not_sent(wanted: Draft, kind: type) -> None:
    outcome, http = send(wanted)
    assert isinstance(outcome, kind)
    assert http.sent == []


def test_an_address_that_pinterest_cannot_reach_leads_to_bytes_next_time() -> None:
    checkpoint: dict[str, Any] = {}
    unreachable = Answer(400, {"code": 1, "message": "Unable to reach the URL"})
    outcome, _ = send(with_option("auto"), checkpoint, lambda _: unreachable)
    assert isinstance(outcome, NotSent)
    assert send(with_option("auto"), checkpoint)[1].sent[0].json["media_source"]["source_type"] == "image_base64"
    # Asked for by the author: it stays the address.
    assert send(with_option("url"), checkpoint)[1].sent[0].json["media_source"]["source_type"] == "image_url"


def test_only_the_explicit_wish_needs_a_public_store() -> None:
    assert [PLATFORM.wants_url(with_option(value)) for value in ("auto", "url", "bytes")] == [
        False,
        True,
        False,
    ]


# --- Reconcile --------------------------------------------------------------------------------------------


def pin(remote_id: str, seconds: float | None = 1, **words: Any) -> dict[str, Any]:
    made = {
        "id": remote_id,
        "title": None,
        "description": "Hot soup",
        "link": None,
        "alt_text": None,
        **words,
    }
    if seconds is not None:
        made["created_at"] = (STARTED + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    return made


def look(answerer: Any, wanted: Draft | None = None, taken: tuple[str, ...] = ()) -> tuple[Any, FakeHttp]:
    http = FakeHttp(answerer if callable(answerer) else lambda _: answerer)
    doubt = Doubt(STARTED, None, frozenset(taken))
    return PLATFORM.reconcile(PINTEREST_SUBJECT.call(http), wanted or draft(), doubt), http


def page(*pins: dict[str, Any], bookmark: str | None = None) -> Answer:
    return Answer(200, {"items": list(pins), "bookmark": bookmark})


def test_a_pin_with_the_same_words_is_found() -> None:
    outcome, http = look(page(pin("9"), pin("8", -3600)))
    assert outcome == Found("9", "https://www.pinterest.com/pin/9", STARTED + timedelta(seconds=1))
    assert http.sent[0].path == "/v5/boards/1/pins"


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ({}, Found),
        ({"description": " Hot \n soup"}, Found),
        ({"title": ""}, Found),
        ({"is_owner": True}, Found),
        ({"title": "Something"}, Inconclusive),
        # Cut, filled in or rewritten by Pinterest: who would say that it is not ours?
        ({"description": "Hot"}, Inconclusive),
        ({"description": "Hot soup, recipe and pictures"}, Inconclusive),
        ({"description": None}, Inconclusive),
        ({"description": "Cold soup"}, Inconclusive),
        ({"description": "Cold soup", "link": "https://a.example/"}, Inconclusive),
        # Of another member of a group board.
        ({"is_owner": False}, Absent),
        ({"is_owner": False, "description": "Cold soup"}, Absent),
    ],
)
def test_what_counts_as_the_same(words: dict[str, Any], kind: type) -> None:
    assert isinstance(look(page(pin("9", **words)))[0], kind)


@pytest.mark.parametrize(
    ("shown", "sent", "kind"),
    [
        ("https://a.example/r", "https://a.example/r/", Found),
        ("https://a.example/r", "HTTPS://A.Example/r", Found),
        ("https://a.example", "https://A.EXAMPLE/", Found),
        ("https://a.example/r", "https://a.example/R", Inconclusive),
        ("https://a.example/r?utm_source=Pinterest", "https://a.example/r", Inconclusive),
    ],
)
def test_a_link_written_in_another_way_is_the_same(shown: str, sent: str, kind: type) -> None:
    assert isinstance(look(page(pin("9", link=shown)), draft(link=sent))[0], kind)


def test_a_pin_that_was_made_too_late_to_be_ours_is_not_like_it() -> None:
    cold = {"description": "Cold soup"}
    assert isinstance(look(page(pin("9", 120, **cold)))[0], Inconclusive)
    assert look(page(pin("9", 600, **cold)))[0] == Absent()
    # The same words are the same pin whenever it appeared.
    assert isinstance(look(page(pin("9", 600)))[0], Found)


def test_taken_and_older_pins_are_not_ours_and_the_oldest_wins() -> None:
    pins = page(pin("30", 30), pin("20", 20), pin("10", 10), pin("5", -61))
    assert look(pins)[0].remote_id == "10"
    assert look(pins, taken=("10",))[0].remote_id == "20"
    assert look(pins, taken=("10", "20", "30"))[0] == Absent()


@pytest.mark.parametrize(
    ("skew", "made", "kind"),
    [
        (0, -59, Found),
        (0, -61, Absent),
        # Our clock is two minutes ahead: the pin seems to be from before the attempt.
        (-120, -119, Found),
        (-120, -181, Absent),
        # The answer's clock is ahead, which may be a proxy's: nothing later than our own time counts as older.
        (3600, 3601, Found),
        (3600, 1, Found),
        (3600, -59, Found),
        (3600, -61, Absent),
        (3 * 86_400, 0, Inconclusive),
    ],
)
def test_pinterests_own_clock_decides_what_is_older(skew: float, made: float, kind: type) -> None:
    headers = {"Date": format_datetime(NOW + timedelta(seconds=skew), usegmt=True)}
    answer = dataclasses.replace(page(pin("9", made)), headers=headers)
    assert isinstance(look(answer)[0], kind)
    # A section and its board are two lists, and one clock.
    assert isinstance(look(answer, draft(board_section="Salads"))[0], kind)


def test_what_is_too_late_to_be_ours_is_so_by_pinterests_clock() -> None:
    headers = {"Date": format_datetime(NOW + timedelta(hours=1), usegmt=True)}
    cold = dataclasses.replace(page(pin("9", 3610, description="Cold soup")), headers=headers)
    assert isinstance(look(cold)[0], Inconclusive)


def test_a_pin_without_words_is_never_told_from_another() -> None:
    bare = draft(text="")
    assert isinstance(look(page(pin("9", description="")), bare)[0], Inconclusive)
    # Pinterest fills in words of the linked page.
    assert isinstance(look(page(pin("9", description="words")), bare)[0], Inconclusive)


def test_a_pin_without_a_time_decides_nothing() -> None:
    assert isinstance(look(page(pin("9", None)))[0], Inconclusive)


def test_reading_stops_where_a_whole_page_is_older() -> None:
    outcome, http = look(page(pin("5", -100), pin("4", -200), bookmark="more"))
    assert (outcome, len(http.sent)) == (Absent(), 1)


def test_reading_goes_on_where_the_order_is_not_by_time() -> None:
    def pages(sent: Sent) -> Answer:
        if "bookmark" not in sent.params:
            return page(pin("4", -200), pin("5", -100), bookmark="more")
        return page(pin("9"))

    outcome, http = look(pages)
    assert isinstance(outcome, Found)
    assert [sent.params.get("bookmark") for sent in http.sent] == [None, "more"]


def test_too_many_pages_decide_nothing() -> None:
    outcome, http = look(page(pin("9", description="other"), bookmark="more"))
    assert isinstance(outcome, Inconclusive)
    assert len(http.sent) == lookup.MAX_PAGES


def test_a_section_is_read_before_its_board() -> None:
    outcome, http = look(page(), draft(board_section="Salads"))
    assert outcome == Absent()
    assert [sent.path for sent in http.sent] == ["/v5/boards/1/sections/11/pins", "/v5/boards/1/pins"]


CAROUSEL = draft(media=(picture(), picture()), slides=[{"title": "One", "link": "https://a.example/1/"}])
VIDEO = draft(media=(clip(5),))
ITEMS = [{"title": "One", "description": None, "link": "https://a.example/1"}, {"title": "", "link": None}]


@pytest.mark.parametrize(
    ("wanted", "media", "kind"),
    [
        (draft(), {"media_type": "image"}, Found),
        (draft(), {}, Found),
        (draft(), {"media_type": "video"}, Absent),
        (draft(), {"media_type": "multiple_images"}, Absent),
        (VIDEO, {"media_type": "video", "duration": None}, Found),
        (VIDEO, {}, Found),
        (VIDEO, {"media_type": "image"}, Absent),
        (CAROUSEL, {"media_type": "multiple_images", "items": ITEMS}, Found),
        (CAROUSEL, {"media_type": "multiple_images"}, Found),
        (CAROUSEL, {"media_type": "multiple_images", "items": ITEMS * 2}, Absent),
        (CAROUSEL, {"media_type": "multiple_images", "items": [ITEMS[0], {"title": "Two"}]}, Inconclusive),
        (CAROUSEL, {"media_type": "multiple_images", "items": [{"link": None}, {}]}, Inconclusive),
        (CAROUSEL, {"media_type": "multiple_mixed", "items": ITEMS}, Absent),
    ],
)
def test_kinds_and_slides_are_compared_as_far_as_they_are_told(wanted: Draft, media: Any, kind: type) -> None:
    assert isinstance(look(page(pin("9", media=media)), wanted)[0], kind)


def test_slides_alone_tell_a_carousel_without_words() -> None:
    bare = dataclasses.replace(CAROUSEL, text="")
    shown = pin("9", description=None, media={"media_type": "multiple_images", "items": ITEMS})
    assert isinstance(look(page(shown), bare)[0], Found)
    # Without them it is like every other carousel.
    shown["media"] = {"media_type": "multiple_images"}
    assert isinstance(look(page(shown), bare)[0], Inconclusive)


def test_a_video_is_given_longer_to_appear() -> None:
    assert PLATFORM.publishing_call(VIDEO).read_lag_s > PLATFORM.publishing_call(draft()).read_lag_s > 0


def test_a_board_that_is_gone_decides_nothing() -> None:
    assert isinstance(look(page(), draft(board="Cakes"))[0], Inconclusive)
    assert isinstance(look(Answer(404, {"code": 40, "message": "Board not found."}))[0], Inconclusive)
