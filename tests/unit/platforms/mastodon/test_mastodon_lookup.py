"""Whether a status is ours: media, text as servers show it, warnings, polls, and how far back is read."""

from __future__ import annotations

from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from fake_http import NOW, Answer, FakeHttp, Sent
from world_mastodon import MASTODON_ACCOUNT, MASTODON_SUBJECT
from worlds import picture

from platforms.base import Absent, AccountRef, Doubt, Draft, Found, Inconclusive
from platforms.mastodon import PLATFORM
from platforms.mastodon.likeness import plain, tidy
from platforms.mastodon.lookup import MAX_PAGES, PAGE
from platforms.sandbox.mastodon_text import as_html

DOUBT = Doubt(NOW - timedelta(seconds=70), None, frozenset())


def status(number: int, content: str = "<p>hi</p>", **more: Any) -> dict[str, Any]:
    at = more.pop("at", NOW)
    return {
        "id": str(number),
        "created_at": at.isoformat(),
        "url": f"https://mastodon.example/@acme/{number}",
        "content": content,
        "spoiler_text": "",
        "media_attachments": [],
        "poll": None,
        **more,
    }


def look(draft: Draft, *statuses: dict[str, Any], checkpoint: dict[str, Any] | None = None, taken: str = "") -> Any:
    def world(sent: Sent) -> Answer:
        if sent.path.endswith("/source"):
            return Answer(404, {"error": "Record not found"})
        before = sent.params.get("max_id")
        rows = [row for row in statuses if before is None or int(row["id"]) < int(before)]
        return Answer(200, rows[: int(sent.params["limit"])])

    doubt = Doubt(DOUBT.started_at, None, frozenset([taken] if taken else []))
    return PLATFORM.reconcile(MASTODON_SUBJECT.call(FakeHttp(world), checkpoint), draft, doubt)


def draft(text: str = "hi", *media: Any, **options: Any) -> Draft:
    return Draft(text, MASTODON_ACCOUNT, media, options)


# --- Text ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "two\nlines and\n\na paragraph",
        "Tea & <cake> \"quoted\" 'so'",
        "https://example.com/a?b=1&c=2",
        "https://www.example.com/a/very/long/path/that/is/cut/when/it/is/shown#here",
        "@bob@other.example and @eve",
        "#tea, #Cake!",
        "👩‍👩‍👧 日本",
        "  spaces   in  it ",
        "a_b *c* [d](e)",
    ],
)
def test_text_is_the_same_as_sent_and_as_shown(text: str) -> None:
    shown = as_html(text, "https://mastodon.example")
    assert tidy(plain(shown)) == tidy(text)
    assert isinstance(look(draft(text), status(1, shown)), Found)


def test_markup_of_other_servers_is_left_to_a_person() -> None:
    # Some make Markdown of it: the same words, but nobody can tell whether the same text.
    found = look(draft("so *very* good"), status(1, "<p>so <em>very</em> good</p>"))
    assert isinstance(found, Inconclusive)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, Found),
        ({"content": "<p>hi!!</p>"}, Inconclusive),
        ({"content": "<p>ho</p>"}, Absent),
        ({"spoiler_text": "careful"}, Inconclusive),
        ({"media_attachments": [{"id": "9"}]}, Absent),
        ({"poll": {"options": [{"title": "a"}]}}, Absent),
        ({"in_reply_to_id": "7"}, Absent),
        ({"reblog": {"id": "7"}}, Absent),
        ({"at": NOW - timedelta(minutes=5)}, Absent),
        ({"created_at": "?"}, Inconclusive),
    ],
)
def test_likeness(changes: dict[str, Any], kind: type) -> None:
    assert isinstance(look(draft(), status(1, **changes)), kind)


def test_a_warning_has_to_be_the_same() -> None:
    warned = draft("hi", spoiler_text="careful")
    assert isinstance(look(warned, status(1, spoiler_text="careful")), Found)
    assert isinstance(look(warned, status(1)), Inconclusive)


def test_polls_are_compared_by_their_choices() -> None:
    asked = draft("hi", poll={"options": ["a", "b"], "expires_in": 300})
    assert isinstance(look(asked, status(1, poll={"options": [{"title": "a"}, {"title": "b"}]})), Found)
    assert isinstance(look(asked, status(1, poll={"options": [{"title": "a"}, {"title": "c"}]})), Absent)
    assert isinstance(look(asked, status(1)), Absent)


def test_media_decide() -> None:
    checkpoint = {"media": [{"id": "9", "sha256": "a" * 64, "state": "ready"}]}
    shown = {"media_attachments": [{"id": "9"}], "content": "<p>edited since</p>"}
    assert isinstance(look(draft("hi", picture()), status(1, **shown), checkpoint=checkpoint), Found)
    other = {"media_attachments": [{"id": "8"}]}
    assert isinstance(look(draft("hi", picture()), status(1, **other), checkpoint=checkpoint), Absent)
    assert isinstance(look(draft("hi", picture()), status(1, **other)), Found)  # ids unknown: text and kind decide


# --- Reading ------------------------------------------------------------------------------------------------


def test_the_oldest_of_two_is_taken_and_taken_ones_are_not() -> None:
    two = (status(2), status(1, at=NOW - timedelta(seconds=5)))
    assert look(draft(), *two).remote_id == "1"
    assert look(draft(), *two, taken="1").remote_id == "2"
    assert isinstance(look(draft(), status(1), taken="1"), Absent)


def test_reading_stops_where_it_is_old_enough() -> None:
    asked: list[Sent] = []
    rows = [status(1000 - index, "<p>x</p>", at=NOW - timedelta(seconds=index)) for index in range(500)]

    def world(sent: Sent) -> Answer:
        asked.append(sent)
        before = int(sent.params.get("max_id", "9999"))
        return Answer(200, [row for row in rows if int(row["id"]) < before][:PAGE])

    found = PLATFORM.reconcile(MASTODON_SUBJECT.call(FakeHttp(world)), draft(), DOUBT)
    assert isinstance(found, Absent)
    assert len(asked) == 4  # 130 seconds of one status a second
    assert asked[0].params == {"limit": "40", "exclude_reblogs": "true"}
    assert asked[1].params["max_id"] == "961"


def test_too_many_to_read_is_no_absence() -> None:
    rows = [status(10_000 - index, "<p>x</p>") for index in range(MAX_PAGES * PAGE + 1)]
    assert isinstance(look(draft(), *rows), Inconclusive)


@pytest.mark.parametrize(
    ("skew", "made", "kind"),
    [
        (0, -59, Found),
        (0, -61, Absent),
        # Our clock is two minutes ahead: the status seems to be from before the attempt.
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
def test_the_servers_own_clock_decides_what_is_older(skew: float, made: float, kind: type) -> None:
    row = status(1, at=DOUBT.started_at + timedelta(seconds=made))
    headers = {"Date": format_datetime(NOW + timedelta(seconds=skew), usegmt=True)}
    http = FakeHttp(lambda sent: Answer(200, [] if "max_id" in sent.params else [row], headers))
    assert isinstance(PLATFORM.reconcile(MASTODON_SUBJECT.call(http), draft(), DOUBT), kind)


def test_a_short_page_is_not_the_end() -> None:
    pages = [[status(9, "<p>x</p>")], [status(5)], []]
    http = FakeHttp(lambda _: Answer(200, pages.pop(0)))
    assert isinstance(PLATFORM.reconcile(MASTODON_SUBJECT.call(http), draft(), DOUBT), Found)
    assert pages == []


def test_without_an_id_the_account_is_asked_for() -> None:
    def world(sent: Sent) -> Answer:
        if sent.path.endswith("verify_credentials"):
            return Answer(200, {"id": "42"})
        assert sent.path == "/api/v1/accounts/42/statuses"
        return Answer(200, [])

    call = MASTODON_SUBJECT.call(FakeHttp(world))
    call.account = AccountRef("mastodon", "acme")
    assert isinstance(PLATFORM.reconcile(call, draft(), DOUBT), Absent)
