"""Signing in to Instagram by either of Meta's two logins. Neither has PKCE.

Instagram Login: code, token of an hour, token of 60 days; it takes https redirects alone. Facebook Login: code, user
token, long user token, then the token of the Page that the Instagram account belongs to, which has no end; while the
Meta app is in development mode http://localhost is taken without being registered.
Source: Instagram Platform, business login and Facebook Login guides, 2026-06.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlsplit

from platforms.base import Effect, Json, Rejected, Reply
from platforms.code_flow import CLIENT_ID, CLIENT_SECRET, TIMEOUT_S, authorize_url, end_of, refusal
from platforms.connect import (
    Begun,
    ClientAuth,
    Connected,
    Desk,
    Facts,
    Pkce,
    Question,
    Redirect,
    Refusal,
    Secret,
    granted_scopes,
    new_state,
)
from platforms.instagram import api
from platforms.instagram.models import API_VERSION
from platforms.outcomes import mapping, objects

TITLE = "Instagram"
GRAPH = f"https://{api.HOSTS['facebook']}/{API_VERSION}"
LONGER_URL = f"https://{api.HOSTS['instagram']}/access_token"
PAGE_FIELDS = "id,name,access_token,instagram_business_account{id,username}"
FACTS = {
    "instagram": Facts(
        authorize_url=api.AUTHORIZE_URLS["instagram"],
        token_url=f"https://{api.TOKEN_HOST}/oauth/access_token",
        scopes=(*api.SCOPES["instagram"], api.COMMENT_SCOPES["instagram"]),
        separator=",",
        redirect=Redirect(""),
        client_auth=ClientAuth.FORM,
        secret=Secret.NEEDED,
        pkce=Pkce.NONE,
        source="Instagram Platform, business login for Instagram, 2026-06",
    ),
    "facebook": Facts(
        authorize_url=api.AUTHORIZE_URLS["facebook"],
        token_url=f"{GRAPH}/oauth/access_token",
        scopes=(*api.SCOPES["facebook"], api.COMMENT_SCOPES["facebook"]),
        separator=",",
        redirect=Redirect("localhost", "/callback"),
        client_auth=ClientAuth.QUERY,
        secret=Secret.NEEDED,
        pkce=Pkce.NONE,
        source="Facebook Login for Business, manual flow, Graph API v26.0, 2026-06",
    ),
}
LOGIN = Question(
    "login", "which of Meta's logins: instagram or facebook", choices=("instagram", "facebook"), default="instagram"
)
BUSINESS = Question(
    "business",
    "whether the Page belongs to a business portfolio (Facebook Login): yes or no",
    choices=("yes", "no"),
    default="no",
)
DATA_ACCESS = timedelta(days=90)
"""How long an app may act for somebody who does not sign in again. Source: Facebook Login, data access, 2026-06."""
BUSINESS_SCOPE = "business_management"
PROFILE = Question("profile", "user name or id of the account, where the login reaches several", required=False)


class InstagramConnector:
    """Both logins, told apart by the answer to ``login``."""

    authorize_hosts = frozenset(urlsplit(facts.authorize_url).hostname or "" for facts in FACTS.values())
    questions = (LOGIN, CLIENT_ID, CLIENT_SECRET, PROFILE, BUSINESS)
    settings = frozenset({"api_version"})

    def answers(self, credentials: Mapping[str, Json]) -> Mapping[str, str]:
        """Of a Facebook Login: which of its accounts it was, and that a portfolio gave access to the Page."""
        if credentials.get("login") != "facebook":
            return {}
        profile = credentials.get("ig_user_id")
        return {
            **({"profile": str(profile)} if profile else {}),
            **({"business": "yes"} if BUSINESS_SCOPE in granted_scopes(credentials) else {}),
        }

    def facts(self, told: Mapping[str, str]) -> Facts:
        """Of the login that was chosen; a Page that a business portfolio gives access to has a scope of its own."""
        if told.get("login") != "facebook":
            return FACTS["instagram"]
        facts = FACTS["facebook"]
        owned = told.get("business") == "yes"
        return replace(facts, scopes=(*facts.scopes, BUSINESS_SCOPE)) if owned else facts

    def begin(self, desk: Desk) -> Begun | Refusal:
        """The address of the login's page."""
        state = new_state()
        url = authorize_url(self.facts(desk.told), desk, client_id=desk.told["client_id"], state=state, more={})
        return Begun(url, state, desk.redirect_uri)

    def finish(self, desk: Desk, begun: Begun, answer: Mapping[str, str]) -> Connected | Refusal:
        """The code for a token that lasts."""
        # Meta puts "#_" behind the code; where an address was pasted with it encoded, it is still there.
        code = answer["code"].removesuffix("#_=_").removesuffix("#_")
        if desk.told.get("login") == "facebook":
            return _by_facebook(desk, begun, code)
        return _by_instagram(desk, begun, code)


# --- Instagram Login ----------------------------------------------------------------------------------------


def _by_instagram(desk: Desk, begun: Begun, code: str) -> Connected | Refusal:
    form = {
        "client_id": desk.told["client_id"],
        "client_secret": desk.told["client_secret"],
        "grant_type": "authorization_code",
        "redirect_uri": begun.redirect_uri,
        "code": code,
    }
    reply = desk.http.request(
        "POST", FACTS["instagram"].token_url, effect=Effect.PREPARES, form=form, timeout_s=TIMEOUT_S
    )
    answer = api.good(reply)
    # Shown in the documentation as {"data": [{...}]} as well.
    short = (objects(answer.get("data")) or [answer])[0]
    token = short.get("access_token")
    if not isinstance(token, str) or not token:
        return refusal(reply, desk.now(), TITLE)
    query = {"grant_type": "ig_exchange_token", "client_secret": desk.told["client_secret"], "access_token": token}
    reply = desk.http.request("GET", LONGER_URL, effect=Effect.PREPARES, params=query, timeout_s=TIMEOUT_S)
    long = api.good(reply)
    if not isinstance(long.get("access_token"), str) or not long["access_token"]:
        return refusal(reply, desk.now(), TITLE)
    now = desk.now()
    credentials: dict[str, Json] = {
        "login": "instagram",
        "access_token": long["access_token"],
        "expires_at": end_of(long.get("expires_in"), now),
        "issued_at": now.isoformat(),
    }
    granted = _listed(short.get("permissions"))
    if granted:
        credentials["scope"] = granted
    return Connected(credentials)


def _listed(value: Json) -> str:
    """Permissions come as one text or as a list."""
    return ",".join(str(one) for one in value) if isinstance(value, list) else str(value or "")


# --- Facebook Login -----------------------------------------------------------------------------------------


def _graph(desk: Desk, path: str, query: Mapping[str, str]) -> Reply:
    return desk.http.request("GET", f"{GRAPH}{path}", effect=Effect.PREPARES, params=query, timeout_s=TIMEOUT_S)


def _by_facebook(desk: Desk, begun: Begun, code: str) -> Connected | Refusal:
    app = {"client_id": desk.told["client_id"], "client_secret": desk.told["client_secret"]}
    token: str = ""
    for query in (
        {"redirect_uri": begun.redirect_uri, "code": code},
        {"grant_type": "fb_exchange_token", "fb_exchange_token": ""},
    ):
        # The second exchange makes the first token long: a Page's token has no end only if it comes from that one.
        filled = {name: value or token for name, value in query.items()}
        reply = _graph(desk, "/oauth/access_token", {**app, **filled})
        found = api.good(reply).get("access_token")
        if not isinstance(found, str) or not found:
            return refusal(reply, desk.now(), "Facebook")
        token = found
    reply = _graph(desk, "/me/permissions", {"access_token": token})
    rows = api.good(reply).get("data")
    if not isinstance(rows, list):
        return refusal(reply, desk.now(), "Facebook")
    granted = [str(row.get("permission")) for row in objects(rows) if row.get("status") == "granted"]
    reply = _graph(desk, "/me/accounts", {"fields": PAGE_FIELDS, "limit": "100", "access_token": token})
    if not isinstance(api.good(reply).get("data"), list):
        return refusal(reply, desk.now(), "Facebook")
    page = _chosen(desk, [one for one in objects(api.good(reply)["data"]) if _profile(one).get("id")])
    if isinstance(page, Rejected):
        return page
    return Connected(
        {
            "login": "facebook",
            "access_token": page["access_token"],
            "ig_user_id": str(_profile(page)["id"]),
            "issued_at": desk.now().isoformat(),
            "data_access_ends_at": (desk.now() + DATA_ACCESS).isoformat(),
            "scope": ",".join(granted),
        }
    )


def _profile(page: Mapping[str, Json]) -> dict[str, Json]:
    return mapping(page.get("instagram_business_account")) if page.get("access_token") else {}


def _chosen(desk: Desk, pages: list[dict[str, Json]]) -> dict[str, Json] | Rejected:
    """The Page whose Instagram account is meant."""
    if not pages:
        message = (
            "This Facebook login reaches no Page with an Instagram professional account: connect the account to a Page,"
            " and allow that Page on Facebook's own form."
        )
        return Rejected("no_profile", message)
    names = [str(_profile(page).get("username") or _profile(page)["id"]) for page in pages]
    wanted = desk.told.get("profile") or (names[0] if len(pages) == 1 else desk.choose("Which account?", names))
    for page, name in zip(pages, names, strict=True):
        if wanted is not None and wanted.removeprefix("@").casefold() in {name.casefold(), str(_profile(page)["id"])}:
            return page
    if wanted is None:
        return Rejected("which_profile", f"The login reaches several accounts: say --profile and one of {_and(names)}")
    return Rejected("no_such_profile", f"The login does not reach {wanted!r}; it reaches: {_and(names)}")


def _and(names: list[str]) -> str:
    return ", ".join(names[:20])


CONNECTOR = InstagramConnector()
