"""When containers are given up and others made, and what counts as a sending of one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from fake_http import NOW, Answer, Sent
from instagram_desk import Desk, publishing
from world_instagram import INSTAGRAM_SUBJECT, clip, draft_of, image, no

from platforms.base import AuthExpired, Effect, NotSent, Processing, Ready, Rejected, Unknown
from platforms.errors import FenceExpired, TransportError
from platforms.instagram import PLATFORM, containers

NOT_YET, NOT_FOUND, EXPIRED = no(24, 2207008), no(24, 2207006), no(-2, 2207020)


def ready(*media: Any) -> Desk:
    desk = Desk(draft_of("hi", *(media or (image(),))))
    desk.ready()
    return desk


def refused(desk: Desk, answer: Answer, times: int = 1) -> Any:
    """What the last of so many tries comes to, each refused in the same way, minutes apart."""
    outcome: Any = None
    for _ in range(times):
        outcome = desk.publish(publishing(desk, answer))
        desk.late += timedelta(minutes=2)
    return outcome


# --- Refusals that prove that nothing was published -------------------------------------------------------


def test_a_container_that_stays_unknown_is_replaced_after_two_tries() -> None:
    desk = ready()
    [first] = desk.world.containers
    assert refused(desk, NOT_YET) == NotSent("container_unknown", "Instagram: about 2207008", 400, 60.0)
    assert list(desk.world.containers) == [first]
    assert isinstance(refused(desk, NOT_YET), NotSent)
    # The status was read in between, and said that it is not published.
    assert any(sent.method == "GET" and sent.path.endswith(first) for sent in desk.http.sent)
    assert desk.checkpoint["items"] == []
    assert isinstance(desk.publish(), Processing)
    assert len(desk.world.media) == 1
    assert desk.world.containers[first]["status"] is None


@pytest.mark.parametrize("answer", [NOT_YET, NOT_FOUND, EXPIRED])
def test_one_whose_sending_was_in_doubt_is_kept_however_often_it_is_refused(answer: Answer) -> None:
    desk = ready()
    with pytest.raises(TransportError):
        desk.publish(publishing(desk, TransportError("lost", sent=True)))
    desk.late += timedelta(minutes=2)
    [first] = desk.world.containers
    assert isinstance(refused(desk, answer, 4), NotSent)
    assert desk.checkpoint["tried"]["id"] == first
    assert list(desk.world.containers) == [first]


def test_one_in_doubt_is_sent_again_also_when_its_time_is_nearly_over() -> None:
    desk = ready()
    [first] = desk.world.containers
    with pytest.raises(TransportError):
        desk.publish(publishing(desk, TransportError("lost", sent=True)))
    desk.late = timedelta(hours=23, minutes=55)
    assert isinstance(desk.publish(), Processing)
    assert list(desk.world.containers) == [first]


def test_one_that_is_not_found_is_replaced_once_if_the_token_is_good() -> None:
    desk = ready()
    assert isinstance(refused(desk, NOT_FOUND), NotSent)
    assert [(sent.method, sent.path) for sent in desk.http.sent][-1] == ("GET", "/v26.0/me")
    assert isinstance(desk.publish(publishing(desk, NOT_FOUND)), Rejected)
    assert len(desk.world.containers) == 2
    assert desk.world.media == []


def test_one_that_is_not_found_with_a_token_that_is_not_good_says_so() -> None:
    desk = ready()

    def dead(sent: Sent) -> Answer | Exception:
        return NOT_FOUND if sent.effect is Effect.PUBLISHES else no(190, 460)

    outcome = desk.publish(dead)
    assert isinstance(outcome, AuthExpired)
    assert outcome.permanent
    # With another token it is tried again.
    assert isinstance(desk.publish(), Processing)
    assert len(desk.world.containers) == 1


def test_children_that_are_gone_are_made_anew_at_once() -> None:
    desk = Desk(INSTAGRAM_SUBJECT.drafts["carousel"])
    assert isinstance(desk.prepare(), Processing)
    gone = list(desk.world.containers)

    def forgetful(sent: Sent) -> Answer | Exception:
        children = sent.form.get("children", "")
        return NOT_FOUND if children and set(children.split(",")) <= set(gone) else desk.world(sent)

    assert isinstance(desk.prepare(forgetful), Processing)
    assert len(desk.world.containers) == 6
    assert isinstance(desk.prepare(forgetful), Ready)
    assert isinstance(desk.publish(), Processing)
    assert len(desk.world.media) == 1


def test_children_that_never_last_end_the_post() -> None:
    desk = Desk(draft_of("hi", image("a"), image("b")))
    outcome = desk.prepare(lambda sent: NOT_FOUND if "children" in sent.form else desk.world(sent))
    assert isinstance(outcome, Rejected)
    assert outcome.code == "container_lost"
    assert len(desk.world.containers) == 8


def test_children_are_kept_where_the_token_is_at_fault() -> None:
    desk = Desk(draft_of("hi", image("a"), image("b")))

    def dead(sent: Sent) -> Answer | Exception:
        if "children" in sent.form:
            return NOT_FOUND
        return no(190) if sent.path.endswith("/me") else desk.world(sent)

    assert isinstance(desk.prepare(dead), AuthExpired)
    desk.ready()
    assert len(desk.world.containers) == 3


def waiting(*media: Any) -> tuple[Desk, list[str], Any]:
    """A post whose containers Instagram still works on; their ids; and an Instagram that has lost the last of them."""
    desk = Desk(draft_of("hi", *media))
    assert isinstance(desk.prepare(working(desk)), Processing)
    made = list(desk.world.containers)

    def lost(sent: Sent) -> Answer | Exception:
        return NOT_FOUND if sent.method == "GET" and sent.path.endswith(f"/{made[-1]}") else desk.world(sent)

    return desk, made, lost


def working(desk: Desk) -> Any:
    def answer(sent: Sent) -> Answer | Exception:
        of_a_container = sent.method == "GET" and sent.path.rpartition("/")[2] in desk.world.containers
        return Answer(200, {"status_code": "IN_PROGRESS"}) if of_a_container else desk.world(sent)

    return answer


MEDIA = {"picture": (image(),), "reel": (clip(),), "child": (image("a"), image("b"))}


@pytest.mark.parametrize("media", MEDIA.values(), ids=MEDIA)
@pytest.mark.parametrize("step", ["prepare", "poll"])
def test_a_container_that_was_lost_while_it_was_prepared_is_made_anew(media: Any, step: str) -> None:
    desk, made, lost = waiting(*media)
    assert isinstance(getattr(desk, step)(lost), Ready | Processing)
    # The token was looked at first.
    assert [sent.path for sent in desk.http.sent].count("/v26.0/me") == 1
    others = [one for one in desk.world.containers if one not in made]
    assert len(others) >= len(made)
    desk.ready()
    assert isinstance(desk.publish(), Processing)
    assert len(desk.world.media) == 1


@pytest.mark.parametrize("media", MEDIA.values(), ids=MEDIA)
def test_containers_that_never_last_end_the_post(media: Any) -> None:
    desk, _, _ = waiting(*media)
    keeps_losing = working(desk)

    def lost(sent: Sent) -> Answer | Exception:
        answer = keeps_losing(sent)
        return NOT_FOUND if isinstance(answer, Answer) and answer.body == {"status_code": "IN_PROGRESS"} else answer

    outcome = desk.prepare(lost)
    assert isinstance(outcome, Rejected)
    assert outcome.code == "container_lost"
    assert desk.checkpoint["rebuilds"] == containers.MAX_REBUILDS + 1


@pytest.mark.parametrize("media", MEDIA.values(), ids=MEDIA)
def test_one_lost_while_it_was_prepared_is_kept_where_the_token_is_at_fault(media: Any) -> None:
    desk, made, lost = waiting(*media)
    outcome = desk.prepare(lambda sent: no(190) if sent.path.endswith("/me") else lost(sent))
    assert isinstance(outcome, AuthExpired)
    assert list(desk.world.containers) == made
    desk.ready()


def test_a_refusal_to_make_one_is_no_loss() -> None:
    desk = Desk(draft_of("hi", image()))
    outcome = desk.prepare(lambda sent: NOT_FOUND if sent.path.endswith("/media") else desk.world(sent))
    assert isinstance(outcome, NotSent)
    assert "rebuilds" not in desk.checkpoint


@pytest.mark.parametrize("trouble", ["lost", "failed"])
def test_nothing_that_preparing_gives_up_takes_one_in_doubt_along(trouble: str) -> None:
    """The one that was sent has nearly run out, and another was begun: what becomes of that tells nothing of it."""
    desk = ready()
    with pytest.raises(TransportError):
        desk.publish(publishing(desk, TransportError("lost", sent=True)))
    [first] = desk.world.containers
    desk.late = timedelta(hours=23, minutes=55)
    assert isinstance(desk.prepare(working(desk)), Processing)
    second = list(desk.world.containers)[-1]
    answer = NOT_FOUND if trouble == "lost" else Answer(200, {"status_code": "ERROR", "status": "Error: 2207053"})
    outcome = desk.prepare(lambda sent: answer if sent.path.endswith(f"/{second}") else desk.world(sent))
    assert isinstance(outcome, NotSent)
    assert desk.checkpoint["tried"]["id"] == first
    assert isinstance(desk.publish(), Processing)
    assert desk.world.containers[first]["status"] == "PUBLISHED"


# --- What is no sending -----------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [FenceExpired("too late"), TransportError("refused", sent=False)])
def test_what_never_left_is_no_sending(error: Exception) -> None:
    desk = ready(clip())
    for _ in range(3):
        with pytest.raises(type(error)):
            desk.publish(publishing(desk, error))
    assert not desk.checkpoint.get("tried")
    assert isinstance(desk.publish(), Processing)
    # Neither its status was asked for, nor was there a pause.
    assert [sent.method for sent in desk.http.sent] == ["POST"]


def test_an_expired_fence_leaves_earlier_sendings_as_they_were() -> None:
    desk = ready()
    assert isinstance(desk.publish(publishing(desk, no(2))), Unknown)
    before = dict(desk.checkpoint["tried"])
    desk.late = timedelta(minutes=1)
    with pytest.raises(FenceExpired):
        desk.publish(publishing(desk, FenceExpired("too late")))
    assert desk.checkpoint["tried"] == before
    assert before["at"] == NOW.isoformat()


# --- What the platform gave -------------------------------------------------------------------------------


def test_the_posts_id_goes_with_the_outcome() -> None:
    desk = ready()
    call = desk.call()

    def away(_values: object) -> None:
        raise ConnectionError("the database is away")

    def until_sent(values: Any) -> None:
        desk.checkpoint.update(values)
        call.store = away

    call.store = until_sent
    outcome = PLATFORM.publish(call, desk.draft)
    assert isinstance(outcome, Processing)
    assert outcome.checkpoint == {"media_id": desk.world.published()[0]}
