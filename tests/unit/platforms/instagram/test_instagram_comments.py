"""The first comment: who may make one, what a refusal of it means, and how a doubtful one is looked for."""

from __future__ import annotations

import dataclasses
import io
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from fake_http import NOW, Answer, FakeHttp
from world_instagram import (
    FACEBOOK_ACCOUNT,
    FACEBOOK_SUBJECT,
    INSTAGRAM_ACCOUNT,
    INSTAGRAM_CREDENTIALS,
    INSTAGRAM_SUBJECT,
    InstagramWorld,
    image,
    no,
)

from platforms.base import Absent, AccountRef, AuthExpired, Doubt, Draft, Found, Identity, Inconclusive, Rejected
from platforms.instagram import PLATFORM

COMMENT = INSTAGRAM_SUBJECT.drafts["comment"]
BASIC, PUBLISH = "instagram_business_basic", "instagram_business_content_publish"
COMMENTS = "instagram_business_manage_comments"


def with_scopes(account: AccountRef, *scopes: str) -> Draft:
    facts = {**account.facts, "scopes": list(scopes)} if scopes else account.facts
    return Draft("hi", dataclasses.replace(account, facts=facts), (image(),), {"first_comment": "#soup"})


@pytest.mark.parametrize(
    ("account", "scopes", "wrong"),
    [
        (INSTAGRAM_ACCOUNT, (), []),
        (INSTAGRAM_ACCOUNT, (BASIC, PUBLISH), ["options.first_comment"]),
        (INSTAGRAM_ACCOUNT, (BASIC, PUBLISH, COMMENTS), []),
        (FACEBOOK_ACCOUNT, ("instagram_basic", COMMENTS), ["options.first_comment"]),
        (FACEBOOK_ACCOUNT, ("instagram_basic", "instagram_manage_comments"), []),
    ],
)
def test_a_comment_that_the_access_does_not_allow_is_refused_when_it_is_scheduled(
    account: AccountRef, scopes: tuple[str, ...], wrong: list[str]
) -> None:
    found = PLATFORM.validate(with_scopes(account, *scopes))
    assert [violation.field for violation in found] == wrong
    assert {violation.code for violation in found} <= {"scope_missing"}
    # Without a comment the access is good enough.
    assert PLATFORM.validate(dataclasses.replace(with_scopes(account, *scopes), options={})) == []


def test_a_post_that_was_accepted_before_is_not_refused_for_its_comment() -> None:
    """When workers load it its files can be read; without the scope the comment alone fails."""
    waiting = with_scopes(INSTAGRAM_ACCOUNT, BASIC, PUBLISH)
    file = dataclasses.replace(waiting.media[0], read=lambda: io.BytesIO(b"x"))
    assert PLATFORM.validate(dataclasses.replace(waiting, media=(file,))) == []


def test_what_was_granted_is_kept_with_the_account() -> None:
    call = INSTAGRAM_SUBJECT.call(FakeHttp(InstagramWorld()))
    call.credentials = {**INSTAGRAM_CREDENTIALS, "scope": f"{BASIC},{PUBLISH}"}
    identity = PLATFORM.identify(call)
    assert isinstance(identity, Identity)
    assert identity.facts["scopes"] == [BASIC, PUBLISH]
    # Posts go out without it: it is not reported as missing, but as what it keeps from being done.
    assert identity.missing_scopes == ()
    assert "first comments" in identity.facts["notice"]
    call.credentials = {**INSTAGRAM_CREDENTIALS, "scope": None}
    identity = PLATFORM.identify(call)
    assert isinstance(identity, Identity)
    assert not {"scopes", "notice"} & set(identity.facts)


@pytest.mark.parametrize("login", ["instagram", "facebook"])
def test_connecting_asks_for_it(login: str) -> None:
    assert any(scope.endswith("manage_comments") for scope in PLATFORM.connector.facts({"login": login}).scopes)


@pytest.mark.parametrize("answer", [no(10, status=403), no(3), no(200), no(299, status=403)])
def test_a_missing_permission_ends_the_comment_and_not_the_account(answer: Answer) -> None:
    for subject in (INSTAGRAM_SUBJECT, FACEBOOK_SUBJECT):
        outcome = PLATFORM.publish(subject.call(FakeHttp(lambda _sent: answer)), COMMENT)
        assert isinstance(outcome, Rejected), outcome
        assert outcome.code == "permission_missing"
        look = PLATFORM.reconcile(subject.call(FakeHttp(lambda _sent: answer)), COMMENT, Doubt(NOW, None, frozenset()))
        assert isinstance(look, Inconclusive), look
    assert isinstance(PLATFORM.publish(INSTAGRAM_SUBJECT.call(FakeHttp(lambda _: no(190))), COMMENT), AuthExpired)


# --- Looking for it -----------------------------------------------------------------------------------------


def said(text: str, seconds: float = 1, **more: Any) -> dict[str, Any]:
    at = (NOW + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S+0000")
    return {"id": "9", "text": text, "timestamp": at, "username": "acme", **more}


def look(*comments: dict[str, Any], taken: tuple[str, ...] = (), handle: str = "acme") -> Any:
    call = INSTAGRAM_SUBJECT.call(FakeHttp(lambda _sent: Answer(200, {"data": list(comments)})))
    call.account = dataclasses.replace(INSTAGRAM_ACCOUNT, handle=handle)
    return PLATFORM.reconcile(call, COMMENT, Doubt(NOW, None, frozenset(taken)))


@pytest.mark.parametrize(
    ("comments", "kind"),
    [
        ([], Absent),
        ([said("#soup")], Found),
        ([said("  #soup ")], Found),
        ([said("#soup", -3600)], Absent),
        ([said("soup", -3600)], Absent),
        ([said("Nice!", username="fan")], Absent),
        # The account may have been renamed since: the words are ours.
        ([said("#soup", username="acme.soups")], Inconclusive),
        ([said("#soup", username="acme.soups"), said("#soup", id="8")], Found),
        ([said("#soup", -3600, username="acme.soups")], Absent),
        # Instagram may have changed the words: who would say that it is not there?
        ([said("#soup …")], Inconclusive),
        ([said("soup")], Inconclusive),
        ([said("")], Inconclusive),
        ([said("soup"), said("#soup", id="8")], Found),
        ([{**said("soup"), "username": None}], Inconclusive),
        ([{**said("soup"), "timestamp": None}], Inconclusive),
    ],
)
def test_only_silence_of_the_account_is_absence(comments: list[dict[str, Any]], kind: type) -> None:
    assert isinstance(look(*comments), kind)


@pytest.mark.parametrize(
    ("skew", "made", "kind"),
    [
        (0, -61, Absent),
        (-120, -119, Found),
        (-120, -181, Absent),
        (3600, 3601, Found),
        (3600, 1, Found),
        (3600, -61, Absent),
        (3 * 86_400, 0, Inconclusive),
    ],
)
def test_instagrams_own_clock_decides_which_comment_is_older(skew: float, made: float, kind: type) -> None:
    headers = {"Date": format_datetime(NOW + timedelta(seconds=skew), usegmt=True)}
    call = INSTAGRAM_SUBJECT.call(FakeHttp(lambda _sent: Answer(200, {"data": [said("#soup", made)]}, headers)))
    assert isinstance(PLATFORM.reconcile(call, COMMENT, Doubt(NOW, None, frozenset())), kind)


def test_comments_of_other_posts_of_ours_are_not_it() -> None:
    assert look(said("soup"), taken=("9",)) == Absent()
    assert look(said("#soup"), taken=("9",)) == Absent()


def test_without_a_name_every_comment_may_be_ours() -> None:
    assert isinstance(look(said("Nice!", username="fan"), handle=""), Inconclusive)
