"""The sign-in pages of the platforms: one page for all of them, with each one's rules for what may be asked.

A mistake in the client or the redirect is told on the page and never sent back, as everywhere (RFC 6749, 4.1.2.1).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import parse_qsl, urlencode

from platforms.sandbox.emulator import Route, World
from platforms.sandbox.oauth_apps import Asked
from platforms.sandbox.page import STYLE
from platforms.sandbox.wire import Request, Response

GRAPH_VERSIONS = ("v22.0", "v23.0", "v24.0", "v25.0", "v26.0")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,60}")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


@dataclass(frozen=True)
class Rule:
    """What a platform's page takes."""

    platform: str
    scopes: frozenset[str]
    separator: str = " "
    client: str = "client_id"
    pkce: str = "none"
    """``required``, ``optional``, ``hex on loopback`` or ``none``."""
    https_only: bool = False
    tail: str = ""


RULES = {
    "x": Rule(
        "x",
        _words("tweet.read tweet.write users.read media.write offline.access like.read follows.read"),
        pkce="required",
    ),
    "pinterest": Rule(
        "pinterest",
        _words(
            "boards:read boards:write pins:read pins:write user_accounts:read"
            " boards:read_secret boards:write_secret pins:read_secret pins:write_secret"
        ),
        ",",
    ),
    "tiktok": Rule(
        "tiktok",
        _words("user.info.basic user.info.profile user.info.stats video.publish video.upload video.list"),
        ",",
        "client_key",
        "hex on loopback",
    ),
    "instagram": Rule(
        "instagram",
        _words(
            "instagram_business_basic instagram_business_content_publish instagram_business_manage_comments"
            " instagram_business_manage_insights"
        ),
        ",",
        https_only=True,
        tail="#_",
    ),
    "facebook": Rule(
        "instagram",
        _words(
            "instagram_basic instagram_content_publish pages_show_list pages_read_engagement business_management"
            " instagram_manage_comments instagram_manage_insights"
        ),
        ",",
        tail="#_=_",
    ),
    "mastodon": Rule(
        "mastodon",
        _words("read write profile read:accounts read:statuses write:media write:statuses write:favourites"),
        pkce="optional",
    ),
}


class SignInPages:
    """The pages, and the button behind them."""

    def __init__(self, world: World) -> None:
        self._world = world

    def routes(self) -> Sequence[Route]:
        """Under the paths of the real pages. Instagram and Mastodon share one, so the client tells which it is."""
        pages = {
            "/i/oauth2/authorize": self._x,
            "/oauth/": self._pinterest,
            "/v2/auth/authorize/": self._tiktok,
            "/oauth/authorize": self._shared,
            "/sandbox/atproto/authorize": self._bluesky,
            **{f"/{version}/dialog/oauth": self._facebook for version in GRAPH_VERSIONS},
        }
        found = [Route("GET", path, "authorize", "page", handler, signed=False) for path, handler in pages.items()]
        return (*found, Route("POST", "/_sandbox/consent", "consent", "page", self._answer, signed=False))

    # --- pages ---

    async def _x(self, request: Request) -> Response:
        return self._page(RULES["x"], request.query())

    async def _pinterest(self, request: Request) -> Response:
        return self._page(RULES["pinterest"], request.query())

    async def _tiktok(self, request: Request) -> Response:
        return self._page(RULES["tiktok"], request.query())

    async def _facebook(self, request: Request) -> Response:
        return self._page(RULES["facebook"], request.query())

    async def _shared(self, request: Request) -> Response:
        query = request.query()
        known = self._world.apps.get("mastodon", query.get("client_id", ""))
        return self._page(RULES["mastodon" if known else "instagram"], query)

    async def _bluesky(self, request: Request) -> Response:
        query = request.query()
        asked = self._world.apps.asked(query.get("request_uri", ""))
        if asked is None or asked.app.platform != "bluesky" or asked.app.client_id != query.get("client_id"):
            return _said(400, "This request is not known, or has run out; it has to be pushed first.")
        return self._form("Bluesky", query["request_uri"], asked)

    def _page(self, rule: Rule, query: Mapping[str, str]) -> Response:
        app = self._world.apps.get(rule.platform, query.get(rule.client, ""))
        redirect_uri = query.get("redirect_uri", "")
        if app is None:
            return _said(400, f"This {rule.client} is not known.")
        if not app.takes(redirect_uri) or (rule.https_only and not redirect_uri.startswith("https://")):
            return _said(400, "This redirect_uri is not registered with the app.")
        asked = Asked(app, redirect_uri, _split(query.get("scope", ""), rule.separator), query.get("state", ""))
        asked.tail = rule.tail
        wrong = self._wrong(rule, query, asked)
        if wrong:
            return _back(asked, {"error": wrong[0], "error_description": wrong[1]})
        return self._form(rule.platform.title(), self._world.apps.open(asked), asked)

    @staticmethod
    def _wrong(rule: Rule, query: Mapping[str, str], asked: Asked) -> tuple[str, str] | None:
        """What is wrong with what is asked, as a code and words; takes the challenge over where nothing is."""
        if query.get("response_type") != "code":
            return "unsupported_response_type", "Only the authorization code flow is supported."
        allowed = rule.scopes if asked.app.scopes is None else covering(asked.app.scopes, rule.scopes)
        if not asked.scopes or not set(asked.scopes) <= allowed:
            return "invalid_scope", "A scope is missing, or not known."
        given, method = query.get("code_challenge", ""), query.get("code_challenge_method", "")
        hexadecimal = rule.pkce == "hex on loopback"
        needed = rule.pkce == "required" or (hexadecimal and asked.redirect_uri.startswith("http://"))
        if needed and not given:
            return "invalid_request", "A code_challenge is needed."
        form = r"[0-9a-f]{64}" if hexadecimal else r"[A-Za-z0-9_-]{43}"
        if given and rule.pkce != "none" and (method != "S256" or not re.fullmatch(form, given)):
            return "invalid_request", "The code_challenge is not one of S256."
        asked.challenge = given if rule.pkce != "none" else ""
        asked.hexadecimal = hexadecimal
        return None

    def _form(self, title: str, ticket: str, asked: Asked) -> Response:
        boxes = "".join(
            f'<p><label><input type="checkbox" name="scope" value="{scope}" checked> {scope}</label></p>'
            for scope in map(escape, asked.scopes)
        )
        body = (
            f'<main class="one"><section><h2>{escape(title)}: sign in</h2><article>'
            '<form method="post" action="/_sandbox/consent">'
            f'<input type="hidden" name="ticket" value="{escape(ticket)}">'
            f'<p><label>Account <input name="account" value="{escape(asked.hint or "acme")}"></label></p>'
            f"<p>{escape(asked.app.client_id)} asks for:</p>{boxes}"
            '<p><button name="decision" value="allow">Allow</button> '
            '<button name="decision" value="deny">Deny</button></p></form></article></section></main>'
        )
        return _html(200, body)

    # --- the answer ---

    async def _answer(self, request: Request) -> Response:
        rows = parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True)
        form = dict(rows)
        asked = self._world.apps.asked(form.get("ticket", ""))
        if asked is None:
            return _said(400, "This page has been answered before, or is too old.")
        self._world.apps.close(form["ticket"])
        if form.get("decision") != "allow":
            denied = {"error": "access_denied", "error_reason": "user_denied", "error_description": "The user denied."}
            return _back(asked, denied)
        name = form.get("account", "")
        if not _NAME.fullmatch(name):
            return _said(400, "An account's name has letters, digits, dots, dashes and _.")
        granted = tuple(value for key, value in rows if key == "scope" and value in asked.scopes)
        account = self._world.accounts.ensure(asked.app.platform, name)
        account.scopes = granted
        self._world.accounts.save(account)
        code = self._world.apps.grant(asked, name, granted, self._world.settings.code_life_s)
        return _back(asked, {"code": code}, tail=asked.tail)


def covering(registered: Sequence[str], known: frozenset[str]) -> frozenset[str]:
    """The scopes that registered ones cover: a wider one covers its parts."""
    return frozenset(one for one in known if one in registered or one.partition(":")[0] in registered)


def _split(text: str, separator: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one for one in text.split(separator) if one))


def _back(asked: Asked, answer: Mapping[str, Any], *, tail: str = "") -> Response:
    """Sends the browser back to the client."""
    query = {**answer, **({"state": asked.state} if asked.state else {}), **asked.more}
    headers = (("location", f"{asked.redirect_uri}?{urlencode(query)}{tail}"), ("cache-control", "no-store"))
    return Response(303, headers=headers)


def _said(status: int, words: str) -> Response:
    return _html(status, f'<p class="empty">{escape(words)}</p>')


def _html(status: int, body: str) -> Response:
    page = (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>SchedulerX sandbox: sign in</title>'
        f"<style>{STYLE}</style></head><body>{body}</body></html>"
    )
    policy = ("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'")
    return Response(status, page.encode(), "text/html; charset=utf-8", (policy, ("cache-control", "no-store")))
