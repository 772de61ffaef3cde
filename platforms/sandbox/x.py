"""X API v2 as its contract says: posts, reads, tokens. Uploads are in ``x_media``."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any, ClassVar

from platforms.sandbox.accounts import Account
from platforms.sandbox.emulator import Emulator, Headers, RefusedError, Route, World, signed_in
from platforms.sandbox.ledger import Picture, Post
from platforms.sandbox.media_store import Media
from platforms.sandbox.oauth_apps import basic_of
from platforms.sandbox.shape import Fields, Flag, Many, MismatchError, Text, Whole
from platforms.sandbox.wire import Request, Response, json_response
from platforms.sandbox.x_media import ID, VIDEO_LONGEST_S, XMedia, media_key
from platforms.sandbox.x_oauth1 import SECRET, claimed_token, is_signed
from platforms.sandbox.x_reads import PROBLEMS, QUARTER_S, XReads
from platforms.sandbox.x_text import LIMIT, LIMIT_PREMIUM, REFUSED_CHARACTERS, cashtags, stored, weighted_length

PROBLEM = "application/problem+json"
SCOPES = "tweet.read tweet.write users.read media.write offline.access"
ACCESS_LIFE_S = 7200.0
DAY_S = 86_400.0
APP_POSTS_A_DAY = 10_000
"""Of all accounts together. Source: X API v2 rate limit table, POST /2/tweets, 2026-08."""
WEEKS_26_S = 26 * 7 * 86400.0

_AUDIENCE = Text(one_of=("following", "mentionedUsers", "subscribers", "verified"))
_ACTION = Fields({"url": Text()}, required=("url",))
CREATE = Fields(
    {
        "text": Text(),
        "media": Fields(
            {
                "media_ids": Many(ID, 1, 4),
                "tagged_user_ids": Many(ID, 0, 10),
                "title": Text(),
                "description": Text(),
                "embeddable": Flag(),
                "preview_media_id": ID,
                "call_to_actions": Fields({"visit_site": _ACTION, "watch_now": _ACTION}),
            },
            required=("media_ids",),
        ),
        "reply": Fields(
            {
                "in_reply_to_tweet_id": ID,
                "exclude_reply_user_ids": Many(Text()),
                "auto_populate_reply_metadata": Flag(),
            },
            required=("in_reply_to_tweet_id",),
        ),
        "poll": Fields(
            {
                "options": Many(Text(low=1, high=25), 2, 4),
                "duration_minutes": Whole(5, 10080),
                "reply_settings": _AUDIENCE,
            },
            required=("options", "duration_minutes"),
        ),
        "quote_tweet_id": ID,
        "reply_settings": _AUDIENCE,
        "community_id": ID,
        "share_with_followers": Flag(),
        "for_super_followers_only": Flag(),
        "geo": Fields({"place_id": Text()}, required=("place_id",)),
        "made_with_ai": Flag(),
        "paid_partnership": Flag(),
        "nullcast": Flag(),
        "card_uri": Text(),
        "direct_message_deep_link": Text(),
        "edit_options": Fields({"previous_post_id": ID}, required=("previous_post_id",)),
    }
)


class X(Emulator):
    """X."""

    name: ClassVar[str] = "x"
    title: ClassVar[str] = "X"
    colour: ClassVar[str] = "#0f1419"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.media = XMedia(self)
        self.reads = XReads(self)

    def routes(self) -> Sequence[Route]:
        write = ("tweet.read", "tweet.write", "users.read")
        return (
            Route("POST", "/2/tweets", "create", "publish", self.create, (100, QUARTER_S), write),
            Route("DELETE", "/2/tweets/{id}", "delete", "delete", self.delete, (50, QUARTER_S), write),
            Route("POST", "/2/oauth2/token", "token", "token", self.token, signed=False),
            Route("POST", "/2/oauth2/revoke", "revoke", "token", self.revoke, signed=False),
            *self.reads.routes(),
            *self.media.routes(),
        )

    # --- the platform's words ---

    def error(self, status: int, message: str = "") -> Response:
        kinds = {
            400: ("Invalid Request", f"{PROBLEMS}invalid-request", "One or more parameters was invalid."),
            401: ("Unauthorized", "about:blank", "Unauthorized"),
            402: (
                "CreditsDepleted",
                f"{PROBLEMS}credits",
                "Your enrolled account does not have any credits to fulfill this request.",
            ),
            403: ("Forbidden", "about:blank", "You are not permitted to perform this action."),
            404: ("Not Found Error", f"{PROBLEMS}resource-not-found", "Could not find the resource."),
            429: ("Too Many Requests", f"{PROBLEMS}rate-limit-exceeded", "Too Many Requests"),
            500: ("Internal Server Error", "about:blank", "Something is broken."),
            503: ("Service Unavailable", "about:blank", "Service Unavailable"),
        }
        title, kind, detail = kinds.get(status, ("Error", "about:blank", "Something went wrong."))
        body: dict[str, Any] = {"title": title, "detail": message or detail, "type": kind, "status": status}
        if status == 400 and message:
            body["errors"] = [{"message": message}]
            body["detail"] = "One or more parameters to your request was invalid."
        if status == 404:
            body["resource_type"] = "tweet"
        return json_response(body, status, content_type=PROBLEM)

    def limit_headers(self, limit: int, remaining: int, reset_at: float) -> Headers:
        # Rounded up, as a client that waits until then must not be early.
        reset = int(reset_at) + 1
        return (
            ("x-rate-limit-limit", str(limit)),
            ("x-rate-limit-remaining", str(remaining)),
            ("x-rate-limit-reset", str(reset)),
        )

    def link(self, post: Post) -> str:
        return f"/x/status/{post.remote_id}"

    def update_account(self, account: Account, wanted: dict[str, Any]) -> None:
        if "premium" in wanted:
            account.facts["premium"] = bool(wanted.pop("premium"))
        for name in ("consumer_secret", "token_secret"):
            if name in wanted:
                account.facts[name] = str(wanted.pop(name))

    def token_of(self, request: Request) -> str:
        """A Bearer token, or the token of a rightly signed OAuth 1.0a request."""
        token = claimed_token(request)
        if not token:
            return super().token_of(request)
        holder = self.world.accounts.holder("x", token)
        facts = {} if holder is None else holder.facts
        secrets = (facts.get("consumer_secret", SECRET), facts.get("token_secret", SECRET))
        return token if is_signed(request, ("https://api.x.com", self.world.url), *secrets) else ""

    # --- posts ---

    async def create(self, request: Request) -> Response:
        account = signed_in(request)
        self._check_the_day()
        body = self.json_body(request)
        try:
            CREATE.check(body)
        except MismatchError as error:
            raise self.refuse(400, str(error)) from None
        text: str = body.get("text", "")
        attached = self._attached(request, body)
        self._check_content(account, body, text, attached)
        post_id = self.world.next_id()
        keys = [media_key(media) for media in attached]
        wrapped, urls = stored(text, post_id, account.username, keys)
        fields: dict[str, Any] = {}
        private: dict[str, Any] = {
            "text": wrapped,
            "urls": urls,
            "media_keys": keys,
            "conversation_id": post_id,
        }
        private["media_ids"] = [media.media_id for media in attached]
        if "reply" in body:
            parent = self._referenced(body["reply"]["in_reply_to_tweet_id"])
            fields["reply_to"] = parent.remote_id
            private["conversation_id"] = parent.private["conversation_id"]
        if "poll" in body:
            fields["poll"] = body["poll"]["options"]
        if "reply_settings" in body:
            private["reply_settings"] = body["reply_settings"]
        pictures = [Picture(item.sha256, item.alt, item.mime, item.width, item.height) for item in attached]
        post = Post("x", account.name, post_id, text, pictures, time.time(), request.began_at, fields, private)
        self.world.ledger.accept(post)
        data = {"id": post_id, "text": wrapped, "edit_history_tweet_ids": [post_id]}
        return json_response({"data": data}, 201)

    def _check_the_day(self) -> None:
        """:raises RefusedError: the app has made its posts of a day, on whichever accounts."""
        if not self.world.settings.enforce_limits:
            return
        since = time.time() - DAY_S
        made = [post.accepted_at for post in self.world.ledger.accepted("x") if post.accepted_at >= since]
        if len(made) < APP_POSTS_A_DAY:
            return
        response = self.error(429)
        told = {"limit": APP_POSTS_A_DAY, "remaining": 0, "reset": int(min(made) + DAY_S) + 1}
        response.headers = (*response.headers, *((f"x-app-limit-24hour-{name}", str(of)) for name, of in told.items()))
        raise RefusedError(response)

    def _attached(self, request: Request, body: dict[str, Any]) -> list[Media]:
        wanted: list[str] = body.get("media", {}).get("media_ids", [])
        found = [self.media.usable(request, media_id) for media_id in wanted]
        if len(set(wanted)) != len(wanted) or any(media is None for media in found):
            response = self.error(400)
            problem = json.loads(response.body)
            problem["errors"] = [{"parameters": {"media.media_ids": wanted}, "message": "Your media IDs are invalid."}]
            response.body = json.dumps(problem).encode()
            raise RefusedError(response)
        return [media for media in found if media is not None]

    def _check_content(self, account: Account, body: dict[str, Any], text: str, attached: Sequence[Media]) -> None:
        """:raises RefusedError: the content is against X's rules."""
        exclusive = [name for name in ("media", "poll", "quote_tweet_id", "card_uri") if name in body]
        if len(exclusive) > 1:
            raise self.refuse(400, f"{' and '.join(exclusive)} are mutually exclusive.")
        if not text.strip() and not attached:
            raise self.refuse(400, "$.text: is missing but it is required")
        if not set(REFUSED_CHARACTERS).isdisjoint(text):
            raise self.refuse(403, "The text contains an invalid character.")
        # What self-serve access lost in 2026 (X API changelog).
        if "quote_tweet_id" in body:
            raise self.refuse(403, "Quoting is not permitted with your access.")
        if cashtags(text) > 1:
            raise self.refuse(403, "A post can have one cashtag.")
        limit = LIMIT_PREMIUM if account.facts.get("premium") else LIMIT
        if weighted_length(text) > limit:
            raise self.refuse(403)
        moving = [media for media in attached if media.is_video or media.category == "tweet_gif"]
        if moving and len(attached) > 1:
            raise self.refuse(400, "Either up to 4 photos, or 1 GIF, or 1 video can be attached.")
        if any(media.duration_s > VIDEO_LONGEST_S for media in attached) and not account.facts.get("premium"):
            raise self.refuse(403, "You are not allowed to post a video longer than 2 minutes.")
        if self.world.settings.refuse_duplicates and not attached:
            oldest = time.time() - self.world.settings.duplicate_window_s
            for post in self.world.ledger.newest_first("x", account.name):
                if post.accepted_at >= oldest and post.text == text and not post.pictures:
                    raise self.refuse(403, "You are not allowed to create a Tweet with duplicate content.")

    def _referenced(self, post_id: str) -> Post:
        post = self.world.ledger.find("x", post_id)
        if post is None:
            raise self.refuse(404, f"Could not find tweet with id: [{post_id}].")
        return post

    async def delete(self, request: Request) -> Response:
        post = self._referenced(request.args["id"])
        if post.account != signed_in(request).name:
            raise self.refuse(403, "You are not authorized to delete this Tweet.")
        self.world.ledger.delete(post)
        return json_response({"data": {"deleted": True}})

    # --- tokens ---

    async def token(self, request: Request) -> Response:
        form = request.form()
        if request.media_type != "application/x-www-form-urlencoded":
            return self._oauth_error(400, "invalid_request", "The body has to be a form.")
        basic = request.headers.get("authorization", "").lower().startswith("basic ")
        if not basic and not form.get("client_id"):
            return self._oauth_error(401, "unauthorized_client", "Missing valid authorization header")
        account: Account | None
        codes: list[str] = []  # the tokens that came of a code die with it, if it comes again

        if form.get("grant_type") == "refresh_token":
            account = self._spent(form.get("refresh_token", ""))
            if account is None:
                return self._oauth_error(400, "invalid_request", "Value passed for the token was invalid.")
        elif form.get("grant_type") == "authorization_code":
            name, secret = basic_of(request.headers.get("authorization", ""))
            app = self.world.apps.get("x", name or form.get("client_id", ""))
            if app is None or app.client_secret != (secret or None):
                return self._oauth_error(401, "unauthorized_client", "Missing valid authorization header")
            grant = self.world.apps.redeem("x", form, app.client_id, self.world.accounts)
            if isinstance(grant, str):
                text = f"Value passed for the authorization code was invalid: {grant}."
                return self._oauth_error(400, "invalid_request", text)
            account, codes = self.world.accounts.ensure("x", grant.account), grant.tokens
        else:
            return self._oauth_error(400, "unsupported_grant_type", "The grant_type is not supported.")
        life_s = self.world.settings.token_life_s or ACCESS_LIFE_S
        access = self.world.accounts.issue(account, expires_in_s=life_s)
        answer: dict[str, Any] = {
            "token_type": "bearer",
            "expires_in": int(life_s),
            "access_token": access.value,
            "scope": SCOPES if account.scopes is None else " ".join(account.scopes),
        }
        if account.scopes is None or "offline.access" in account.scopes:
            refresh = self.world.accounts.issue(account, refresh=True, expires_in_s=WEEKS_26_S)
            answer["refresh_token"] = refresh.value
        codes += [value for name, value in answer.items() if name.endswith("_token")]
        return json_response(answer)

    def _spent(self, value: str) -> Account | None:
        """Exchanges a refresh token; a second exchange of the same one kills every token of the account."""
        token = self.world.accounts.refresh_token("x", value)
        if token is None:
            return None
        account = self.world.accounts.ensure("x", token.account)
        if not self.world.accounts.good(token):
            self.world.accounts.revoke(account)
            return None
        self.world.accounts.spend(token)
        return account

    async def revoke(self, request: Request) -> Response:
        value = request.form().get("token", "")
        account = self.world.accounts.holder("x", value)
        token = self.world.accounts.refresh_token("x", value)
        if account is None and token is None:
            return self._oauth_error(400, "invalid_request", "Value passed for the token was invalid.")
        self.world.accounts.revoke(account or self.world.accounts.ensure("x", token.account if token else ""))
        return json_response({"revoked": True})

    def _oauth_error(self, status: int, error: str, description: str) -> Response:
        return json_response({"error": error, "error_description": description}, status)
