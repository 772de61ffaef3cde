"""Containers: what is made of a draft, how they are waited for, when others are made; and the one publishing call."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from email.utils import format_datetime

import pytest
from fake_http import NOW, Answer, Sent
from instagram_desk import Desk, forms, publishing
from world_instagram import (
    FACEBOOK_SUBJECT,
    INSTAGRAM_SUBJECT,
    USER,
    clip,
    draft_of,
    image,
    no,
    page_draft,
)

from platforms.base import (
    Absent,
    AuthExpired,
    Draft,
    Found,
    Inconclusive,
    NotSent,
    Processing,
    Published,
    RateLimited,
    Ready,
    Rejected,
    Repeatable,
    Unknown,
)
from platforms.errors import TransportError

# --- Preparing --------------------------------------------------------------------------------------------


def test_the_limit_is_read_before_anything_is_made() -> None:
    desk = Desk(draft_of("hi", image()))
    desk.world.used = 50
    outcome = desk.prepare()
    assert isinstance(outcome, RateLimited)
    assert outcome.until == NOW + timedelta(hours=1)
    assert [sent.path for sent in desk.http.sent] == [f"/v26.0/{USER}/content_publishing_limit"]


def test_an_image_with_all_its_words() -> None:
    desk = Desk(INSTAGRAM_SUBJECT.drafts["image"])
    assert desk.prepare() == Ready(NOW + timedelta(hours=23, minutes=50))
    [form] = forms(desk)
    assert form == {
        "image_url": "https://media.example/i.jpg", "caption": "Soup #lunch", "alt_text": "a bowl",
        "location_id": "110", "collaborators": '["friend"]',
        "user_tags": json.dumps([{"username": "cook", "x": 0.5, "y": 0.2}]),
    }  # fmt: skip
    assert all(sent.params["access_token"] == "IGA.old" for sent in desk.http.sent)
    assert {sent.url.split("/")[2] for sent in desk.http.sent} == {"graph.instagram.com"}


def test_a_carousel_is_made_of_finished_children() -> None:
    desk = Desk(INSTAGRAM_SUBJECT.drafts["carousel"])
    waits = desk.prepare()
    assert waits == Processing(5.0)
    assert [form.get("media_type") for form in forms(desk)] == [None, "VIDEO", None]
    assert all(form["is_carousel_item"] == "true" and "caption" not in form for form in forms(desk))
    assert "user_tags" in forms(desk)[2]
    assert desk.prepare() == Ready(NOW + timedelta(hours=23, minutes=50))
    [parent] = forms(desk)
    assert parent["media_type"] == "CAROUSEL"
    assert parent["children"] == ",".join(list(desk.world.containers)[:3])
    assert isinstance(desk.publish(), Processing)
    assert len(desk.world.media) == 1


def test_reel_and_story() -> None:
    reel = Desk(INSTAGRAM_SUBJECT.drafts["reel"])
    reel.prepare()
    assert forms(reel) == [
        {
            "video_url": "https://media.example/c.mp4", "media_type": "REELS", "caption": "It moves",
            "share_to_feed": "false", "thumb_offset": "900", "audio_name": "Mine",
            "trial_params": '{"graduation_strategy": "MANUAL"}',
        }
    ]  # fmt: skip
    story = Desk(INSTAGRAM_SUBJECT.drafts["story"])
    story.prepare()
    assert forms(story) == [{"image_url": "https://media.example/i.jpg", "media_type": "STORIES"}]
    cover = Desk(draft_of("x", clip(), cover_url="https://media.example/k.jpg", thumb_offset_ms=1))
    cover.prepare()
    assert "thumb_offset" not in forms(cover)[0]


def test_bytes_go_up_where_facebook_login_allows_it() -> None:
    desk = Desk(FACEBOOK_SUBJECT.drafts["page-upload"])
    assert isinstance(desk.prepare(), Processing)
    [made, sent] = [sent for sent in desk.http.sent if sent.method == "POST"]
    assert made.form["upload_type"] == "resumable"
    assert made.url.startswith("https://graph.facebook.com/v26.0/")
    assert sent.url.startswith("https://rupload.facebook.com/ig-api-upload/v26.0/")
    assert sent.headers["Authorization"] == "OAuth EAAG"
    assert "access_token" not in sent.params
    assert list(desk.world.uploaded.values()) == [bytes(5000)]
    by_url = Desk(page_draft("x", clip()))
    by_url.prepare()
    assert "video_url" in forms(by_url)[0]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(400, {"debug_info": {"retriable": False, "type": "ProcessingFailedError", "message": "m"}}), Rejected),
        (Answer(200, {"debug_info": {"retriable": True, "message": "m"}}), NotSent),
        (Answer(503, b""), NotSent),
        (no(190), AuthExpired),
    ],
)
def test_troubles_of_an_upload(answer: Answer, kind: type) -> None:
    desk = Desk(FACEBOOK_SUBJECT.drafts["page-upload"])
    outcome = desk.prepare(lambda sent: answer if "rupload" in sent.url else desk.world(sent))
    assert isinstance(outcome, kind)
    assert len(desk.world.containers) == 1


def test_without_an_address_nothing_is_made() -> None:
    desk = Desk(draft_of("x", image(url=None)))
    assert isinstance(desk.prepare(), NotSent)
    assert desk.world.containers == {}


def test_looks_get_rarer_with_age() -> None:
    desk = Desk(draft_of("x", clip()))
    desk.prepare()
    desk.one()["status"] = "IN_PROGRESS"
    waits = []
    for seconds in (10, 60, 300):
        desk.late = timedelta(seconds=seconds)
        waits.append(desk.prepare().poll_after_s)
    assert waits == [5.0, 20.0, 60.0]


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("Error: Media upload has failed with error code 2207026", Rejected),
        ("Error: Media upload has failed with error code 2207052", Rejected),
        ("Error: Media upload has failed with error code 2207053", NotSent),
        ("Error: something", NotSent),
    ],
)
def test_a_container_that_failed(words: str, kind: type) -> None:
    desk = Desk(draft_of("x", clip()))
    desk.prepare()
    desk.one().update(status="ERROR", words=words)
    assert isinstance(desk.prepare(), kind)
    assert desk.checkpoint["items"] == [] or kind is Rejected


def test_others_are_made_a_few_times_only() -> None:
    desk = Desk(draft_of("x", image()))
    failing = lambda sent: (  # noqa: E731 - one answer, given as a value
        Answer(200, {"status_code": "ERROR", "status": "Error"}) if sent.params.get("fields") == "status_code,status"
        else desk.world(sent)
    )  # fmt: skip
    kinds = [type(desk.prepare(failing)) for _ in range(4)]
    assert kinds == [NotSent, NotSent, NotSent, Rejected]


def test_containers_that_ran_out_or_belong_to_another_file_are_made_anew() -> None:
    desk = Desk(draft_of("x", image()))
    desk.ready()
    desk.late = timedelta(hours=23, minutes=51)
    desk.ready()
    assert len(desk.world.containers) == 2
    desk.draft = draft_of("x", image("z"))
    desk.ready()
    assert len(desk.world.containers) == 3


# --- Publishing -------------------------------------------------------------------------------------------


def test_published_with_its_page() -> None:
    desk = Desk(draft_of("hi", image()))
    desk.ready()
    assert isinstance(desk.publish(), Processing)
    assert [(sent.path, dict(sent.form)) for sent in desk.http.sent] == [
        (f"/v26.0/{USER}/media_publish", {"creation_id": next(iter(desk.world.containers))})
    ]
    media_id = desk.world.published()[0]
    assert desk.poll() == Published(media_id, f"https://www.instagram.com/p/{media_id}/")


def test_a_post_that_is_out_does_not_wait_for_its_page_for_ever() -> None:
    desk = Desk(draft_of("hi", image()))
    desk.ready()
    desk.publish()
    for _ in range(3):
        with pytest.raises(TransportError):
            desk.poll(lambda _sent: TransportError("away", sent=True))
    assert desk.poll() == Published(desk.world.published()[0])
    assert desk.http.sent == []


def test_a_container_that_ran_out_unpublished_is_made_anew_at_the_last_step() -> None:
    desk = Desk(draft_of("hi", clip()))
    desk.ready()
    assert isinstance(desk.publish(publishing(desk, no(-2, 2207020))), NotSent)
    # The next try finds none, makes another, and Instagram works on it: to be polled, then sent.
    assert desk.publish() == Processing(5.0)
    assert desk.http.publishing == []
    assert isinstance(desk.poll(), Ready)
    assert isinstance(desk.publish(), Processing)
    assert len(desk.world.media) == 1


@pytest.mark.parametrize("refusal", [no(24, 2207006), no(24, 2207008), no(-2, 2207020)])
def test_a_container_in_doubt_is_never_given_up_while_it_may_have_been_published(refusal: Answer) -> None:
    desk = Desk(draft_of("hi", image()))
    desk.ready()
    with pytest.raises(TransportError):
        desk.publish(publishing(desk, TransportError("lost", sent=True)))
    first = desk.checkpoint["tried"]["id"]
    assert isinstance(desk.publish(publishing(desk, refusal)), NotSent)
    tried = desk.checkpoint["tried"]
    assert (tried["id"], tried["count"], tried["refused"]) == (first, 2, 1)
    assert list(desk.world.containers) == [first]


def test_the_status_is_read_before_a_second_sending() -> None:
    desk = Desk(draft_of("hi", image()))
    desk.ready()
    with pytest.raises(TransportError):
        desk.publish(publishing(desk, TransportError("lost", sent=True), arrives=True))
    outcome = desk.publish()
    assert isinstance(outcome, Unknown)
    assert desk.http.publishing == []
    assert len(desk.world.media) == 1


def test_one_that_expired_in_doubt_was_never_published_and_is_made_anew() -> None:
    desk = Desk(draft_of("hi", image()))
    desk.ready()
    with pytest.raises(TransportError):
        desk.publish(publishing(desk, TransportError("lost", sent=True)))
    desk.one()["status"] = "EXPIRED"
    assert isinstance(desk.publish(), Processing)
    assert len(desk.world.containers) == 2


def test_the_same_container_again_comes_after_a_pause() -> None:
    desk = Desk(draft_of("hi", image()))
    desk.ready()
    for _ in range(2):
        assert isinstance(desk.publish(publishing(desk, no(2))), Unknown)
    assert desk.publish().code == "resend_pause"
    desk.late = timedelta(seconds=31)
    assert isinstance(desk.publish(), Processing)


def test_after_the_days_limit_it_is_read_before_the_next_try() -> None:
    desk = Desk(draft_of("hi", image()))
    desk.ready()
    assert isinstance(desk.publish(publishing(desk, no(9, 2207042))), RateLimited)
    desk.world.used = 50
    assert isinstance(desk.publish(), RateLimited)
    assert desk.http.publishing == []
    desk.world.used = 49
    assert isinstance(desk.publish(), Processing)


# --- Reconcile --------------------------------------------------------------------------------------------


def doubtful(draft: Draft, *, arrives: bool) -> Desk:
    desk = Desk(draft)
    desk.ready()
    with pytest.raises(TransportError):
        desk.publish(publishing(desk, TransportError("lost", sent=True), arrives=arrives))
    return desk


def test_the_container_decides() -> None:
    assert doubtful(draft_of("hi", image()), arrives=False).look() == Repeatable()
    desk = doubtful(draft_of("hi", image()), arrives=True)
    assert desk.look().remote_id == desk.world.published()[0]
    for status, kind in (("EXPIRED", Absent), ("ERROR", Absent), ("IN_PROGRESS", Inconclusive)):
        desk.one()["status"] = status
        assert isinstance(desk.look(), kind)
    desk.checkpoint["media_id"] = "9"
    assert desk.look() == Found("9", "https://www.instagram.com/p/9/")
    assert Desk(draft_of("hi", image())).look() == Absent()


def test_stories_are_looked_for_among_stories() -> None:
    desk = doubtful(draft_of("", image(), placement="story"), arrives=True)
    assert desk.look().remote_id == desk.world.published()[0]
    assert desk.http.sent[-1].path.endswith("/stories")


def test_the_id_is_found_by_caption_type_and_time() -> None:
    desk = doubtful(draft_of("hi", image()), arrives=True)
    mine = desk.world.media[0]
    others = [
        {**mine, "id": "1", "caption": "other"},
        {**mine, "id": "2", "media_product_type": "REELS"},
        {**mine, "id": "3", "timestamp": "2026-11-22T09:00:00+0000"},
        {**mine, "id": "4"},
    ]
    desk.world.media = [*others, mine]
    assert desk.look(None, "4").remote_id == mine["id"]


@pytest.mark.parametrize(
    ("skew", "made", "found"),
    [
        (0, -61, False),
        (-120, -119, True),
        (-120, -181, False),
        (3600, 3601, True),
        (3600, 1, True),
        (3600, -61, False),
    ],
)
@pytest.mark.parametrize("placement", ["feed", "story"])
def test_instagrams_own_clock_decides_which_post_is_older(
    placement: str, skew: float, made: float, found: bool
) -> None:
    desk = doubtful(draft_of("hi" if placement == "feed" else "", image(), placement=placement), arrives=True)
    started = NOW - timedelta(seconds=70)
    posted = started + timedelta(seconds=made)
    desk.world.media[0]["timestamp"] = posted.strftime("%Y-%m-%dT%H:%M:%S+0000")

    def clocked(sent: Sent) -> Answer:
        answer = desk.world(sent)
        if posted.timestamp() < int(sent.params.get("since", 0)):
            answer = Answer(200, {"data": []})  # Instagram leaves out what is older
        return dataclasses.replace(
            answer, headers={"Date": format_datetime(NOW + timedelta(seconds=skew), usegmt=True)}
        )

    outcome = desk.look(clocked)
    assert isinstance(outcome, Found if found else Inconclusive), outcome
    # Asked once more only where something that now counts was left out.
    lists = [sent for sent in desk.http.sent if sent.path.endswith(("/media", "/stories"))]
    assert len(lists) == (2 if skew < 0 and placement == "feed" else 1)


def test_a_clock_of_instagrams_that_cannot_be_compared_proves_nothing() -> None:
    desk = doubtful(draft_of("hi", image()), arrives=True)
    date = {"Date": format_datetime(NOW + timedelta(days=3), usegmt=True)}
    assert isinstance(desk.look(lambda sent: dataclasses.replace(desk.world(sent), headers=date)), Inconclusive)


def test_missing_captions_leave_time_and_type() -> None:
    desk = doubtful(draft_of("hi", image()), arrives=True)
    del desk.world.media[0]["caption"]
    assert desk.look().remote_id == desk.world.media[0]["id"]
    desk.world.media.append({**desk.world.media[0], "id": "7"})
    assert isinstance(desk.look(), Inconclusive)


def test_published_for_certain_ends_as_found_even_without_an_id() -> None:
    desk = doubtful(draft_of("hi", image()), arrives=True)
    desk.world.media = []
    assert isinstance(desk.look(), Inconclusive)
    desk.late = timedelta(minutes=10)
    found = desk.look()
    assert isinstance(found, Found)
    assert found.remote_id is None


def test_a_container_that_cannot_be_read_decides_nothing() -> None:
    desk = doubtful(draft_of("hi", image()), arrives=True)
    assert isinstance(desk.look(lambda _sent: no(100, 33)), Inconclusive)
    assert isinstance(desk.look(lambda _sent: no(190)), AuthExpired)
    assert isinstance(desk.publish(lambda _sent: no(100, 33)), Unknown)


def test_the_account_is_found_where_nobody_said_who_it_is() -> None:
    desk = Desk(dataclasses.replace(draft_of("hi", image())))
    desk.subject = dataclasses.replace(
        INSTAGRAM_SUBJECT, account=dataclasses.replace(INSTAGRAM_SUBJECT.account, remote_id="")
    )
    desk.ready()
    assert desk.checkpoint["ig_user"] == USER
    assert isinstance(desk.publish(), Processing)
