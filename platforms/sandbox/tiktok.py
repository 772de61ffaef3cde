"""TikTok's Content Posting API v2 as its contract says: who posts, what is begun, tokens. Jobs are in ``tiktok_jobs``.

Where it differs on purpose: media are pulled from loopback addresses over http (TikTok: https, from a verified domain),
unknown fields are refused (TikTok does not say), and the caps of a day are enforced only with ``enforce_limits``.

What TikTok does not say, or does only now and then, is a fact of the account (``box.account("tiktok", name, ...)``):
``finished_upload`` (403, 404 or 416: what a chunk for a finished upload is answered), ``moderation_s`` (how long after
it is complete a public post has no id and is in no list), ``fail_reason`` (what every post ends with from now on;
empty: none), ``private_account``, ``audited``. A status that lags is the fault ``read_lag`` on ``tiktok.status``; an
upload host that refuses is ``html_error_page`` with that status on ``tiktok.upload``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any, ClassVar

from platforms.sandbox.accounts import Account
from platforms.sandbox.emulator import Emulator, Headers, RefusedError, Route, World, signed_in
from platforms.sandbox.ledger import Post
from platforms.sandbox.shape import Fields, Flag, Many, MismatchError, Text, Whole
from platforms.sandbox.tiktok_jobs import FAIL_REASONS, FINISHED, PUBLISH, TikTokJobs
from platforms.sandbox.wire import Request, Response, json_response

SCOPES = "user.info.basic,user.info.profile,user.info.stats,video.publish,video.upload,video.list"
ACCESS_LIFE_S = 7_200.0
REFRESH_LIFE_S = 180 * 86_400.0
LEVELS = ("PUBLIC_TO_EVERYONE", "MUTUAL_FOLLOW_FRIENDS", "FOLLOWER_OF_CREATOR", "SELF_ONLY")
OFFERED = ("PUBLIC_TO_EVERYONE", "MUTUAL_FOLLOW_FRIENDS", "SELF_ONLY")
OFFERED_TO_PRIVATE = ("FOLLOWER_OF_CREATOR", "MUTUAL_FOLLOW_FRIENDS", "SELF_ONLY")
POSTS_A_DAY = 15
PENDING_SHARES = 5
UNAUDITED_USERS = 5
"""How many creators may post in 24 hours by an app that was not audited."""
CREATOR_FACTS = (
    "privacy_level_options", "comment_disabled", "duet_disabled", "stitch_disabled", "max_video_post_duration_sec",
    "audited", "private_account", "finished_upload", "moderation_s", "fail_reason",
)  # fmt: skip

_FLAGS = ("brand_content_toggle", "brand_organic_toggle", "disable_comment")
_SOURCE = Fields(
    {
        "source": Text(one_of=("FILE_UPLOAD", "PULL_FROM_URL")),
        "video_size": Whole(1),
        "chunk_size": Whole(1),
        "total_chunk_count": Whole(1, 1000),
        "video_url": Text(low=1),
    },
    required=("source",),
)
_VIDEO_INFO = Fields(
    {
        "privacy_level": Text(one_of=LEVELS),
        "title": Text(),
        "video_cover_timestamp_ms": Whole(0, 2**31 - 1),
        **dict.fromkeys((*_FLAGS, "disable_duet", "disable_stitch", "is_aigc"), Flag()),
    },
    required=("privacy_level",),
)
VIDEO = Fields({"post_info": _VIDEO_INFO, "source_info": _SOURCE}, required=("post_info", "source_info"))
INBOX = Fields({"source_info": _SOURCE}, required=("source_info",))
PHOTO = Fields(
    {
        "media_type": Text(one_of=("PHOTO",)),
        "post_mode": Text(one_of=("DIRECT_POST", "MEDIA_UPLOAD")),
        "post_info": Fields(
            {
                "title": Text(),
                "description": Text(),
                "privacy_level": Text(one_of=LEVELS),
                **dict.fromkeys((*_FLAGS, "auto_add_music"), Flag()),
            }
        ),
        "source_info": Fields(
            {
                "source": Text(one_of=("PULL_FROM_URL",)),
                "photo_images": Many(Text(low=1), 1, 35),
                "photo_cover_index": Whole(0, 34),
            },
            required=("source", "photo_images"),
        ),
    },
    required=("media_type", "post_mode", "post_info", "source_info"),
)


class TikTok(Emulator):
    """TikTok."""

    name: ClassVar[str] = "tiktok"
    title: ClassVar[str] = "TikTok"
    colour: ClassVar[str] = "#ee1d52"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.jobs = TikTokJobs(self)

    def routes(self) -> Sequence[Route]:
        post, share = ("video.publish",), ("video.upload",)
        info = f"{PUBLISH}/creator_info/query/"
        return (
            Route("POST", info, "creator_info", "prepare", self.creator_info, (20, 60), post),
            # Of kind prepare, as an init for an upload; one that pulls publishes: aim at tiktok.video_init for it.
            Route("POST", f"{PUBLISH}/video/init/", "video_init", "prepare", self.video_init, (6, 60), post),
            Route("POST", f"{PUBLISH}/inbox/video/init/", "inbox_init", "prepare", self.inbox_init, (6, 60), share),
            Route("POST", f"{PUBLISH}/content/init/", "content_init", "publish", self.content_init, (6, 60)),
            Route("GET", "/v2/user/info/", "user_info", "account", self.user_info, (600, 60), ("user.info.basic",)),
            Route("POST", "/v2/oauth/token/", "token", "token", self.token, signed=False),
            Route("POST", "/v2/oauth/revoke/", "revoke", "token", self.revoke, signed=False),
            *self.jobs.routes(),
        )

    # --- the platform's words ---

    def coded(self, status: int, code: str, message: str = "") -> Response:
        """An answer with an error code."""
        body = {"data": {}, "error": {"code": code, "message": message, "log_id": self.world.next_id()}}
        return json_response(body, status)

    def ok(self, data: dict[str, Any]) -> Response:
        """A good answer."""
        return json_response({"data": data, "error": {"code": "ok", "message": "", "log_id": self.world.next_id()}})

    def says(self, status: int, code: str, message: str = "") -> RefusedError:
        """To be raised."""
        return RefusedError(self.coded(status, code, message))

    def error(self, status: int, message: str = "") -> Response:
        codes = {
            400: (400, "invalid_param"),
            401: (401, "access_token_invalid"),
            # What the framework refuses with 403 is a scope that is missing.
            403: (401, "scope_not_authorized"),
            404: (404, "invalid_param"),
            429: (429, "rate_limit_exceeded"),
        }
        told, code = codes.get(status, (status, "internal_error"))
        return self.coded(told, code, message or "Something is not right with this request.")

    def limit_headers(self, limit: int, remaining: int, reset_at: float) -> Headers:
        """TikTok documents none."""
        del limit, remaining, reset_at
        return ()

    def link(self, post: Post) -> str:
        return f"/tiktok/status/{post.remote_id}"

    def update_account(self, account: Account, wanted: dict[str, Any]) -> None:
        for name, known in (("finished_upload", FINISHED), ("fail_reason", ("", *FAIL_REASONS))):
            if name in wanted and wanted[name] not in known:
                raise ValueError(f"{name} is one of {known}")
        for name in CREATOR_FACTS:
            if name in wanted:
                account.facts[name] = wanted.pop(name)

    def checked(self, shape: Fields, request: Request) -> dict[str, Any]:
        """The body, which fits. :raises RefusedError: it does not."""
        body = self.json_body(request)
        try:
            shape.check(body)
        except MismatchError as error:
            raise self.says(400, "invalid_param", str(error)) from None
        checked: dict[str, Any] = body
        return checked

    # --- who posts ---

    async def user_info(self, request: Request) -> Response:
        account = signed_in(request)
        shown = {"open_id": account.user_id, "display_name": account.display_name, "username": account.username}
        wanted = [name for name in request.query().get("fields", "").split(",") if name]
        if not wanted or (unknown := set(wanted) - {*shown, "avatar_url", "follower_count", "video_count"}):
            raise self.says(400, "invalid_param", f"unknown fields: {unknown if wanted else 'none given'}")
        if "username" in wanted and account.scopes is not None and "user.info.profile" not in account.scopes:
            raise self.says(401, "scope_not_authorized", "user.info.profile")
        return self.ok({"user": {name: shown[name] for name in wanted if name in shown}})

    async def creator_info(self, request: Request) -> Response:
        account = signed_in(request)
        if self._is_capped(account):
            # Seen live: with status 200.
            return self.coded(200, "spam_risk_too_many_posts", "Too many posts in the last 24 hours.")
        return self.ok(
            {
                "creator_avatar_url": f"{self.world.url}/_sandbox/avatar/tiktok/{account.name}.svg",
                "creator_username": account.username,
                "creator_nickname": account.display_name,
                "privacy_level_options": list(self._offered(account)),
                "comment_disabled": bool(account.facts.get("comment_disabled", False)),
                "duet_disabled": bool(account.facts.get("duet_disabled", False)),
                "stitch_disabled": bool(account.facts.get("stitch_disabled", False)),
                "max_video_post_duration_sec": int(account.facts.get("max_video_post_duration_sec", 600)),
            }
        )

    def _offered(self, account: Account) -> Sequence[str]:
        usual = OFFERED_TO_PRIVATE if account.facts.get("private_account") else OFFERED
        offered: Sequence[str] = account.facts.get("privacy_level_options", usual)
        return offered

    def _is_capped(self, account: Account) -> bool:
        return self.world.settings.enforce_limits and self._today(account, inbox=False) >= POSTS_A_DAY

    def _is_crowded(self, account: Account) -> bool:
        """Whether as many creators as an unaudited app may have posted today, and this one is none of them."""
        named = (self.world.accounts.get("tiktok", name) for of, name in self.world.ledger.accounts() if of == "tiktok")
        small = [one for one in named if one is not None and one.facts.get("audited") is False]
        active = {one.name for one in small if self._today(one, inbox=False)}
        return self.world.settings.enforce_limits and account.name not in active and len(active) >= UNAUDITED_USERS

    def _today(self, account: Account, *, inbox: bool) -> int:
        since = time.time() - 86_400.0
        posts = self.world.ledger.newest_first("tiktok", account.name)
        return sum(post.accepted_at > since and (post.fields["privacy"] == "inbox") is inbox for post in posts)

    # --- what is begun ---

    async def video_init(self, request: Request) -> Response:
        account, body = signed_in(request), self.checked(VIDEO, request)
        info = body["post_info"]
        self._may_post(account, info["privacy_level"])
        self._short(info.get("title", ""), 2200, "title")
        words = {"text": info.get("title", ""), "fields": {"privacy": info["privacy_level"]}}
        return await self.jobs.begin_video(account, request, body["source_info"], words)

    async def inbox_init(self, request: Request) -> Response:
        account, body = signed_in(request), self.checked(INBOX, request)
        self._may_share(account)
        words = {"text": "", "fields": {"privacy": "inbox"}}
        return await self.jobs.begin_video(account, request, body["source_info"], words)

    async def content_init(self, request: Request) -> Response:
        account, body = signed_in(request), self.checked(PHOTO, request)
        info, source = body["post_info"], body["source_info"]
        direct = body["post_mode"] == "DIRECT_POST"
        scope = "video.publish" if direct else "video.upload"
        if account.scopes is not None and scope not in account.scopes:
            raise self.says(401, "scope_not_authorized", scope)
        if direct:
            if "privacy_level" not in info:
                raise self.says(400, "invalid_param", "privacy_level is required")
            self._may_post(account, info["privacy_level"])
        else:
            self._may_share(account)
        self._short(info.get("title", ""), 90, "title")
        self._short(info.get("description", ""), 4000, "description")
        if source.get("photo_cover_index", 0) >= len(source["photo_images"]):
            raise self.says(400, "invalid_param", "photo_cover_index is beyond the photos")
        fields = {"privacy": info["privacy_level"] if direct else "inbox"}
        fields |= {"title": info["title"]} if info.get("title") else {}
        words = {"text": info.get("description", ""), "fields": fields}
        return await self.jobs.begin_photos(account, request, source["photo_images"], words)

    def _may_post(self, account: Account, level: str) -> None:
        """:raises RefusedError: the creator or the app may not post so."""
        if level not in self._offered(account):
            raise self.says(403, "privacy_level_option_mismatch", f"{level} is not among the options.")
        if account.facts.get("audited") is False:
            if level != "SELF_ONLY" or not account.facts.get("private_account"):
                raise self.says(403, "unaudited_client_can_only_post_to_private_accounts")
            if self._is_crowded(account):
                raise self.says(403, "reached_active_user_cap")
        if self._is_capped(account):
            raise self.says(403, "spam_risk_too_many_posts", "Too many posts in the last 24 hours.")

    def _may_share(self, account: Account) -> None:
        if self.world.settings.enforce_limits and self._today(account, inbox=True) >= PENDING_SHARES:
            raise self.says(403, "spam_risk_too_many_pending_share")

    def _short(self, text: str, limit: int, name: str) -> None:
        if len(text.encode("utf-16-le", "surrogatepass")) // 2 > limit:
            raise self.says(400, "invalid_param", f"{name} is longer than {limit} UTF-16 units")

    # --- tokens ---

    async def token(self, request: Request) -> Response:
        form = request.form()
        if request.media_type != "application/x-www-form-urlencoded" or not form.get("client_key"):
            return self._flat("invalid_request", "The body has to be a form with a client_key.")
        if not self._knows_app(form):
            return self._flat("invalid_client", "Client key or secret is incorrect.")
        if form.get("grant_type") == "refresh_token":
            token = self.world.accounts.refresh_token("tiktok", form.get("refresh_token", ""))
            if token is None or not self.world.accounts.good(token):
                return self._flat("invalid_grant", "Refresh token is invalid or expired.")
            # It changes at each use, and the old one dies at once.
            self.world.accounts.spend(token)
            name = token.account
        elif form.get("grant_type") == "authorization_code":
            grant = self.world.apps.redeem("tiktok", form, form["client_key"], self.world.accounts)
            if isinstance(grant, str):
                return self._flat("invalid_grant", f"Authorization code is not valid: {grant}.")
            name = grant.account
        else:
            return self._flat("unsupported_grant_type", "The grant type is not supported.")
        account = self.world.accounts.ensure("tiktok", name)
        life_s = self.world.settings.token_life_s or ACCESS_LIFE_S
        access = self.world.accounts.issue(account, expires_in_s=life_s)
        refresh = self.world.accounts.issue(account, refresh=True, expires_in_s=REFRESH_LIFE_S)
        return json_response(
            {
                "access_token": access.value,
                "expires_in": int(life_s),
                "open_id": account.user_id,
                "refresh_token": refresh.value,
                "refresh_expires_in": int(REFRESH_LIFE_S),
                "scope": SCOPES if account.scopes is None else ",".join(account.scopes),
                "token_type": "Bearer",
            }
        )

    async def revoke(self, request: Request) -> Response:
        form = request.form()
        if not self._knows_app(form):
            return self._flat("invalid_client", "Client key or secret is incorrect.")
        account = self.world.accounts.holder("tiktok", form.get("token", ""))
        if account is None:
            return self._flat("invalid_request", "The token is not known.")
        self.world.accounts.revoke(account)
        return json_response({})

    def _knows_app(self, form: dict[str, str]) -> bool:
        app = self.world.apps.get("tiktok", form.get("client_key", ""))
        return app is not None and app.client_secret == form.get("client_secret")

    def _flat(self, error: str, description: str) -> Response:
        """Errors of OAuth are flat, and come with status 200."""
        return Response(
            200,
            json.dumps({"error": error, "error_description": description, "log_id": self.world.next_id()}).encode(),
        )
