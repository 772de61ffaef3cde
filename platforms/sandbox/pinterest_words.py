"""What the files of the Pinterest emulator share: its error words, checks and pages."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from platforms.sandbox.accounts import Account
from platforms.sandbox.emulator import Emulator, Headers, Route
from platforms.sandbox.shape import Fields, MismatchError, Shape
from platforms.sandbox.wire import Request, Response, json_response

READ, WRITE = (1000, 60), (100, 60)
TRIAL_READ, TRIAL_WRITE = (1000, 86_400), (300, 86_400)
PINS = ("boards:read", "boards:write", "pins:read", "pins:write")
"""The scopes that making a pin asks for. On a secret board those that end in ``_secret`` are needed as well."""


def open_fields(fields: dict[str, Shape], *required: str) -> Fields:
    """Pinterest's schemas do not forbid further fields."""
    return Fields(fields, required=required, closed=False)


def moment(at: float | None = None) -> str:
    """A time as Pinterest writes it: UTC, seconds, no zone."""
    return datetime.fromtimestamp(time.time() if at is None else at, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class PinterestWords(Emulator):
    """How Pinterest says no, tells limits and turns pages."""

    name: ClassVar[str] = "pinterest"
    title: ClassVar[str] = "Pinterest"
    colour: ClassVar[str] = "#bd081c"

    def error(self, status: int, message: str = "") -> Response:
        codes = {
            400: (1, "Invalid request."),
            401: (2, "Authentication failed."),
            402: (1, "Payment required."),
            403: (29, "You are not permitted to access that resource."),
            404: (50, "Sorry! We could not find that."),
            415: (1, "Unsupported media type."),
            429: (8, "You have exceeded your rate limit. Try again later."),
        }
        code, text = codes.get(status, (11, "Something went wrong on our end. Sorry about that."))
        return json_response({"code": code, "message": message or text}, status)

    def limit_headers(self, limit: int, remaining: int, reset_at: float) -> Headers:
        seconds = max(0, int(reset_at - time.time()) + 1)
        return (
            ("x-ratelimit-limit", str(limit)),
            ("x-ratelimit-remaining", str(remaining)),
            ("x-ratelimit-reset", str(seconds)),
        )

    def limit_of(self, route: Route, account: Account) -> tuple[int, int] | None:
        """The trial tier's limits are those of a day."""
        if account.facts.get("tier") != "trial" or route.limit is None:
            return route.limit
        return TRIAL_WRITE if route.limit == WRITE else TRIAL_READ

    def may(self, account: Account, *scopes: str) -> bool:
        """Whether the account's tokens were given these scopes."""
        return account.scopes is None or set(scopes) <= set(account.scopes)

    def checked(self, shape: Fields, body: Any, path: str = "$") -> dict[str, Any]:
        try:
            shape.check(body, path)
        except MismatchError as error:
            raise self.refuse(400, f"Invalid request: {error}") from None
        checked: dict[str, Any] = body
        return checked

    def page(self, request: Request, rows: Sequence[dict[str, Any]]) -> Response:
        """One page of ``rows``. The bookmark names the last row, so that new rows do not shift the pages."""
        query = request.query()
        size = query.get("page_size", "25")
        if not size.isdigit() or not 1 <= int(size) <= 250:
            raise self.refuse(400, "page_size is between 1 and 250.")
        begin = 0
        if bookmark := query.get("bookmark"):
            last = bookmark.removeprefix("after-")
            places = [place for place, row in enumerate(rows) if _id_of(row) == last]
            if not places:
                raise self.refuse(400, "The bookmark is not valid.")
            begin = places[0] + 1
        page = rows[begin : begin + int(size)]
        more = len(rows) > begin + len(page)
        return json_response({"items": list(page), "bookmark": f"after-{_id_of(page[-1])}" if more else None})


def _id_of(row: dict[str, Any]) -> str:
    return str(row.get("id") or row["media_id"])
