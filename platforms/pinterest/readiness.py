"""What Pinterest says ahead of time beyond its boards, which ``identify`` reads: whether a board's section exists.

A section is read for each board that a waiting post names one on; one request and page for each such board.
Source: Pinterest API v5, OpenAPI 5.23.0 (2025-12), ``GET /boards/{board_id}/sections``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from pydantic import ValidationError

from platforms import oauth
from platforms.base import Call, Effect, Json, Violation
from platforms.outcomes import objects
from platforms.pinterest import api
from platforms.pinterest.models import Options, board_id, section_id
from platforms.readiness import Looked, Waiting

PAGE = 250
MAX_PAGES = 8
"""A board with more sections than fit into these has the further ones reported as unknown; 2,000 are far from usual."""


def check(call: Call, waiting: Sequence[Waiting]) -> Looked:
    """Posts whose board has no such section (any more)."""
    known: dict[str, list[dict[str, Json]]] = {}
    found: list[list[Violation]] = []
    for one in waiting:
        wanted = _section(one)
        if wanted is None:
            found.append([])
            continue
        board, section = wanted
        if board not in known:
            sections = _sections(call, board)
            if not isinstance(sections, list):
                return sections
            known[board] = sections
        judged = section_id(section, board, {"boards": [{"id": board, "sections": known[board]}]})
        found.append([judged] if isinstance(judged, Violation) else [])
    return found


def _section(one: Waiting) -> tuple[str, str] | None:
    """The board's id and the section that is meant; None where there is none to look for."""
    try:
        options = Options.model_validate(dict(one.draft.options))
    except ValidationError:
        return None  # the rules name it
    board = board_id(options.board, one.draft.account.facts)
    if options.board_section is None or isinstance(board, Violation):
        return None
    return board, options.board_section


def _sections(call: Call, board: str) -> list[dict[str, Json]] | api.Refusal:
    sections: list[dict[str, Json]] = []
    bookmark: str | None = None
    for _ in range(MAX_PAGES):
        params = {"page_size": str(PAGE)} | ({"bookmark": bookmark} if bookmark else {})
        reply = api.request(call, "GET", f"/v5/boards/{board}/sections", effect=Effect.READ, params=params)
        answer = api.good(reply)
        if reply.status == 404:
            return []  # the board itself is gone: about this post, not about the account
        if not isinstance(answer.get("items"), list):
            return api.refusal(call, reply)
        sections += objects(answer["items"])
        bookmark = answer.get("bookmark")
        if not bookmark:
            break
    return sections


def access_ends_at(credentials: Mapping[str, Json]) -> datetime | None:
    """The end of an access that has no refresh token with its client."""
    renewable = oauth.renewable(credentials) and bool(credentials.get("client_secret"))
    return None if renewable else oauth.expires_at(credentials)
