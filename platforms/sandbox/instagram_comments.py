"""Comments below Instagram posts: making and listing them.

Source: IG Media comments reference, 2025-01: top level only, newest first, at most 50 an answer.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from platforms.sandbox.emulator import Route, signed_in
from platforms.sandbox.instagram_words import InstagramWords
from platforms.sandbox.ledger import Post
from platforms.sandbox.wire import Request, Response, json_response

LONGEST_PAGE = 50


class InstagramComments:
    """The comments edge of a post. A comment is judged like a post: by its words and what it answers."""

    def __init__(self, emulator: InstagramWords) -> None:
        self._instagram = emulator
        self._world = emulator.world

    def routes(self, version: str) -> Sequence[Route]:
        base = f"/{version}/{{id}}/comments"
        return (
            Route("POST", base, "comment", "publish", self.create),
            Route("GET", base, "comments", "read", self.list_comments),
        )

    def _post(self, request: Request) -> Post:
        account = signed_in(request)
        self._instagram.needs(account, "basic", "comments")
        post = self._world.ledger.find("instagram", request.args["id"])
        if post is None or post.account != account.name or "comment_on" in post.fields:
            raise self._instagram.missing(request.args["id"])
        return post

    async def create(self, request: Request) -> Response:
        post = self._post(request)
        words = self._instagram.parameters(request).get("message", "")
        if not words.strip():
            raise self._instagram.wrong("The parameter message is required.")
        if post.fields["product"] == "STORY":
            raise self._instagram.wrong("Stories take no comments.")
        comment_id = self._world.next_id()
        fields: dict[str, Any] = {"comment_on": post.remote_id, "product": "COMMENT"}
        private = {"code": comment_id, "container": ""}
        self._world.ledger.accept(
            Post("instagram", post.account, comment_id, words, [], time.time(), request.began_at, fields, private)
        )
        return json_response({"id": comment_id})

    async def list_comments(self, request: Request) -> Response:
        post = self._post(request)
        parameters = self._instagram.parameters(request)
        limit = parameters.pop("limit", "25")
        if not limit.isdigit() or not 1 <= int(limit) <= LONGEST_PAGE:
            raise self._instagram.wrong("limit is between 1 and 50")
        rows = [
            self._instagram.picked(
                {
                    "id": one.remote_id,
                    "text": one.text,
                    "timestamp": datetime.fromtimestamp(one.accepted_at, UTC).strftime("%Y-%m-%dT%H:%M:%S+0000"),
                    "username": signed_in(request).username,
                },
                parameters,
            )
            for one in self._world.ledger.newest_first("instagram", post.account, lag_s=request.read_lag_s)
            if one.fields.get("comment_on") == post.remote_id
        ]
        return json_response({"data": rows[: int(limit)]})
