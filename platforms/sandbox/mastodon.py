"""A Mastodon server as its contract says: what it allows, who one is, apps and tokens.

Settings of the control call, beside those of every platform: ``ignores_idempotency_key`` for one account (as some
servers that speak Mastodon's API do), ``privacy`` for its default visibility; and for the whole server each name of
``mastodon_words.LIMITS``, ``renders_markdown`` and ``leaves_out``: the parts of its ``configuration`` that it does not
tell (again as some servers do).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Any

from platforms.sandbox.accounts import Account
from platforms.sandbox.emulator import Route, World, signed_in
from platforms.sandbox.mastodon_media import TYPES, MastodonMedia
from platforms.sandbox.mastodon_statuses import VISIBILITIES, Statuses
from platforms.sandbox.mastodon_text import URL_LENGTH
from platforms.sandbox.mastodon_words import GENERAL, LIMITS, MastodonWords
from platforms.sandbox.oauth_apps import App
from platforms.sandbox.wire import Request, Response, json_response

VERSION = "4.7.0"
SCOPES = "read write"


class Mastodon(MastodonWords):
    """Mastodon."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.limits = dict(LIMITS)
        self.left_out: frozenset[str] = frozenset()
        self.media = MastodonMedia(self)
        self.statuses = Statuses(self, self.media)

    def routes(self) -> Sequence[Route]:
        me = "/api/v1/accounts/verify_credentials"
        return (
            Route("GET", "/api/v2/instance", "instance", "account", self.instance, signed=False),
            Route("GET", "/api/v1/instance", "instance_v1", "account", self.instance_v1, signed=False),
            Route("GET", me, "verify_credentials", "account", self.verify, GENERAL),
            Route("POST", "/api/v1/apps", "app", "token", self.register, signed=False),
            Route("POST", "/oauth/token", "token", "token", self.token, signed=False),
            Route("POST", "/oauth/revoke", "revoke", "token", self.revoke, signed=False),
            Route("GET", "/@{name}/{id}", "page", "page", self.page, signed=False),
            *self.media.routes(),
            *self.statuses.routes(),
        )

    def update_account(self, account: Account, wanted: dict[str, Any]) -> None:
        if "ignores_idempotency_key" in wanted:
            account.facts["ignores_idempotency_key"] = bool(wanted.pop("ignores_idempotency_key"))
        if "privacy" in wanted:
            privacy = wanted.pop("privacy")
            if privacy not in VISIBILITIES:
                raise ValueError(f"privacy is one of {', '.join(VISIBILITIES)}")
            account.facts["privacy"] = privacy
        if "renders_markdown" in wanted:
            self.renders_markdown = bool(wanted.pop("renders_markdown"))
        if "leaves_out" in wanted:
            self.left_out = frozenset(wanted.pop("leaves_out"))
        for name in LIMITS:
            if name in wanted:
                self.limits[name] = int(wanted.pop(name))

    def facts(self, account: Account) -> dict[str, Any]:
        return {"ignores_idempotency_key": bool(account.facts.get("ignores_idempotency_key"))}

    # --- the server ---

    def _configuration(self) -> dict[str, Any]:
        limits = self.limits
        told = {
            "urls": {"streaming": self.world.url, "status": None, "about": None, "privacy_policy": None},
            "accounts": {"max_featured_tags": 10, "max_pinned_statuses": 5},
            "statuses": {
                "max_characters": limits["max_characters"],
                "max_media_attachments": limits["max_media_attachments"],
                "characters_reserved_per_url": URL_LENGTH,
            },
            "media_attachments": {
                "supported_mime_types": list(TYPES),
                "description_limit": limits["description_limit"],
                "image_size_limit": limits["image_size_limit"],
                "image_matrix_limit": limits["image_matrix_limit"],
                "video_size_limit": limits["video_size_limit"],
                "video_frame_rate_limit": 120,
                "video_matrix_limit": 8_294_400,
            },
            "polls": {
                "max_options": limits["max_options"],
                "max_characters_per_option": limits["max_characters_per_option"],
                "min_expiration": limits["min_expiration"],
                "max_expiration": limits["max_expiration"],
            },
            "translation": {"enabled": False},
        }
        return {name: part for name, part in told.items() if name not in self.left_out}

    async def instance(self, _request: Request) -> Response:
        return json_response(
            {
                "domain": self.domain,
                "title": "SchedulerX sandbox",
                "version": VERSION,
                "source_url": "https://github.com/mastodon/mastodon",
                "description": "Nothing here leaves this machine.",
                "usage": {"users": {"active_month": len(self.world.accounts.all())}},
                "thumbnail": {"url": f"{self.world.url}/_sandbox/avatar/mastodon/sandbox.svg"},
                "icon": [],
                "languages": ["en"],
                "configuration": self._configuration(),
                "registrations": {"enabled": False, "approval_required": False, "message": None},
                "api_versions": {"mastodon": 9},
                "contact": {"email": "nobody@example.com", "account": None},
                "rules": [],
            }
        )

    async def instance_v1(self, _request: Request) -> Response:
        configuration = self._configuration()
        return json_response(
            {
                "uri": self.domain,
                "title": "SchedulerX sandbox",
                "short_description": "",
                "description": "Nothing here leaves this machine.",
                "email": "nobody@example.com",
                "version": VERSION,
                "urls": {"streaming_api": self.world.url},
                "stats": {"user_count": 1, "status_count": 0, "domain_count": 1},
                "thumbnail": None,
                "languages": ["en"],
                "registrations": False,
                "approval_required": False,
                "invites_enabled": False,
                "configuration": {
                    name: configuration[name]
                    for name in ("accounts", "statuses", "media_attachments", "polls")
                    if name in configuration
                },
                "contact_account": None,
                "rules": [],
            }
        )

    async def verify(self, request: Request) -> Response:
        account = signed_in(request)
        granted = account.scopes
        if granted is not None and not {"read", "read:accounts", "profile"} & set(granted):
            raise self.refuse(403, "scope")
        source = {
            "privacy": account.facts.get("privacy", "public"),
            "sensitive": False,
            "language": None,
            "note": "",
            "fields": [],
            "follow_requests_count": 0,
            "hide_collections": None,
            "discoverable": True,
            "indexable": False,
            "attribution_domains": [],
            "quote_policy": "public",
        }
        role = {"id": "-99", "name": "", "permissions": "0", "color": "", "highlighted": False}
        return json_response({**self.shown_account(account), "source": source, "role": role})

    async def page(self, request: Request) -> Response:
        """The status's own link leads to its page here."""
        return Response(302, headers=(("location", f"/mastodon/status/{request.args['id']}"),))

    # --- apps and tokens ---

    async def register(self, request: Request) -> Response:
        body = self.body(request)
        uris = body.get("redirect_uris")
        if not body.get("client_name") or not uris:
            raise self.refuse(422, "Validation failed: Application name can't be blank")
        redirects = tuple(str(one) for one in (uris if isinstance(uris, list) else str(uris).split("\n")))
        app = {
            "id": self.world.next_id(),
            "name": str(body["client_name"]),
            "website": body.get("website"),
            "scopes": str(body.get("scopes") or "read").split(),
            "redirect_uris": list(redirects),
            "redirect_uri": "\n".join(redirects),
            "client_id": secrets.token_urlsafe(24),
            "client_secret": secrets.token_urlsafe(24),
            "client_secret_expires_at": 0,
            "vapid_key": secrets.token_urlsafe(24),
        }
        known = App("mastodon", str(app["client_id"]), str(app["client_secret"]), redirects)
        known.scopes = tuple(str(body.get("scopes") or "read").split())
        self.world.apps.add(known)
        return json_response(app)

    async def token(self, request: Request) -> Response:
        body = self.body(request)
        app = self.world.apps.get("mastodon", str(body.get("client_id")))
        if app is None or app.client_secret != body.get("client_secret"):
            return self._oauth_error(401, "invalid_client", "Client authentication failed due to unknown client.")
        if body.get("grant_type") == "client_credentials":
            value, scope = secrets.token_urlsafe(24), str(body.get("scope") or "read")
        elif body.get("grant_type") == "authorization_code":
            form = {key: str(value) for key, value in body.items()}
            grant = self.world.apps.redeem("mastodon", form, app.client_id, self.world.accounts)
            if isinstance(grant, str):
                words = f"The provided authorization grant is invalid: {grant}."
                return self._oauth_error(400, "invalid_grant", words)
            account = self.world.accounts.ensure("mastodon", grant.account)
            value, scope = self.world.accounts.issue(account).value, " ".join(grant.scopes)
            grant.tokens.append(value)
        else:
            return self._oauth_error(400, "unsupported_grant_type", "The grant type is not supported.")
        answer = {"access_token": value, "token_type": "Bearer", "scope": scope, "created_at": int(time.time())}
        return json_response(answer)

    async def revoke(self, request: Request) -> Response:
        body = self.body(request)
        app = self.world.apps.get("mastodon", str(body.get("client_id")))
        account = self.world.accounts.holder("mastodon", str(body.get("token", "")))
        if app is None or app.client_secret != body.get("client_secret"):
            return self._oauth_error(403, "unauthorized_client", "You are not authorized to revoke this token.")
        if account is not None:
            self.world.accounts.revoke(account)
        return json_response({})

    def _oauth_error(self, status: int, error: str, description: str) -> Response:
        return json_response({"error": error, "error_description": description}, status)
