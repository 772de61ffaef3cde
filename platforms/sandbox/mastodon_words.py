"""What the files of the Mastodon emulator share: errors, limits, the bodies of requests, what an account is."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

from platforms.sandbox.accounts import Account
from platforms.sandbox.emulator import Emulator, Headers
from platforms.sandbox.ledger import Post
from platforms.sandbox.wire import Request, Response, json_response

LIMITS: dict[str, int] = {
    "max_characters": 500,
    "max_media_attachments": 4,
    "image_size_limit": 16_777_216,
    "image_matrix_limit": 33_177_600,
    "video_size_limit": 103_809_024,
    "description_limit": 1_500,
    "max_options": 4,
    "max_characters_per_option": 50,
    "min_expiration": 300,
    "max_expiration": 2_629_746,
}
"""Of mastodon.social, 2026; the control call for an account may change them for the whole server."""
GENERAL = (300, 300)
"""Requests for an account in 5 minutes. Source: Mastodon documentation, 2026-07."""


def moment(at: float | None = None) -> str:
    """A time as Mastodon writes it."""
    shown = datetime.fromtimestamp(time.time() if at is None else at, UTC)
    return shown.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class MastodonWords(Emulator):
    """How Mastodon says no, and what it says of an account."""

    name: ClassVar[str] = "mastodon"
    title: ClassVar[str] = "Mastodon"
    colour: ClassVar[str] = "#563acc"
    limits: dict[str, int]
    renders_markdown: bool = False
    """Whether the server makes markup of a text, as some do that speak Mastodon's API."""

    def error(self, status: int, message: str = "") -> Response:
        words = {
            400: "The request is not valid.",
            401: "The access token is invalid",
            402: "Payment Required",
            403: "This action is not allowed",
            404: "Record not found",
            413: "Payload Too Large",
            415: "Unsupported Media Type",
            422: "Validation failed",
            429: "Too many requests",
            503: "Service Unavailable",
        }
        if status == 403 and "scope" in message:
            message = "This action is outside the authorized scopes"
        return json_response({"error": message or words.get(status, "Something went wrong")}, status)

    def limit_headers(self, limit: int, remaining: int, reset_at: float) -> Headers:
        return (
            ("x-ratelimit-limit", str(limit)),
            ("x-ratelimit-remaining", str(remaining)),
            ("x-ratelimit-reset", moment(reset_at + 1)),
        )

    def link(self, post: Post) -> str:
        return f"/mastodon/status/{post.remote_id}"

    @property
    def domain(self) -> str:
        """The server's name."""
        return urlsplit(self.world.url).netloc

    def body(self, request: Request) -> dict[str, Any]:
        """The fields of a request, from JSON or from a form (``poll[options][]``)."""
        if request.media_type == "application/json":
            try:
                found = json.loads(request.body or b"{}")
            except ValueError:
                raise self.refuse(400, "Error occurred while parsing request parameters") from None
            return found if isinstance(found, dict) else {}
        fields: dict[str, Any] = {}
        for name, value in parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True):
            keys = name.replace("]", "").split("[")
            place = fields
            for key in keys[:-1] if keys[-1] else keys[:-2]:
                place = place.setdefault(key, {})
            if keys[-1]:
                place[keys[-1]] = value
            else:
                place.setdefault(keys[-2], []).append(value)
        return fields

    def in_scope(self, account: Account, scope: str) -> Account:
        """The account, if its token was granted ``scope`` or the wider one that it is part of.

        :raises RefusedError: it was not.
        """
        if account.scopes is not None and not {scope, scope.partition(":")[0]} & set(account.scopes):
            raise self.refuse(403, "scope")
        return account

    def shown_account(self, account: Account) -> dict[str, Any]:
        """An account as every answer shows it."""
        url = f"{self.world.url}/@{account.username}"
        avatar = f"{self.world.url}/_sandbox/avatar/mastodon/{account.name}.svg"
        posts = self.world.ledger.newest_first("mastodon", account.name)
        return {
            "id": account.user_id,
            "username": account.username,
            "acct": account.username,
            "display_name": account.display_name,
            "locked": False,
            "bot": False,
            "group": False,
            "discoverable": True,
            "indexable": False,
            "created_at": moment(0),
            "note": "",
            "url": url,
            "uri": f"{self.world.url}/users/{account.username}",
            "avatar": avatar,
            "avatar_static": avatar,
            "header": avatar,
            "header_static": avatar,
            "followers_count": 0,
            "following_count": 0,
            "statuses_count": len(posts),
            "emojis": [],
            "fields": [],
        }


def is_true(value: Any) -> bool:
    """A flag, also as a form has it."""
    return value in {True, "true", "1", "on"}
