"""Statuses of the Mastodon emulator: posting with its idempotency key, reading, deleting."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any

from platforms.sandbox import mastodon_markdown, mastodon_text
from platforms.sandbox.accounts import Account
from platforms.sandbox.emulator import Route, signed_in
from platforms.sandbox.ledger import Picture, Post
from platforms.sandbox.mastodon_media import MastodonMedia
from platforms.sandbox.mastodon_text import length, tags
from platforms.sandbox.mastodon_words import GENERAL, MastodonWords, is_true, moment
from platforms.sandbox.wire import Request, Response, json_response

KEY_LIFE_S = 3600.0
VISIBILITIES = ("public", "unlisted", "private", "direct")
LONGEST_PAGE = 40
WRITE, READ = "write:statuses", "read:statuses"


class Statuses:
    """The calls around statuses."""

    def __init__(self, emulator: MastodonWords, media: MastodonMedia) -> None:
        self._mastodon = emulator
        self._world = emulator.world
        self._media = media
        self._keys: dict[str, dict[str, Post]] = {}
        """Account -> idempotency key -> what was made under it."""

    def routes(self) -> Sequence[Route]:
        base, one = "/api/v1/statuses", "/api/v1/statuses/{id}"
        account = "/api/v1/accounts/{id}/statuses"
        return (
            Route("POST", base, "create", "publish", self.create, GENERAL),
            Route("GET", one, "status", "read", self.show),
            Route("GET", f"{one}/source", "source", "read", self.source),
            Route("DELETE", one, "delete", "delete", self.delete, (30, 1800)),
            Route("GET", account, "account_statuses", "read", self.of_account, GENERAL),
        )

    # --- posting ---

    async def create(self, request: Request) -> Response:
        account = self._mastodon.in_scope(signed_in(request), WRITE)
        key = request.headers.get("idempotency-key", "")
        known = None if account.facts.get("ignores_idempotency_key") else self._known(account, key)
        if known is not None:
            return json_response(self.shown(known))
        body = self._mastodon.body(request)
        if "scheduled_at" in body:
            raise self._mastodon.refuse(422, "Validation failed: the sandbox does not schedule")
        text, warning = str(body.get("status") or ""), str(body.get("spoiler_text") or "")
        wanted = [str(media_id) for media_id in body.get("media_ids") or []]
        poll = self._poll(body.get("poll"), wanted)
        if not text.strip() and not wanted:
            raise self._mastodon.refuse(422, "Validation failed: Text can't be blank")
        most = self._mastodon.limits["max_characters"]
        if length(text) + length(warning) > most:
            raise self._mastodon.refuse(422, f"Validation failed: Text character limit of {most} exceeded")
        visibility = body.get("visibility") or account.facts.get("privacy", "public")
        if visibility not in VISIBILITIES:
            raise self._mastodon.refuse(422, "Validation failed: Visibility is not included in the list")
        parent = body.get("in_reply_to_id")
        if parent is not None and self._world.ledger.find("mastodon", str(parent)) is None:
            raise self._mastodon.refuse(404)
        files = self._media.take(account, wanted)
        fields: dict[str, Any] = {"visibility": visibility}
        fields |= {"warning": warning} if warning else {}
        fields |= {"poll": poll["options"]} if poll else {}
        fields |= {"reply_to": str(parent)} if parent is not None else {}
        private = {
            "key": key,
            "media": [media.media_id for media in files],
            "poll": poll,
            "sensitive": is_true(body.get("sensitive")) or bool(warning),
            "language": _language(body.get("language")),
        }
        pictures = [Picture(media.sha256, media.alt, media.mime, media.width, media.height) for media in files]
        post = Post(
            "mastodon", account.name, self._world.next_id(), text, pictures, time.time(), request.began_at, fields,
            private,
        )  # fmt: skip
        self._world.ledger.accept(post)
        for media in files:
            self._media.attach(media)
        if key:
            self._keys.setdefault(account.name, {})[key] = post
        return json_response(self.shown(post))

    def _known(self, account: Account, key: str) -> Post | None:
        """What was made under this key within the hour."""
        if not key:
            return None
        if account.name not in self._keys:
            # After a restart: the ledger has the keys of its posts.
            posts = self._world.ledger.newest_first("mastodon", account.name)
            self._keys[account.name] = {post.private["key"]: post for post in reversed(posts) if post.private["key"]}
        post = self._keys[account.name].get(key)
        if post is None or post.accepted_at < time.time() - KEY_LIFE_S or post.deleted_at is not None:
            return None
        return None if self._world.ledger.find("mastodon", post.remote_id) is None else post

    def _poll(self, wanted: Any, media: Sequence[str]) -> dict[str, Any] | None:
        if not wanted:
            return None
        limits = self._mastodon.limits
        options = [str(option) for option in wanted.get("options") or []] if isinstance(wanted, dict) else []
        seconds = str(wanted.get("expires_in", "")) if isinstance(wanted, dict) else ""
        problems = [
            ("can't have media beside a poll", bool(media)),
            ("Options must be between 2 and 4", not 2 <= len(options) <= limits["max_options"]),
            ("Options contain duplicate items", len(set(options)) != len(options)),
            (
                "Options are too long",
                any(not 0 < len(option) <= limits["max_characters_per_option"] for option in options),
            ),
            (
                "Expires at is out of bounds",
                not seconds.isdigit() or not limits["min_expiration"] <= int(seconds) <= limits["max_expiration"],
            ),
        ]
        for words, wrong in problems:
            if wrong:
                raise self._mastodon.refuse(422, f"Validation failed: {words}")
        return {"options": options, "ends_at": time.time() + int(seconds), "multiple": is_true(wanted.get("multiple"))}

    # --- reading ---

    async def show(self, request: Request) -> Response:
        return json_response(self.shown(self._post(request)))

    async def source(self, request: Request) -> Response:
        post = self._post(request)
        return json_response({"id": post.remote_id, "text": post.text, "spoiler_text": post.fields.get("warning", "")})

    async def delete(self, request: Request) -> Response:
        account = self._mastodon.in_scope(signed_in(request), WRITE)
        post = self._post(request)
        if post.account != account.name:
            raise self._mastodon.refuse(404)
        self._world.ledger.delete(post)
        return json_response({**self.shown(post), "text": post.text})

    async def of_account(self, request: Request) -> Response:
        owner = self._world.accounts.by_user_id("mastodon", request.args["id"])
        if owner is None:
            raise self._mastodon.refuse(404)
        query = request.query()
        own = owner is self._mastodon.in_scope(signed_in(request), READ)
        size = query.get("limit", "20")
        posts = [
            post
            for post in self._world.ledger.newest_first("mastodon", owner.name, lag_s=request.read_lag_s)
            if (own or post.fields["visibility"] in {"public", "unlisted"})
            and _within(int(post.remote_id), query)
            and not (query.get("exclude_replies") == "true" and "reply_to" in post.fields)
        ]
        most = min(int(size), LONGEST_PAGE) if size.isdigit() else 20
        return json_response([self.shown(post) for post in posts[:most]])

    def _post(self, request: Request) -> Post:
        post = self._world.ledger.find("mastodon", request.args["id"])
        account = self._mastodon.in_scope(signed_in(request), READ)
        own = post is not None and post.account == account.name
        if post is None or (not own and post.fields["visibility"] not in {"public", "unlisted"}):
            raise self._mastodon.refuse(404)
        return post

    def shown(self, post: Post) -> dict[str, Any]:
        """A status as answers show it."""
        account = self._world.accounts.ensure("mastodon", post.account)
        origin = self._world.url
        files = [self._world.media.get("mastodon", media_id) for media_id in post.private["media"]]
        return {
            "id": post.remote_id,
            "created_at": moment(post.accepted_at),
            "in_reply_to_id": post.fields.get("reply_to"),
            "in_reply_to_account_id": None,
            "sensitive": post.private["sensitive"],
            "spoiler_text": post.fields.get("warning", ""),
            "visibility": post.fields["visibility"],
            "language": post.private["language"],
            "uri": f"{origin}/users/{account.username}/statuses/{post.remote_id}",
            "url": f"{origin}/@{account.username}/{post.remote_id}",
            "replies_count": 0,
            "reblogs_count": 0,
            "favourites_count": 0,
            "quotes_count": 0,
            "edited_at": None,
            "content": (mastodon_markdown if self._mastodon.renders_markdown else mastodon_text).as_html(
                post.text, origin
            ),
            "reblog": None,
            "application": {"name": "SchedulerX", "website": None},
            "account": self._mastodon.shown_account(account),
            "media_attachments": [self._media.shown(media) for media in files if media is not None],
            "mentions": [],
            "tags": [{"name": tag, "url": f"{origin}/tags/{tag}"} for tag in tags(post.text)],
            "emojis": [],
            "card": None,
            "poll": self._shown_poll(post),
        }

    def _shown_poll(self, post: Post) -> dict[str, Any] | None:
        poll = post.private["poll"]
        if poll is None:
            return None
        return {
            "id": post.remote_id,
            "expires_at": moment(poll["ends_at"]),
            "expired": poll["ends_at"] < time.time(),
            "multiple": poll["multiple"],
            "votes_count": 0,
            "voters_count": 0,
            "options": [{"title": title, "votes_count": 0} for title in poll["options"]],
            "emojis": [],
        }


def _language(wanted: Any) -> str:
    """The language of a status: what is no code of one is not refused, the server takes its own then.

    Source: Mastodon's server source, PostStatusService (valid_locale_cascade), 2026.
    """
    return wanted if isinstance(wanted, str) and re.fullmatch(r"[a-z]{2,3}(-[A-Z]{2})?", wanted) else "en"


def _within(number: int, query: dict[str, str]) -> bool:
    """Whether an id is in what the query asks for."""
    above = max((int(query[name]) for name in ("since_id", "min_id") if query.get(name, "").isdigit()), default=-1)
    below = query.get("max_id", "")
    return number > above and not (below.isdigit() and number >= int(below))
