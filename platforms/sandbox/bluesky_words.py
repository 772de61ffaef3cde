"""What the files of the Bluesky emulator share: names, errors, limits, and the page of a post."""

from __future__ import annotations

import base64
import hashlib
import time
from datetime import UTC, datetime
from html import escape
from typing import Any, ClassVar

from platforms.sandbox.accounts import Account
from platforms.sandbox.emulator import Emulator, Headers, RefusedError
from platforms.sandbox.ledger import Post
from platforms.sandbox.page import POLICY, STYLE
from platforms.sandbox.wire import Request, Response, json_response

HOST = "sandbox.us-east.host.bsky.network"
"""Named as the host that keeps the accounts; clients that were pointed at the sandbox send that here too."""
RECORD_JSON, OTHER_JSON = 1_000_000, 150 * 1024
"""Bytes of a request's JSON: where it brings records, and elsewhere. Source: atproto reference PDS, 2026-08."""
_WITH_RECORDS = ("/xrpc/com.atproto.repo.putRecord", "/xrpc/com.atproto.repo.createRecord")


def did_of(account: Account) -> str:
    """The account's DID: the same for the same name, also after a reset."""
    digest = hashlib.sha256(f"bluesky/{account.name}".encode()).digest()
    return "did:plc:" + base64.b32encode(digest).decode().lower()[:24]


def handle_of(account: Account) -> str:
    """The account's handle."""
    name = account.username.replace("_", "-").lower()
    return name if "." in name else f"{name}.bsky.social"


def rkey_of(post: Post) -> str:
    """The last part of a post's address."""
    return post.remote_id.rsplit("/", 1)[1]


def moment(at: float | None = None) -> str:
    """A time as the protocol writes it."""
    shown = datetime.fromtimestamp(time.time() if at is None else at, UTC)
    return shown.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class BlueskyWords(Emulator):
    """How Bluesky says no, and who is who."""

    name: ClassVar[str] = "bluesky"
    title: ClassVar[str] = "Bluesky"
    colour: ClassVar[str] = "#0a66e0"

    def error(self, status: int, message: str = "") -> Response:
        # An access token that is not good (any more) is a 400 here.
        names = {
            400: ("InvalidRequest", "The request is not valid."),
            401: ("ExpiredToken", "Token has expired"),
            402: ("PaymentRequired", "Payment Required"),
            403: ("Forbidden", "Forbidden"),
            404: ("NotFound", "Not Found"),
            413: ("PayloadTooLarge", "request entity too large"),
            415: ("InvalidRequest", "Wrong request encoding (Content-Type)"),
            429: ("RateLimitExceeded", "Rate Limit Exceeded"),
            501: ("MethodNotImplemented", "Method Not Implemented"),
            502: ("UpstreamFailure", "Upstream Failure"),
        }
        name, words = names.get(status, ("InternalServerError", "Internal Server Error"))
        return json_response({"error": name, "message": message or words}, 400 if status == 401 else status)

    def json_body(self, request: Request) -> Any:
        """:raises RefusedError: it is too large, not JSON, or does not say that it is."""
        if len(request.body) > (RECORD_JSON if request.path in _WITH_RECORDS else OTHER_JSON):
            raise self.refuse(413)
        return super().json_body(request)

    def named(self, status: int, name: str, message: str) -> RefusedError:
        """An error of a given name, to be raised."""
        return RefusedError(json_response({"error": name, "message": message}, status))

    def limit_headers(self, limit: int, remaining: int, reset_at: float) -> Headers:
        seconds = max(1, round(reset_at - time.time()))
        return (
            ("ratelimit-limit", str(limit)),
            ("ratelimit-remaining", str(remaining)),
            ("ratelimit-reset", str(int(reset_at) + 1)),
            ("ratelimit-policy", f"{limit};w={seconds}"),
        )

    def link(self, post: Post) -> str:
        account = self.world.accounts.ensure("bluesky", post.account)
        return f"/profile/{handle_of(account)}/post/{rkey_of(post)}"

    def facts(self, account: Account) -> dict[str, Any]:
        return {"did": did_of(account), "handle": handle_of(account)}

    def owner(self, repo: str) -> Account | None:
        """The account of a DID or a handle."""
        for account in self.world.accounts.all():
            if account.platform == "bluesky" and repo in {did_of(account), handle_of(account)}:
                return account
        return None

    async def post_page(self, request: Request) -> Response:
        """What people see under the post's own link."""
        account = self.owner(request.args["name"])
        uri = f"at://{did_of(account)}/app.bsky.feed.post/{request.args['rkey']}" if account else ""
        post = self.world.ledger.find("bluesky", uri)
        if account is None or post is None:
            return _page("Not here", '<p class="empty">There is no such post, or it was deleted.</p>', 404)
        figures = "".join(
            f'<figure><img src="/_sandbox/blob/{picture.sha256}" alt="{escape(picture.alt)}">'
            f"<figcaption>{escape(picture.alt)}</figcaption></figure>"
            for picture in post.pictures
        )
        shown = datetime.fromtimestamp(post.accepted_at, UTC)
        body = (
            f'<main class="one"><section><h2><span class="who">{escape(account.display_name)}'
            f"<small>@{escape(handle_of(account))}</small></span>"
            f'<span class="tag" style="background:{self.colour}">Bluesky</span></h2>'
            f"<article><p>{escape(post.text)}</p>"
            f'<div class="pictures n{len(post.pictures)}">{figures}</div>'
            f'<div class="foot">{shown:%Y-%m-%d %H:%M:%S} UTC</div></article></section></main>'
        )
        return _page(f"Bluesky: {account.display_name}", body)


def _page(title: str, body: str, status: int = 200) -> Response:
    html = (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>{body}</body></html>"
    )
    return Response(status, html.encode(), "text/html; charset=utf-8", (POLICY, ("cache-control", "no-store")))
