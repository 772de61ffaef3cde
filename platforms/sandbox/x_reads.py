"""X's reads: who am I, one post, several posts, a user's timeline."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from platforms.sandbox.emulator import Emulator, Route, signed_in
from platforms.sandbox.ledger import Post
from platforms.sandbox.wire import Request, Response, json_response
from platforms.sandbox.x_media import media_key

PROBLEMS = "https://api.x.com/2/problems/"
QUARTER_S = 900
READ_PARAMETERS = frozenset(
    {
        "tweet.fields", "post.fields", "expansions", "media.fields", "user.fields",
        "poll.fields", "place.fields",
    }
)  # fmt: skip
TIMELINE_PARAMETERS = READ_PARAMETERS | {
    "max_results", "pagination_token", "start_time", "end_time", "since_id", "until_id", "exclude",
}  # fmt: skip
POST_FIELDS = frozenset(
    {
        "article", "article_title", "attachments", "author_id", "card_uri", "community_id",
        "context_annotations", "conversation_id", "created_at", "display_text_range", "edit_controls",
        "edit_history_tweet_ids", "entities", "geo", "id", "in_reply_to_user_id", "lang",
        "non_public_metrics", "note_tweet", "organic_metrics", "paid_partnership", "possibly_sensitive",
        "promoted_metrics", "public_metrics", "referenced_tweets", "reply_settings", "scopes", "source",
        "text", "withheld",
    }
)  # fmt: skip
"""In the spelling of the guides; the OpenAPI says post where they say tweet, and both are understood."""
METRICS = (
    "retweet_count", "reply_count", "like_count", "quote_count", "bookmark_count", "impression_count",
)  # fmt: skip


class XReads:
    """The reading calls of the X emulator."""

    def __init__(self, emulator: Emulator) -> None:
        self._x = emulator
        self._world = emulator.world

    def routes(self) -> Sequence[Route]:
        read = ("tweet.read", "users.read")
        return (
            Route("GET", "/2/tweets", "lookup", "read", self.lookup, (5000, QUARTER_S), read),
            Route("GET", "/2/tweets/{id}", "get", "read", self.get, (900, QUARTER_S), read),
            Route("GET", "/2/users/{id}/tweets", "timeline", "read", self.timeline, (900, QUARTER_S), read),
            Route("GET", "/2/users/me", "me", "account", self.me, (75, QUARTER_S), read),
        )

    async def me(self, request: Request) -> Response:
        account = signed_in(request)
        self._known_query(request, frozenset({"user.fields", "expansions", "tweet.fields", "post.fields"}))
        wanted = set(request.query().get("user.fields", "").split(","))
        premium = bool(account.facts.get("premium"))
        optional = {
            "verified": premium,
            "verified_type": "blue" if premium else "none",
            "subscription_type": "Premium" if premium else "None",
            "profile_image_url": f"{self._world.url}/_sandbox/avatar/x/{account.name}.svg",
            "protected": False,
        }
        data = {"id": account.user_id, "name": account.display_name, "username": account.username}
        shown = {name: value for name, value in optional.items() if name in wanted}
        return json_response({"data": {**data, **shown}})

    async def get(self, request: Request) -> Response:
        self._known_query(request, READ_PARAMETERS)
        return self._answer_ids(request, [request.args["id"]], single=True)

    async def lookup(self, request: Request) -> Response:
        self._known_query(request, READ_PARAMETERS | {"ids"})
        ids = [word for word in request.query().get("ids", "").split(",") if word]
        if not 1 <= len(ids) <= 100 or not all(word.isdigit() for word in ids):
            raise self._x.refuse(400, "The `ids` query parameter needs 1 to 100 ids.")
        return self._answer_ids(request, ids, single=False)

    def _answer_ids(self, request: Request, ids: Sequence[str], *, single: bool) -> Response:
        shown_until = time.time() - request.read_lag_s
        posts, errors = [], []
        for post_id in ids:
            post = self._world.ledger.find("x", post_id)
            if post is not None and post.accepted_at <= shown_until:
                posts.append(post)
                continue
            errors.append(
                {
                    "value": post_id,
                    "detail": f"Could not find tweet with id: [{post_id}].",
                    "title": "Not Found Error",
                    "resource_type": "tweet",
                    "parameter": "id" if single else "ids",
                    "resource_id": post_id,
                    "type": f"{PROBLEMS}resource-not-found",
                }
            )
        answer = self._shown(request, posts)
        if single and posts:
            answer["data"] = answer["data"][0]
        if errors:
            answer["errors"] = errors
        return json_response(answer)

    async def timeline(self, request: Request) -> Response:
        self._known_query(request, TIMELINE_PARAMETERS)
        query = request.query()
        owner = self._world.accounts.by_user_id("x", request.args["id"])
        if owner is None:
            raise self._x.refuse(404, f"Could not find user with id: [{request.args['id']}].")
        size = query.get("max_results", "10")
        if not size.isdigit() or not 5 <= int(size) <= 100:
            raise self._x.refuse(400, f"The `max_results` query parameter value [{size}] is not between 5 and 100")
        posts = self._selected(query, self._world.ledger.newest_first("x", owner.name, lag_s=request.read_lag_s))
        page = posts[: int(size)]
        answer = self._shown(request, page)
        meta: dict[str, Any] = {"result_count": len(page)}
        if page:
            meta |= {"newest_id": page[0].remote_id, "oldest_id": page[-1].remote_id}
        if len(posts) > len(page):
            meta["next_token"] = base64.b32encode(page[-1].remote_id.encode()).decode().lower().rstrip("=")
        return json_response({**answer, "meta": meta})

    def _selected(self, query: dict[str, str], posts: list[Post]) -> list[Post]:
        """What of ``posts`` (newest first) the query asks for."""
        since = self._moment(query, "start_time")
        until = self._moment(query, "end_time")
        below = int(query["until_id"]) if query.get("until_id", "").isdigit() else None
        above = int(query["since_id"]) if query.get("since_id", "").isdigit() else None
        if token := query.get("pagination_token"):
            try:
                last = int(base64.b32decode(token.upper() + "=" * (-len(token) % 8)))
            except ValueError:
                raise self._x.refuse(400, "The `pagination_token` query parameter is not valid") from None
            below = last if below is None else min(below, last)
        no_replies = "replies" in query.get("exclude", "").split(",")
        return [
            post
            for post in posts
            if (since is None or post.accepted_at >= since)
            and (until is None or post.accepted_at < until)
            and (below is None or int(post.remote_id) < below)
            and (above is None or int(post.remote_id) > above)
            and not (no_replies and "reply_to" in post.fields)
        ]

    def _moment(self, query: dict[str, str], name: str) -> float | None:
        text = query.get(name)
        if text is None:
            return None
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            moment = datetime.min  # noqa: DTZ901 (without a zone, so that the next line refuses it)
        if moment.tzinfo is None:
            raise self._x.refuse(400, f"Invalid '{name}':'{text}'. It is an RFC 3339 date-time.")
        return moment.timestamp()

    def _known_query(self, request: Request, known: frozenset[str]) -> None:
        for name in request.query():
            if name not in known:
                expected = ",".join(sorted(known))
                raise self._x.refuse(400, f"The query parameter [{name}] is not one of [{expected}]")
        for name in ("tweet.fields", "post.fields"):
            for word in filter(None, request.query().get(name, "").split(",")):
                if word.replace("_post", "_tweet") not in POST_FIELDS:
                    raise self._x.refuse(400, f"The `{name}` query parameter value [{word}] is not known")

    def _shown(self, request: Request, posts: Sequence[Post]) -> dict[str, Any]:
        """``data`` and ``includes`` of a read."""
        query = request.query()
        asked = f"{query.get('tweet.fields', '')},{query.get('post.fields', '')}"
        fields = set(asked.replace("_post", "_tweet").split(","))
        expansions = set(query.get("expansions", "").split(","))
        answer: dict[str, Any] = {}
        if posts:
            answer["data"] = [self._post(post, fields) for post in posts]
        includes: dict[str, Any] = {}
        if "attachments.media_keys" in expansions:
            wanted = set(query.get("media.fields", "").split(","))
            media = {media_id: None for post in posts for media_id in post.private["media_ids"]}
            rows = [self._media(media_id, wanted) for media_id in media]
            includes["media"] = [row for row in rows if row]
            for row, post in zip(answer.get("data", ()), posts, strict=False):
                if post.private["media_keys"]:
                    row["attachments"] = {"media_keys": post.private["media_keys"]}
        if "referenced_posts" in expansions:
            # As the OpenAPI has it; the guides name it a field, ``referenced_tweets``.
            for row, post in zip(answer.get("data", ()), posts, strict=False):
                if "reply_to" in post.fields:
                    row["referenced_posts"] = [{"type": "replied_to", "id": post.fields["reply_to"]}]
        if "author_id" in expansions:
            names = {post.account: None for post in posts}
            accounts = [self._world.accounts.ensure("x", name) for name in names]
            includes["users"] = [{"id": a.user_id, "name": a.display_name, "username": a.username} for a in accounts]
        if any(includes.values()):
            answer["includes"] = {name: rows for name, rows in includes.items() if rows}
        return answer

    def _post(self, post: Post, fields: set[str]) -> dict[str, Any]:
        private = post.private
        account = self._world.accounts.ensure("x", post.account)
        moment = datetime.fromtimestamp(post.accepted_at, UTC)
        optional: dict[str, Any] = {
            "author_id": account.user_id,
            "conversation_id": private["conversation_id"],
            "created_at": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "lang": "en",
            "possibly_sensitive": False,
            "reply_settings": private.get("reply_settings", "everyone"),
            "public_metrics": dict.fromkeys(METRICS, 0),
        }
        if private["media_keys"]:
            optional["attachments"] = {"media_keys": private["media_keys"]}
        if private["urls"]:
            optional["entities"] = {"urls": private["urls"]}
        if "reply_to" in post.fields:
            optional["referenced_tweets"] = [{"type": "replied_to", "id": post.fields["reply_to"]}]
        shown = {name: value for name, value in optional.items() if name in fields}
        history = [post.remote_id]
        return {"id": post.remote_id, "text": private["text"], "edit_history_tweet_ids": history, **shown}

    def _media(self, media_id: str, wanted: set[str]) -> dict[str, Any]:
        media = self._world.media.get("x", media_id)
        if media is None:
            return {}
        kind = "video" if media.is_video else "animated_gif" if media.category == "tweet_gif" else "photo"
        optional: dict[str, Any] = {"width": media.width, "height": media.height}
        if kind == "photo":
            optional["url"] = f"{self._world.url}/_sandbox/blob/{media.sha256}"
        if media.alt:
            optional["alt_text"] = media.alt
        shown = {name: value for name, value in optional.items() if name in wanted}
        return {"media_key": media_key(media), "type": kind, **shown}
