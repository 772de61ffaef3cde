"""What the files of the Instagram emulator share: Graph's error words, parameters, who is asking.

A fault of the kind ``server_error`` whose ``status`` is a subcode below (2207008) is answered as the table words it;
``server_error_after`` with status 400 stands for the refusal of a comment that was made all the same.
"""

from __future__ import annotations

import json
import time
from typing import Any, ClassVar

from platforms.sandbox.accounts import Account
from platforms.sandbox.emulator import Emulator, Headers, RefusedError
from platforms.sandbox.wire import Request, Response, json_response

MESSAGES = {
    2207001: (-1, "Instagram server error. Try again."),
    2207003: (-2, "It takes too long to download the media."),
    2207004: (36000, "The image is too large to download. It should be less than 8 MiB."),
    2207005: (36001, "The image format is not supported. Please use JPEG."),
    2207006: (24, "The media with this creation_id cannot be found."),
    2207008: (24, "The media builder with this creation_id does not exist or has expired; try again."),
    2207009: (36003, "The submitted image has an invalid aspect ratio."),
    2207010: (36004, "The caption was too long."),
    2207020: (-2, "The media you are trying to access has expired."),
    2207023: (100, "The media type is unknown."),
    2207026: (352, "The video format is not supported."),
    2207027: (9007, "The media is not ready for publishing, please wait for a moment."),
    2207028: (100, "A carousel needs 2 to 10 items."),
    2207040: (100, "Cannot use more than 20 tags."),
    2207042: (9, "You reached the maximum number of posts that is allowed to be published by Content Publishing API."),
    2207050: (25, "The Instagram account is restricted."),
    2207051: (4, "We restrict certain activity to protect our community."),
    2207052: (9004, "The media could not be fetched from this URI."),
}
"""Subcode -> code, words. Source: Instagram error codes, 2026-06."""
SCOPES = {
    "basic": {"instagram_business_basic", "instagram_basic"},
    "publish": {"instagram_business_content_publish", "instagram_content_publish"},
    "comments": {"instagram_business_manage_comments", "instagram_manage_comments"},
}
"""What calls need, by either login."""


class InstagramWords(Emulator):
    """How Graph says no."""

    name: ClassVar[str] = "instagram"
    title: ClassVar[str] = "Instagram"
    colour: ClassVar[str] = "#c13584"

    def graph(self, status: int, code: int, message: str, subcode: int | None = None) -> Response:
        """An error in Graph's shape."""
        error: dict[str, Any] = {"message": message, "type": "OAuthException", "code": code}
        if subcode is not None:
            error |= {"error_subcode": subcode, "is_transient": False, "error_user_msg": message}
        return json_response({"error": {**error, "fbtrace_id": self.world.next_id()}}, status)

    def no(self, subcode: int, more: str = "") -> RefusedError:
        """A documented refusal, to be raised: they all come with status 400."""
        code, words = MESSAGES[subcode]
        return RefusedError(self.graph(400, code, f"{words} {more}".strip(), subcode))

    def wrong(self, message: str) -> RefusedError:
        """A parameter that Graph does not take, to be raised."""
        return RefusedError(self.graph(400, 100, f"(#100) {message}"))

    def missing(self, what: str) -> RefusedError:
        """An object that is not there, or not for this token, to be raised."""
        message = f"Unsupported request. Object with ID '{what}' does not exist or cannot be loaded."
        return RefusedError(self.graph(400, 100, message, 33))

    def needs(self, account: Account, *wanted: str) -> None:
        """:raises RefusedError: the account's tokens were not given one of these permissions."""
        if account.scopes is not None and not all(SCOPES[name] & set(account.scopes) for name in wanted):
            raise self.refuse(403)

    def error(self, status: int, message: str = "") -> Response:
        if status in MESSAGES:
            code, words = MESSAGES[status]
            return self.graph(400, code, message or words, status)
        if status == 401:
            return self.graph(401, 190, message or "Error validating access token.")
        if status == 403:
            return self.graph(403, 10, message or "Application does not have permission for this action")
        if status == 429:
            # As the documented rows: told by its code, not by its status.
            return self.graph(400, 4, message or "(#4) Application request limit reached")
        if status >= 500:
            return self.graph(status, 2, message or "An unexpected error has occurred. Please retry later.")
        return self.graph(status, 100, message or "Invalid parameter")

    def limit_headers(self, limit: int, remaining: int, reset_at: float) -> Headers:
        minutes = 0 if remaining else max(1, round((reset_at - time.time()) / 60))
        used = 100 - (100 * remaining // limit if limit else 0)
        row = {"type": "instagram", "call_count": used, "total_cputime": 1, "total_time": 1}
        told = {"0": [{**row, "estimated_time_to_regain_access": minutes}]}
        return (("x-business-use-case-usage", json.dumps(told)),)

    def token_of(self, request: Request) -> str:
        """``access_token`` of the query or the form; ``OAuth`` on the upload host; Bearer is understood as well."""
        found = request.query().get("access_token")
        if not found and request.media_type == "application/x-www-form-urlencoded":
            found = request.form().get("access_token")
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        if not found and scheme.lower() in {"oauth", "bearer"}:
            found = value.strip()
        return found or ""

    def parameters(self, request: Request) -> dict[str, str]:
        """Of the query, the form and the JSON body together; without the token."""
        found: dict[str, str] = request.query()
        if request.media_type == "application/x-www-form-urlencoded":
            found |= request.form()
        elif request.media_type == "application/json" and request.body:
            body = self.json_body(request)
            if not isinstance(body, dict):
                raise self.wrong("The body is no JSON object.")
            found |= {name: value if isinstance(value, str) else json.dumps(value) for name, value in body.items()}
        found.pop("access_token", None)
        return found

    def mine(self, request: Request, account: Account) -> None:
        """:raises RefusedError: the path names another account."""
        if request.args["id"] != account.user_id:
            raise self.missing(request.args["id"])

    def picked(self, whole: dict[str, Any], parameters: dict[str, str]) -> dict[str, Any]:
        """The fields that were asked for, and the id. :raises RefusedError: there is no such field."""
        wanted = [field for field in parameters.get("fields", "id").split(",") if field]
        for field in wanted:
            if field not in whole:
                raise self.wrong(f"Tried accessing nonexisting field ({field})")
        return {"id": whole["id"]} | {field: whole[field] for field in wanted if whole[field] is not None}
