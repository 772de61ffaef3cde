"""What TikTok says of a post, and what follows from it; and looking for one whose id was lost."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from fake_http import NOW, Answer, FakeHttp, Sent
from world_tiktok import PULLS, TIKTOK_ACCOUNT, TikTokWorld, draft_of, no, ok, photo, told, video

from platforms.base import (
    Absent,
    AuthExpired,
    Doubt,
    Draft,
    Found,
    Inconclusive,
    NotPublished,
    NotSent,
    Processing,
    Published,
    RateLimited,
    Ready,
    ReconcileKind,
    Rejected,
)
from platforms.tiktok import PLATFORM
from platforms.tiktok.api import CAP_WAIT

MADE_NONE = "TikTok could not make the post: {}."
DOUBT = Doubt(NOW - timedelta(seconds=70), None, frozenset())
PHOTOS = draft_of("Soup and bread, twice", photo(), photo("q"))


def status_is(**data: Any) -> Any:
    """A TikTok that answers every question for a status so."""
    return lambda sent: ok(data) if "/status/fetch" in sent.path else TikTokWorld()(sent)


def visit(what: str, answerer: Any, checkpoint: dict[str, Any], draft: Draft = PHOTOS, late_s: float = 0) -> Any:
    http = FakeHttp(answerer)
    call = PULLS.call(http, checkpoint, checkpoint.update)
    call.now = lambda: NOW + timedelta(seconds=late_s)
    if what == "reconcile":
        return PLATFORM.reconcile(call, draft, DOUBT)
    return getattr(PLATFORM, what)(call, draft)


@pytest.mark.parametrize("reason", ["file_format_check_failed", "spam_risk", "publish_cancelled", "new"])
def test_a_failure_for_good(reason: str) -> None:
    outcome = visit("poll", status_is(status="FAILED", fail_reason=reason), {"job": {"publish_id": "p"}})
    assert isinstance(outcome, Rejected)
    assert outcome.code == reason


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        ("spam_risk_too_many_posts", RateLimited(NOW + CAP_WAIT, MADE_NONE.format("spam_risk_too_many_posts"))),
        (
            "auth_removed",
            AuthExpired(
                "auth_removed", MADE_NONE.format("auth_removed") + " Connect the account again.", permanent=True
            ),
        ),
    ],
)
def test_a_failure_that_time_or_a_person_mends(reason: str, outcome: Any) -> None:
    # Get Post Status, 2026-08: the creator took the access back; the day's posts are used up.
    failed = status_is(status="FAILED", fail_reason=reason)
    checkpoint: dict[str, Any] = {"job": {"publish_id": "p"}}
    assert visit("poll", failed, checkpoint) == NotPublished(outcome)
    # The next try begins another post; the one that failed never appears.
    assert checkpoint["job"] == {}
    checkpoint["job"] = {"publish_id": "p"}
    assert visit("publish", failed, checkpoint) == outcome
    assert checkpoint["job"] == {}


def test_what_is_refused_while_a_failed_post_is_begun_anew_speaks_of_the_post() -> None:
    world = TikTokWorld()
    capped = no(200, "spam_risk_too_many_posts")
    outcome = visit("poll", lambda sent: capped if "creator_info" in sent.path else world(sent), {"job": {}})
    assert isinstance(outcome, NotPublished)
    assert isinstance(outcome.why, RateLimited)


@pytest.mark.parametrize("reason", ["internal", "photo_pull_failed", "video_pull_failed"])
def test_a_passing_failure_is_begun_anew_a_few_times(reason: str) -> None:
    checkpoint: dict[str, Any] = {}
    failing = status_is(status="FAILED", fail_reason=reason)
    for _ in range(2):
        checkpoint["job"] = {"publish_id": "p"}
        assert isinstance(visit("poll", failing, checkpoint), Processing)
        assert checkpoint["job"] == {}
        # The next look finds nothing begun: the last step is to be sent again.
        assert visit("poll", failing, checkpoint) == Ready()
    checkpoint["job"] = {"publish_id": "p"}
    assert isinstance(visit("poll", failing, checkpoint), Rejected)


@pytest.mark.parametrize("status", ["PROCESSING_DOWNLOAD", "SEND_TO_USER_INBOX", "SOMETHING_NEW"])
def test_neither_done_nor_failed(status: str) -> None:
    checkpoint = {"job": {"publish_id": "p"}}
    assert isinstance(visit("poll", status_is(status=status), checkpoint), Processing)
    assert isinstance(visit("reconcile", status_is(status=status), checkpoint), Inconclusive | Processing)


@pytest.mark.parametrize("ids", [[7566123456789012345], ["7566123456789012345"], 7566123456789012345])
def test_ids_keep_all_their_digits(ids: Any) -> None:
    done = status_is(status="PUBLISH_COMPLETE", publicaly_available_post_id=ids)
    outcome = visit("poll", done, {"job": {"publish_id": "p"}})
    assert outcome == Published("7566123456789012345", "https://www.tiktok.com/@acme/photo/7566123456789012345")


def test_a_public_post_waits_a_while_for_its_id() -> None:
    checkpoint: dict[str, Any] = {"job": {"publish_id": "p"}}
    done = status_is(status="PUBLISH_COMPLETE", publicaly_available_post_id=[])
    assert isinstance(visit("poll", done, checkpoint), Processing)
    assert isinstance(visit("poll", done, checkpoint, late_s=599), Processing)
    assert visit("poll", done, checkpoint, late_s=601) == Published(None)


def test_a_private_post_has_no_id() -> None:
    draft = draft_of("Mine", photo(), privacy="SELF_ONLY")
    checkpoint = {"job": {"publish_id": "p"}}
    done = status_is(status="PUBLISH_COMPLETE")
    assert visit("poll", done, checkpoint, draft) == Published(None)
    found = visit("reconcile", done, checkpoint, draft)
    assert isinstance(found, Found)
    assert found.remote_id is None


def test_what_failed_is_absent_and_told_at_the_next_visit() -> None:
    checkpoint: dict[str, Any] = {"job": {"publish_id": "p"}}
    failed = status_is(status="FAILED", fail_reason="spam_risk")
    assert visit("reconcile", failed, checkpoint) == Absent()
    assert isinstance(visit("publish", failed, checkpoint), Rejected)


def test_a_mismatch_of_privacy_is_asked_about_once_more() -> None:
    world = TikTokWorld()

    def mismatch(sent: Sent) -> Answer:
        return no(403, "privacy_level_option_mismatch") if "/content/init" in sent.path else world(sent)

    assert isinstance(visit("publish", mismatch, {}), NotSent)
    world.offered = ["SELF_ONLY"]
    outcome = visit("publish", mismatch, {"creator": {"asked_at": NOW.isoformat()}})
    assert isinstance(outcome, Rejected)
    assert outcome.code == "privacy_not_offered"


def test_a_level_that_is_offered_and_refused_again_is_given_up() -> None:
    world = TikTokWorld()

    def mismatch(sent: Sent) -> Answer:
        return no(403, "privacy_level_option_mismatch") if "/content/init" in sent.path else world(sent)

    checkpoint: dict[str, Any] = {}
    assert isinstance(visit("publish", mismatch, checkpoint), NotSent)
    assert isinstance(visit("publish", mismatch, checkpoint), Rejected)


def test_a_publish_id_that_cannot_be_saved_goes_with_the_outcome() -> None:
    def away(values: Any) -> None:
        if "job" in values:
            raise ConnectionError("no database")

    call = PULLS.call(FakeHttp(TikTokWorld()), {}, away)
    outcome = PLATFORM.publish(call, PHOTOS)
    assert outcome == Processing(15.0, checkpoint={"job": {"publish_id": "p_pub_url~v2.1"}})


def test_without_an_address_nothing_is_sent() -> None:
    http_free = visit("publish", TikTokWorld(), {}, draft_of("x", photo(url=None)))
    assert isinstance(http_free, NotSent)
    assert http_free.code == "no_url"


# --- The kinds of reconcile -------------------------------------------------------------------------------


def test_how_doubt_is_settled_depends_on_what_publishes() -> None:
    url = "https://media.example/v.mp4"
    kinds = [
        PLATFORM.publishing_call(draft).reconcile
        for draft in (
            draft_of("a", video()),
            draft_of("b", video(url=url), media="url"),
            draft_of("c", photo(), privacy="SELF_ONLY"),
        )
    ]
    assert kinds == [ReconcileKind.TWO_STEP, ReconcileKind.LOOKUP, ReconcileKind.NONE]
    blind = dataclasses.replace(PHOTOS, account=dataclasses.replace(TIKTOK_ACCOUNT, facts={}))
    assert PLATFORM.publishing_call(blind).reconcile is ReconcileKind.NONE
    assert PLATFORM.wants_url(PHOTOS)
    assert not PLATFORM.wants_url(draft_of("a", video(url=url)))


def listed(*videos: dict[str, Any], more: bool = False) -> Any:
    def answer(sent: Sent) -> Answer:
        assert told(sent)["max_count"] == 20
        # The second page is empty.
        return ok({"videos": list(videos) if "cursor" not in told(sent) else [], "has_more": more, "cursor": 5})

    return answer


def shown(text: str, at_s: float = 0, post_id: str = "1", **more: Any) -> dict[str, Any]:
    return {"id": post_id, "create_time": int(NOW.timestamp() + at_s), "video_description": text, **more}


@pytest.mark.parametrize(
    ("videos", "kind"),
    [
        ([shown("Soup and bread, twice")], Found),
        ([shown("Soup  and bread,  twice")], Found),
        ([shown("", title="Soup and bread, twice")], Found),
        ([shown("Soup")], Inconclusive),
        ([shown("Something else")], Inconclusive),
        ([shown("Soup and bread, twice", at_s=-200)], Inconclusive),
        ([], Inconclusive),
    ],
)
def test_a_lost_answer_is_looked_for_among_public_posts(videos: list[dict[str, Any]], kind: type) -> None:
    assert isinstance(visit("reconcile", listed(*videos), {}), kind)


@pytest.mark.parametrize(
    ("skew", "made", "kind"),
    [
        (0, -59, Found),
        (0, -61, Inconclusive),
        # Our clock is two minutes ahead: the post seems to be from before the attempt.
        (-120, -119, Found),
        (-120, -181, Inconclusive),
        # The answer's clock is ahead, which may be a proxy's: nothing later than our own time counts as older.
        (3600, 3601, Found),
        (3600, 1, Found),
        (3600, -59, Found),
        (3600, -61, Inconclusive),
        (3 * 86_400, 3 * 86_400, Inconclusive),
    ],
)
def test_tiktoks_own_clock_decides_what_is_older(skew: float, made: float, kind: type) -> None:
    rows = listed(shown("Soup and bread, twice", at_s=made - 70))
    date = {"Date": format_datetime(NOW + timedelta(seconds=skew), usegmt=True)}
    assert isinstance(visit("reconcile", lambda sent: dataclasses.replace(rows(sent), headers=date), {}), kind)


def test_the_oldest_match_wins_and_ids_of_others_do_not_count() -> None:
    rows = [shown("Soup and bread, twice", at, post_id) for at, post_id in ((9, "3"), (5, "2"), (1, "1"))]
    assert visit("reconcile", listed(*rows, more=True), {}).remote_id == "1"
    call = PULLS.call(FakeHttp(listed(*rows)))
    assert (
        PLATFORM.reconcile(call, PHOTOS, dataclasses.replace(DOUBT, taken_remote_ids=frozenset("1"))).remote_id == "2"
    )


def test_a_long_caption_is_known_by_its_beginning() -> None:
    text = "word " * 200
    assert isinstance(visit("reconcile", listed(shown(text[:150])), {}, draft_of(text, photo())), Found)


def test_without_words_or_a_list_only_a_person_can_tell() -> None:
    wordless = visit("reconcile", listed(shown("x")), {}, draft_of("", photo()))
    assert isinstance(wordless, Inconclusive)
    private = draft_of("Mine", photo(), privacy="SELF_ONLY")
    assert isinstance(visit("reconcile", lambda _sent: pytest.fail("nothing to ask"), {}, private), Inconclusive)
