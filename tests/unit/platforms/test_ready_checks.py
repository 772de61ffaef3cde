"""What each platform says ahead of time about posts that wait: only by reading, one request for all of them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from fake_http import NOW, Answer, Answerer, FakeHttp

from platforms import registry
from platforms.base import AccountRef, Call, Draft, Effect, MediaItem, MediaKind, NotSent, RateLimited
from platforms.readiness import ChecksReadiness, KnowsItsEnd, PaidIdentity, Waiting

HOUR = timedelta(hours=1)


def module(name: str) -> Any:
    return registry.get(name)


def call(name: str, answerer: Answerer, facts: dict[str, Any] | None = None, **credentials: Any) -> Call:
    account = AccountRef(name, "acme", remote_id="17", facts=facts or {})
    return Call(FakeHttp(answerer), account, {"access_token": "a", **credentials}, lambda: NOW)


def sent(one: Call) -> list[str]:
    """The paths of the requests, all of which only read."""
    http = one.http
    assert isinstance(http, FakeHttp)
    assert {request.effect for request in http.sent} <= {Effect.READ}
    return [request.path for request in http.sent]


def waiting(name: str, hours: float, *media: MediaItem, facts: dict[str, Any] | None = None, **options: Any) -> Waiting:
    return Waiting(Draft("Hello", AccountRef(name, "acme", facts=facts or {}), media, options), NOW + hours * HOUR)


def codes(found: Any) -> list[list[str]]:
    return [[bad.code for bad in those] for those in found]


def item(kind: MediaKind = MediaKind.IMAGE, duration_s: float | None = None) -> MediaItem:
    return MediaItem(kind, "video/mp4", 10, 720, 1280, "s", duration_s=duration_s)


def test_who_says_what() -> None:
    names = {"bluesky", "instagram", "mastodon", "pinterest", "tiktok", "x"}
    assert {name for name in names if isinstance(module(name), ChecksReadiness)} == names - {"mastodon", "x"}
    assert {name for name in names if isinstance(module(name), KnowsItsEnd)} == names - {"mastodon"}
    assert {name for name in names if isinstance(module(name), PaidIdentity)} == {"x"}
    assert module("x").identify_is_paid


# --- Instagram ----------------------------------------------------------------------------------------------


def usage(used: int, total: int) -> Answerer:
    return lambda _: Answer(200, {"data": [{"quota_usage": used, "config": {"quota_total": total}}]})


@pytest.mark.parametrize(
    ("used", "expected"),
    [
        (0, [[], [], [], []]),
        (48, [[], [], [], []]),
        (49, [[], ["quota_full"], [], []]),
        (50, [["quota_full"], ["quota_full"], [], []]),
        (60, [["quota_full"], ["quota_full"], [], []]),
    ],
)
def test_instagram_counts_for_what_is_due_soon(used: int, expected: list[list[str]]) -> None:
    one = call("instagram", usage(used, 50))
    posts = [waiting("instagram", hours) for hours in (0.5, 1.5, 3, 24)]
    assert codes(module("instagram").ready_check(one, posts)) == expected
    assert [path.rsplit("/", 1)[1] for path in sent(one)] == ["content_publishing_limit"]


def test_instagram_is_not_asked_for_what_is_far_off() -> None:
    one = call("instagram", usage(50, 50))
    assert codes(module("instagram").ready_check(one, [waiting("instagram", 24)])) == [[]]
    assert sent(one) == []


def test_instagram_in_trouble() -> None:
    one = call("instagram", lambda _: Answer(503, b""))
    assert isinstance(module("instagram").ready_check(one, [waiting("instagram", 1)]), NotSent)


# --- TikTok -------------------------------------------------------------------------------------------------


def creator(*levels: str, longest: int = 60) -> Answerer:
    info = {"privacy_level_options": list(levels), "max_video_post_duration_sec": longest}
    return lambda _: Answer(200, {"data": info, "error": {"code": "ok"}})


def test_tiktok_asks_the_creator_once_for_all_posts() -> None:
    one = call("tiktok", creator("SELF_ONLY"))
    posts = [
        waiting("tiktok", 1, item(), privacy="PUBLIC_TO_EVERYONE"),
        waiting("tiktok", 2, item(), privacy="SELF_ONLY"),
        waiting("tiktok", 3, item(MediaKind.VIDEO, 90.0), privacy="SELF_ONLY"),
        waiting("tiktok", 4, item(MediaKind.VIDEO, 90.0), mode="inbox"),
        waiting("tiktok", 5, item(), privacy="NO_SUCH"),
    ]
    found = module("tiktok").ready_check(one, posts)
    assert codes(found) == [["privacy_not_offered"], [], ["video_too_long"], [], []]
    assert len(sent(one)) == 1


def test_tiktok_is_not_asked_for_the_inbox() -> None:
    one = call("tiktok", creator())
    assert codes(module("tiktok").ready_check(one, [waiting("tiktok", 1, item(), mode="inbox")])) == [[]]
    assert sent(one) == []


def test_tiktok_at_the_days_cap() -> None:
    """With HTTP 200, as its pages have it."""
    answer = Answer(200, {"data": {}, "error": {"code": "spam_risk_too_many_posts", "message": "cap"}})
    one = call("tiktok", lambda _: answer)
    found = module("tiktok").ready_check(one, [waiting("tiktok", 1, item(), privacy="SELF_ONLY")])
    assert isinstance(found, RateLimited)
    assert found.until > NOW + HOUR


# --- Pinterest ----------------------------------------------------------------------------------------------

BOARDS = {"boards": [{"id": "1", "name": "Recipes"}, {"id": "2", "name": "Soups"}]}


def sections(request: Any) -> Answer:
    board = request.path.split("/")[3]
    if board == "2":
        return Answer(404, {"code": 40, "message": "Board not found."})
    if not request.params.get("bookmark"):
        return Answer(200, {"items": [{"id": "11", "name": "Cakes"}], "bookmark": "more"})
    return Answer(200, {"items": [{"id": "12", "name": "Bread"}], "bookmark": None})


def test_pinterest_reads_the_sections_of_each_board_once() -> None:
    one = call("pinterest", sections, BOARDS)
    posts = [
        waiting("pinterest", 1, facts=BOARDS, board="Recipes"),
        waiting("pinterest", 2, facts=BOARDS, board="Recipes", board_section="Bread"),
        waiting("pinterest", 3, facts=BOARDS, board="1", board_section="11"),
        waiting("pinterest", 4, facts=BOARDS, board="Recipes", board_section="Pies"),
        waiting("pinterest", 5, facts=BOARDS, board="2", board_section="11"),
        waiting("pinterest", 6, facts=BOARDS, board="No such board", board_section="11"),
        waiting("pinterest", 7, facts=BOARDS),
    ]
    found = module("pinterest").ready_check(one, posts)
    assert codes(found) == [[], [], [], ["unknown_board_section"], ["unknown_board_section"], [], []]
    assert sent(one) == ["/v5/boards/1/sections", "/v5/boards/1/sections", "/v5/boards/2/sections"]


def test_pinterest_in_trouble() -> None:
    one = call("pinterest", lambda _: Answer(503, b""), BOARDS)
    posts = [waiting("pinterest", 1, facts=BOARDS, board="1", board_section="11")]
    assert isinstance(module("pinterest").ready_check(one, posts), NotSent)


# --- Until when ---------------------------------------------------------------------------------------------

UNTIL = datetime.fromisoformat("2026-12-24T18:00:00+00:00")
ENDS = {"access_token": "a", "expires_at": UNTIL.isoformat()}
RENEWS = {**ENDS, "refresh_token": "r", "client_id": "c", "client_secret": "s"}


@pytest.mark.parametrize(
    ("name", "credentials", "ends"),
    [
        ("x", ENDS, UNTIL),
        ("x", RENEWS, None),
        ("x", {**RENEWS, "client_secret": None}, None),
        ("x", {"consumer_key": "k", "token": "t"}, None),
        ("pinterest", ENDS, UNTIL),
        ("pinterest", RENEWS, None),
        ("pinterest", {**RENEWS, "client_secret": None}, UNTIL),
        ("tiktok", ENDS, UNTIL),
        ("tiktok", {**RENEWS, "client_key": "k"}, None),
        ("tiktok", {**RENEWS, "client_key": "k", "refresh_expires_at": "2027-01-01T00:00:00+00:00"}, "2027-01-01"),
        ("instagram", ENDS, None),
        ("instagram", {**ENDS, "login": "facebook"}, UNTIL),
        ("bluesky", {"identifier": "a", "password": "b"}, None),
        ("bluesky", ENDS, None),
    ],
)
def test_when_the_access_ends_for_good(name: str, credentials: dict[str, Any], ends: Any) -> None:
    wanted = datetime.fromisoformat(f"{ends}T00:00:00+00:00") if isinstance(ends, str) else ends
    assert module(name).access_ends_at(credentials) == wanted
