"""Noticeboard against the suite that every platform module has to pass, and what is its own."""

from __future__ import annotations

import io
import json

import pytest
from schedulerx_noticeboard import PLATFORM
from schedulerx_noticeboard.sandbox import Board

from platforms.base import AccountRef, AuthExpired, Draft, MediaItem, MediaKind, NotSent, RateLimited, Rejected, Unknown
from platforms.conformance import Answer, Case, Refusal, Sent, Subject, cases, doubtful_server_errors

ACCOUNT = AccountRef("noticeboard", "me")


def picture(name: str) -> MediaItem:
    """A file as a worker hands it over; only its bytes and its hash matter here."""
    data = name.encode()
    return MediaItem(
        MediaKind.IMAGE, "image/png", len(data), 64, 64, sha256=name * 64, alt="what it shows", name=name,
        read=lambda: io.BytesIO(data),
    )  # fmt: skip


class World:
    """The emulated board, as the suite talks to it: without a network."""

    def __init__(self) -> None:
        self.board = Board()

    def __call__(self, sent: Sent) -> Answer:
        body = sent.content or json.dumps(sent.json).encode()
        return Answer(*self.board.answer(sent.method, sent.path, sent.headers, body))

    def published(self) -> list[str]:
        return [notice["id"] for notice in self.board.notices.values()]


SUBJECT = Subject(
    platform=PLATFORM,
    world=World,
    account=ACCOUNT,
    credentials={"access_token": "secret"},
    drafts={
        "text": Draft("Tea at five", ACCOUNT, options={"pinned": True}),
        "pictures": Draft("Two cats", ACCOUNT, (picture("a"), picture("b"))),
    },
    too_long=Draft("x" * 501, ACCOUNT),
    refusals=[
        *doubtful_server_errors(),
        Refusal("no-id", Answer(201, {}), Unknown),
        Refusal("gone", Answer(404, {"error": "no_such_path"}), Unknown),
        Refusal("token", Answer(401, {"error": "bad_token"}), AuthExpired, lambda outcome: outcome.permanent),
        Refusal("forbidden", Answer(403, {"error": "banned"}), Rejected),
        Refusal("refused", Answer(422, {"error": "text_too_long"}), Rejected),
        Refusal("file-lost", Answer(422, {"error": "no_such_file"}), NotSent),
        Refusal("limited", Answer(429, {}, {"Retry-After": "30"}), RateLimited),
    ],
)


@pytest.mark.parametrize("case", cases(SUBJECT), ids=str)
def test_conformance(case: Case) -> None:
    case.run()


def test_an_alt_text_may_have_300_characters() -> None:
    long = MediaItem(MediaKind.IMAGE, "image/png", 1, 64, 64, sha256="a" * 64, alt="x" * 301, name="cat.png")
    found = PLATFORM.validate(Draft("", ACCOUNT, (long,)))
    assert [(one.code, one.file) for one in found] == [("alt_too_long", "cat.png")]
