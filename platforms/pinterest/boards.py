"""The account's boards and their sections, read by ``identify`` so that names can be resolved when a post is scheduled.

Boards are read each time. Sections cost a request for each board, and the trial tier has 1,000 requests a day: so
they are kept for as many times ``SECTION_READ_EVERY`` as there are boards, and at most ``MAX_SECTION_READS`` boards
are read at once, those that were never read first.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from platforms.base import AuthExpired, Call, Effect, Json, NotSent, RateLimited, Rejected
from platforms.outcomes import objects, utc
from platforms.pinterest import api

PAGE = 250
"""The largest that the API gives."""
MAX_PAGES = 20
MAX_SECTION_READS = 100
SECTION_READ_EVERY = timedelta(minutes=3)
"""On the average; 480 reads a day, however often we are asked."""
MAX_FORMER_NAMES = 5

Board = dict[str, Json]


def read_boards(call: Call) -> list[Board] | AuthExpired | RateLimited | NotSent | Rejected:
    """All boards: id, name, privacy, names they had before, and sections where they could be read."""
    boards = _pages(call, "/v5/boards")
    if not isinstance(boards, list):
        return boards
    before = {str(board.get("id")): board for board in objects(call.account.facts.get("boards"))}
    known = [_known(board, before.get(str(board["id"]), {})) for board in boards if board.get("id")]
    stopped = _read_sections(call, known)
    return stopped if isinstance(stopped, AuthExpired) else known


def _known(board: Board, before: Board) -> Board:
    """A board as it is now, with what is still of use of what was known before."""
    found: Board = {"id": str(board["id"]), "name": board.get("name"), "privacy": board.get("privacy")}
    former = [name for name in before.get("former_names") or [] if name != found["name"]]
    if before.get("name") and before["name"] != found["name"]:
        former = [before["name"], *[name for name in former if name != before["name"]]]
    if former:
        found["former_names"] = former[:MAX_FORMER_NAMES]
    return found | {name: before[name] for name in ("sections", "sections_at") if name in before}


def _read_sections(call: Call, boards: list[Board]) -> AuthExpired | None:
    """Reads sections where they are missing or old. What cannot be read now is left as it was: it is no reason to
    doubt the account.
    """

    def age(board: Board) -> datetime:
        return utc(board.get("sections_at")) or datetime.min.replace(tzinfo=call.now().tzinfo)

    fresh = SECTION_READ_EVERY * len(boards)
    old = [board for board in boards if call.now() - age(board) >= fresh]
    for board in sorted(old, key=age)[:MAX_SECTION_READS]:
        sections = _pages(call, f"/v5/boards/{board['id']}/sections")
        if isinstance(sections, AuthExpired):
            return sections
        if not isinstance(sections, list):
            return None
        board["sections"] = [{"id": str(one["id"]), "name": one.get("name")} for one in sections if one.get("id")]
        board["sections_at"] = call.now().isoformat()
    return None


def _pages(call: Call, path: str) -> list[Board] | AuthExpired | RateLimited | NotSent | Rejected:
    found: list[Board] = []
    bookmark: str | None = None
    for _ in range(MAX_PAGES):
        params = {"page_size": str(PAGE)} | ({"bookmark": bookmark} if bookmark else {})
        reply = api.request(call, "GET", path, effect=Effect.READ, params=params)
        answer = api.good(reply)
        if not isinstance(answer.get("items"), list):
            return api.refusal(call, reply)
        found += objects(answer["items"])
        bookmark = answer.get("bookmark")
        if not bookmark:
            break
    return found
