"""Instagram's Graph calls as their contract says: accounts, limits, media, tokens. Containers are in
``instagram_containers``.

Both logins are answered on one origin. Where it differs on purpose: media are fetched from loopback addresses over
http; a container's video is fetched when it is made, and its failure told by its status.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from platforms.sandbox.accounts import Account
from platforms.sandbox.emulator import Route, World, signed_in
from platforms.sandbox.instagram_comments import InstagramComments
from platforms.sandbox.instagram_containers import CONTAINERS_A_DAY, InstagramContainers
from platforms.sandbox.instagram_words import InstagramWords
from platforms.sandbox.ledger import Picture, Post
from platforms.sandbox.oauth_instagram import SCOPES, InstagramTokens
from platforms.sandbox.wire import Request, Response, json_response

VERSIONS = ("v22.0", "v23.0", "v24.0", "v25.0", "v26.0")
POSTS_A_DAY = 100


class Instagram(InstagramWords):
    """Instagram."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.containers = InstagramContainers(self)
        self.comments = InstagramComments(self)
        self.tokens = InstagramTokens(self)

    def routes(self) -> Sequence[Route]:
        found = [
            *self.tokens.routes(VERSIONS),
            Route("GET", "/p/{code}/", "page", "page", self.page, signed=False),
            Route("GET", "/reel/{code}/", "page", "page", self.page, signed=False),
        ]
        for version in VERSIONS:
            base = f"/{version}"
            found += [
                Route("GET", f"{base}/me", "me", "account", self.me, (4800, 86_400)),
                Route("GET", f"{base}/me/permissions", "permissions", "account", self.permissions),
                Route("GET", f"{base}/{{id}}/content_publishing_limit", "limit", "prepare", self.limit),
                Route("GET", f"{base}/{{id}}/media", "list", "read", self.list_media),
                Route("GET", f"{base}/{{id}}/stories", "stories", "read", self.list_stories),
                Route("POST", f"{base}/{{id}}/media_publish", "media_publish", "publish", self.publish),
                *self.containers.routes(version),
                *self.comments.routes(version),
                Route("GET", f"{base}/{{id}}", "node", "read", self.node),
                Route("DELETE", f"{base}/{{id}}", "delete", "delete", self.delete),
            ]
        return tuple(found)

    def link(self, post: Post) -> str:
        return f"/instagram/status/{post.remote_id}"

    def update_account(self, account: Account, wanted: dict[str, Any]) -> None:
        for name in ("login", "quota_total", "captions", "pages"):
            if name in wanted:
                account.facts[name] = wanted.pop(name)

    # --- who posts ---

    async def me(self, request: Request) -> Response:
        account = signed_in(request)
        self.needs(account, "basic")
        # A number, as Meta's SDK types it; it is larger than a float holds.
        whole = {**self._user(account), "user_id": int(account.user_id), "account_type": "Business"}
        return json_response(self.picked(whole, self.parameters(request)))

    def _user(self, account: Account) -> dict[str, Any]:
        picture = f"{self.world.url}/_sandbox/avatar/instagram/{account.name}.svg"
        return {
            "id": account.user_id,
            "username": account.username,
            "name": account.display_name,
            "profile_picture_url": picture,
        }

    async def permissions(self, request: Request) -> Response:
        scopes = signed_in(request).scopes
        names = SCOPES.split(",") if scopes is None else scopes
        return json_response({"data": [{"permission": name, "status": "granted"} for name in names]})

    async def limit(self, request: Request) -> Response:
        account = signed_in(request)
        self.mine(request, account)
        self.needs(account, "basic", "publish")
        config = {"quota_total": self._total(account), "quota_duration": 86_400}
        fields = self.parameters(request).get("fields", "quota_usage").split(",")
        whole = {"quota_usage": self._used(account), "config": config}
        return json_response({"data": [{name: value for name, value in whole.items() if name in fields}]})

    def _total(self, account: Account) -> int:
        return int(account.facts.get("quota_total", POSTS_A_DAY))

    def _used(self, account: Account) -> int:
        if not self.world.settings.enforce_limits and "quota_total" not in account.facts:
            return 0
        since = time.time() - 86_400.0
        return sum(
            post.accepted_at > since and "comment_on" not in post.fields
            for post in self.world.ledger.accepted("instagram", account.name)
        )

    def containers_left(self, account: Account) -> bool:
        """Whether another container may be made today."""
        since = time.time() + self.world.settings.media_ttl_s - 86_400.0
        made = [one for one in self.world.media.of_account("instagram", account.name) if one.expires_at > since]
        return not self.world.settings.enforce_limits or len(made) < CONTAINERS_A_DAY

    # --- publishing ---

    async def publish(self, request: Request) -> Response:
        account = signed_in(request)
        self.mine(request, account)
        self.needs(account, "basic", "publish")
        parameters = self.parameters(request)
        if set(parameters) != {"creation_id"}:
            raise self.wrong("The parameter creation_id is required, and nothing else.")
        container = self.containers.publishable(account, parameters["creation_id"])
        if self._used(account) >= self._total(account):
            raise self.no(2207042)
        words = self.containers.words(container)
        pictures = [
            Picture(one.sha256, self.containers.words(one).get("alt_text", ""), one.mime, one.width, one.height)
            for one in self.containers.parts(container)
        ]
        product = {"REELS": "REELS", "STORIES": "STORY"}.get(words.get("media_type", ""), "FEED")
        fields: dict[str, Any] = {"product": product}
        fields |= {name: words[name] for name in ("location_id", "collaborators", "user_tags") if words.get(name)}
        post_id = self.world.next_id()
        code = hashlib.sha256(post_id.encode()).hexdigest()[:11]
        caption = "" if product == "STORY" else words.get("caption", "")
        private = {"code": code, "container": container.media_id}
        self.world.ledger.accept(
            Post("instagram", account.name, post_id, caption, pictures, time.time(), request.began_at, fields, private)
        )
        self.containers.mark_published(container)
        return json_response({"id": post_id})

    # --- reading ---

    async def node(self, request: Request) -> Response:
        account, wanted = signed_in(request), request.args["id"]
        self.needs(account, "basic")
        if wanted == account.user_id:
            return json_response(self.picked(self._user(account), self.parameters(request)))
        container = self.world.media.get("instagram", wanted)
        if container is not None and container.account == account.name:
            described = self.containers.described(container, lag_s=request.read_lag_s)
            return json_response(self.picked(described, self.parameters(request)))
        post = self.world.ledger.find("instagram", wanted)
        if post is None or post.account != account.name or post.accepted_at > time.time() - request.read_lag_s:
            raise self.missing(wanted)
        return json_response(self.picked(self._shown(account, post), self.parameters(request)))

    async def list_media(self, request: Request) -> Response:
        return self._list(request, stories=False)

    async def list_stories(self, request: Request) -> Response:
        return self._list(request, stories=True)

    def _list(self, request: Request, *, stories: bool) -> Response:
        account = signed_in(request)
        self.mine(request, account)
        self.needs(account, "basic")
        parameters = self.parameters(request)
        since, limit = parameters.pop("since", "0"), parameters.pop("limit", "25")
        if not since.isdigit() or not limit.isdigit() or not 1 <= int(limit) <= 100:
            raise self.wrong("since is a time in seconds, limit is between 1 and 100")
        rows = [
            self.picked(self._shown(account, post), parameters)
            for post in self.world.ledger.newest_first("instagram", account.name, lag_s=request.read_lag_s)
            if "comment_on" not in post.fields
            and (post.fields["product"] == "STORY") is stories
            and post.accepted_at >= int(since)
        ]
        return json_response({"data": rows[: int(limit)]})

    def _shown(self, account: Account, post: Post) -> dict[str, Any]:
        product, code = post.fields["product"], post.private["code"]
        videos = [picture.mime.startswith("video/") for picture in post.pictures]
        kind = "CAROUSEL_ALBUM" if len(videos) > 1 else "VIDEO" if videos[0] else "IMAGE"
        where = {"REELS": f"reel/{code}/", "STORY": f"stories/{account.username}/{post.remote_id}"}.get(
            product, f"p/{code}/"
        )
        # With Instagram Login captions have been missing; the account's fact ``captions`` says so.
        caption = post.text or None if account.facts.get("captions", True) else None
        return {
            "id": post.remote_id,
            "caption": caption,
            "timestamp": datetime.fromtimestamp(post.accepted_at, UTC).strftime("%Y-%m-%dT%H:%M:%S+0000"),
            "permalink": f"https://www.instagram.com/{where}",
            "shortcode": code,
            "media_type": kind,
            "media_product_type": product,
            "username": account.username,
            "like_count": 0,
            "comments_count": 0,
        }

    async def delete(self, request: Request) -> Response:
        post = self.world.ledger.find("instagram", request.args["id"])
        if post is None or post.account != signed_in(request).name:
            raise self.missing(request.args["id"])
        self.world.ledger.delete(post)
        return json_response({"success": True})

    async def page(self, request: Request) -> Response:
        """The path of a permalink, with this origin, leads to the sandbox's own page of the post."""
        for post in self.world.ledger.accepted("instagram"):
            if post.private["code"] == request.args["code"]:
                return Response(302, headers=(("location", self.link(post)),))
        return Response(404)
