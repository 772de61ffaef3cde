"""Finding a doubtful post on X again: which posts count as ours, and when "not there" may be believed."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from fake_http import NOW, Answer, FakeHttp, Sent
from worlds import X_ACCOUNT, X_SUBJECT, picture

from platforms.base import Absent, AccountRef, Doubt, Draft, Found, Inconclusive, ReplyTo
from platforms.x import PLATFORM, lookup

STARTED = NOW - timedelta(minutes=2)
TEXT = "Tea & cake <3 at example.com/Menu/ today"


def post(remote_id: str, text: str = "", *, urls: Any = None, keys: Any = None, seconds: float = 1.0) -> dict[str, Any]:
    created = (STARTED + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    result: dict[str, Any] = {"id": remote_id, "text": text, "created_at": created}
    if urls:
        result["entities"] = {"urls": [{"url": short, "expanded_url": long} for short, long in urls]}
    if keys:
        result["attachments"] = {"media_keys": keys}
    return result


def feed(*posts: dict[str, Any], **meta: Any) -> Answer:
    return Answer(200, {"data": list(posts), "meta": {"result_count": len(posts), **meta}})


def look(draft: Draft, answerer: Any, *, checkpoint: Any = None, taken: tuple[str, ...] = ()) -> tuple[Any, FakeHttp]:
    http = FakeHttp(answerer if callable(answerer) else lambda _: answerer)
    doubt = Doubt(STARTED, None, frozenset(taken))
    return PLATFORM.reconcile(X_SUBJECT.call(http, checkpoint), draft, doubt), http


def text_draft(text: str = TEXT) -> Draft:
    return Draft(text, X_ACCOUNT)


OURS = post(
    "10",
    "Tea &amp; cake &lt;3 at https://t.co/abc today",
    urls=[("https://t.co/abc", "http://example.com/Menu")],
)


def test_a_text_is_found_behind_escapes_and_short_links() -> None:
    outcome, http = look(text_draft(), feed(OURS))
    assert isinstance(outcome, Found)
    assert outcome.remote_id == "10"
    assert outcome.url == "https://x.com/acme/status/10"
    assert outcome.published_at == STARTED + timedelta(seconds=1)
    params = http.sent[0].params
    assert http.sent[0].path == "/2/users/42/tweets"
    assert params["start_time"] == "2026-11-22T10:12:00Z"
    assert params["exclude"] == "retweets"
    assert "entities" in params["tweet.fields"]


@pytest.mark.parametrize(
    ("draft_text", "shown", "urls"),
    [
        ("plain", "plain", None),
        ("two\n\n lines ", "two\n\nlines", None),
        ("caf\u0065\u0301", "caf\u00e9", None),
        ("&copy is text", "&amp;copy is text", None),
        ("HTTPS://Example.com", "https://t.co/a", [("https://t.co/a", "https://example.com/")]),
    ],
)
def test_the_same_text_in_other_writing(draft_text: str, shown: str, urls: Any) -> None:
    outcome, _ = look(text_draft(draft_text), feed(post("1", shown, urls=urls)))
    assert isinstance(outcome, Found)


@pytest.mark.parametrize("other", ["Tea", "tea & cakes", f"{TEXT} more"])
def test_another_text_is_not_ours(other: str) -> None:
    assert look(text_draft("Tea & cake"), feed(post("1", other)))[0] == Absent()


def test_the_same_words_around_another_link_stay_open() -> None:
    other = post("1", "Read https://t.co/a", urls=[("https://t.co/a", "https://b.example.com/")])
    unexpanded = post("1", "Read https://t.co/a")
    for shown in (other, unexpanded):
        assert isinstance(look(text_draft("Read https://example.com/1"), feed(shown))[0], Inconclusive)


def test_the_oldest_match_is_taken_and_taken_ones_are_not() -> None:
    twins = [post("12", "hi", seconds=9), post("9", "hi", seconds=1), post("100", "hi", seconds=20)]
    assert look(text_draft("hi"), feed(*twins))[0].remote_id == "9"
    assert look(text_draft("hi"), feed(*twins), taken=("9", "100"))[0].remote_id == "12"
    assert look(text_draft("hi"), feed(*twins), taken=("9", "12", "100"))[0] == Absent()


def test_what_is_older_than_the_attempt_is_not_ours() -> None:
    assert look(text_draft("hi"), feed(post("1", "hi", seconds=-61)))[0] == Absent()
    assert isinstance(look(text_draft("hi"), feed(post("1", "hi", seconds=-59)))[0], Found)


def server_clock(seconds: float) -> dict[str, str]:
    return {"Date": format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)}


@pytest.mark.parametrize(
    ("skew", "made", "kind"),
    [
        (0, -59, Found),
        (0, -61, Absent),
        # Our clock is two minutes ahead: the post seems to be from before the attempt.
        (-120, -119, Found),
        (-120, -179, Found),
        (-120, -181, Absent),
        # The answer's clock is ahead, which may be a proxy's: nothing later than our own time counts as older.
        (3600, 3601, Found),
        (3600, 1, Found),
        (3600, -59, Found),
        (3600, -61, Absent),
    ],
)
def test_the_platforms_own_clock_decides_what_is_older(skew: float, made: float, kind: type) -> None:
    answer = feed(post("1", "hi", seconds=made))
    outcome, http = look(text_draft("hi"), dataclasses.replace(answer, headers=server_clock(skew)))
    assert isinstance(outcome, kind), outcome
    # X is asked once more only where it left out what now counts.
    assert len(http.sent) == (2 if skew < 0 else 1)


def test_a_start_that_is_still_to_come_for_x_is_asked_for_by_its_clock() -> None:
    def answer(sent: Sent) -> Answer:
        if sent.params["start_time"] > "2026-11-22T10:05":
            return Answer(400, {"detail": "start_time must be in the past"}, server_clock(-600))
        return dataclasses.replace(feed(post("1", "hi", seconds=-599)), headers=server_clock(-600))

    outcome, http = look(text_draft("hi"), answer)
    assert isinstance(outcome, Found)
    assert [sent.params["start_time"] for sent in http.sent] == ["2026-11-22T10:12:00Z", "2026-11-22T10:02:00Z"]


def test_a_clock_that_cannot_be_compared_proves_nothing() -> None:
    for days in (-3, 3):
        answer = dataclasses.replace(feed(), headers=server_clock(days * 86_400))
        assert isinstance(look(text_draft("hi"), answer)[0], Inconclusive)


MEDIA = Draft("hi", X_ACCOUNT, (picture(),))
KNOWN = {"media": [{"id": "55", "media_key": "3_55", "sha256": "a" * 64, "state": "ready"}]}


@pytest.mark.parametrize(
    ("shown", "kind"),
    [
        (post("1", "other words", keys=["3_55"]), Found),
        (post("1", "hi", keys=["3_56"]), Absent),
        (post("1", "hi"), Inconclusive),  # our words without our picture
        (post("1", "other"), Absent),
    ],
)
def test_media_keys_decide(shown: dict[str, Any], kind: type) -> None:
    assert isinstance(look(MEDIA, feed(shown), checkpoint=KNOWN)[0], kind)


def test_the_media_id_is_enough_where_x_gave_no_key() -> None:
    known = {"media": [{"id": "55", "media_key": None, "sha256": "a" * 64}]}
    assert isinstance(look(MEDIA, feed(post("1", keys=["13_55"])), checkpoint=known)[0], Found)


def test_without_ids_of_ours_the_text_and_the_number_of_media_count() -> None:
    link = [("https://t.co/m", "https://x.com/acme/status/1/photo/1")]
    assert isinstance(look(MEDIA, feed(post("1", "hi https://t.co/m", urls=link, keys=["3_1"])))[0], Found)


def test_a_text_alone_is_never_a_post_with_media() -> None:
    assert look(text_draft("hi"), feed(post("1", "hi", keys=["3_1"])))[0] == Absent()


def test_all_pages_are_read() -> None:
    def paged(sent: Sent) -> Answer:
        if "pagination_token" not in sent.params:
            return feed(post("30", "x"), next_token="two")
        return feed(post("20", "hi"))

    outcome, http = look(text_draft("hi"), paged)
    assert outcome.remote_id == "20"
    assert [sent.params.get("pagination_token") for sent in http.sent] == [None, "two"]


def test_too_many_pages_decide_nothing() -> None:
    outcome, http = look(text_draft("hi"), feed(post("1", "x"), next_token="more"))
    assert isinstance(outcome, Inconclusive)
    assert len(http.sent) == lookup.MAX_PAGES


def test_an_empty_feed_is_an_answer_and_an_empty_body_is_none() -> None:
    assert look(text_draft(), Answer(200, {"meta": {"result_count": 0}}))[0] == Absent()
    for nothing in ({}, [], None, b"", {"errors": [{"message": "over capacity"}]}):
        assert isinstance(look(text_draft(), Answer(200, nothing))[0], Inconclusive)


def test_the_other_name_of_the_fields_is_tried() -> None:
    def strict(sent: Sent) -> Answer:
        if "tweet.fields" in sent.params:
            return Answer(400, {"detail": "The query parameter [tweet.fields] is not one of [post.fields]"})
        assert sent.params["post.fields"] == lookup.FIELDS_BY_THE_DOCUMENT
        return feed(OURS)

    assert isinstance(look(text_draft(), strict)[0], Found)


def test_an_account_without_an_id_is_asked_for_it() -> None:
    def answer(sent: Sent) -> Answer:
        return Answer(200, {"data": {"id": "7"}}) if sent.path.endswith("/me") else feed()

    draft = Draft("hi", AccountRef("x", "acme"))
    http = FakeHttp(answer)
    call = X_SUBJECT.call(http)
    call.account = draft.account
    assert PLATFORM.reconcile(call, draft, Doubt(STARTED, None, frozenset())) == Absent()
    assert [sent.path for sent in http.sent] == ["/2/users/me", "/2/users/7/tweets"]


def test_a_permalink_works_without_a_handle() -> None:
    assert lookup.permalink("", "5") == "https://x.com/i/status/5"


# --- Parts of a thread --------------------------------------------------------------------------------------


def replied(to: str) -> list[dict[str, str]]:
    return [{"type": "replied_to", "id": to}]


@pytest.mark.parametrize(
    ("answers", "told", "kind"),
    [
        ("5", {"referenced_tweets": replied("5")}, Found),
        ("5", {"referenced_posts": replied("5")}, Found),
        ("5", {"referenced_tweets": replied("6")}, Absent),
        ("5", {"referenced_posts": replied("6")}, Absent),
        # X did not say what it answers: not enough to take it, too much to send it once more.
        ("5", {}, Inconclusive),
        ("", {}, Found),
        ("", {"referenced_tweets": replied("5")}, Absent),
        ("", {"referenced_tweets": [{"type": "quoted", "id": "5"}]}, Found),
    ],
)
def test_a_part_of_a_thread_is_known_by_what_it_answers(answers: str, told: dict[str, Any], kind: type) -> None:
    draft = text_draft("the second part")
    if answers:
        draft = dataclasses.replace(draft, part=1, parts=2, reply_to=ReplyTo(answers, "5"))
    outcome, _ = look(draft, feed({**post("10", "the second part"), **told}))
    assert isinstance(outcome, kind), outcome
