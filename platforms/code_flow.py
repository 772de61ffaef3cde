"""The authorization code flow (RFC 6749, 4.1) that a module only has to describe by its facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import quote, urlencode, urlsplit

from platforms import oauth
from platforms.base import Effect, Json, NotSent, RateLimited, Rejected, Reply
from platforms.connect import (
    Begun,
    ClientAuth,
    Connected,
    Desk,
    Facts,
    Pkce,
    Question,
    Refusal,
    Secret,
    challenge,
    new_state,
    new_verifier,
)
from platforms.outcomes import mapping, moment, retry_after_s

CLIENT_ID = Question("client_id", "client id of your app")
CLIENT_SECRET = Question("client_secret", "client secret of your app", secret=True)
OPTIONAL_SECRET = Question(
    "client_secret", "client secret of your app (empty for an app without one)", secret=True, required=False
)
TIMEOUT_S = 30.0


def authorize_url(facts: Facts, desk: Desk, *, client_id: str, state: str, more: Mapping[str, str]) -> str:
    """The address of the platform's page. Blanks become %20: not every page reads a plus as one."""
    query = {
        "response_type": "code",
        facts.client_param: client_id,
        "redirect_uri": desk.redirect_uri,
        "scope": facts.separator.join(facts.scopes),
        "state": state,
        **facts.extra,
        **more,
    }
    joint = "&" if urlsplit(facts.authorize_url).query else "?"
    return f"{facts.authorize_url}{joint}{urlencode(query, quote_via=quote)}"


def error_of(answer: Mapping[str, Json]) -> tuple[str, str]:
    """The code and the words of a token endpoint's refusal, in the shapes that are around (RFC 6749, Graph)."""
    nested = mapping(answer.get("error"))
    code = answer.get("error") if isinstance(answer.get("error"), str) else nested.get("type") or nested.get("code")
    code = code or answer.get("error_type") or answer.get("code") or ""
    words = answer.get("error_description") or answer.get("error_message") or nested.get("message")
    return str(code)[:60], str(words or answer.get("message") or code or "no reason given")[:200]


def refusal(reply: Reply, now: datetime, title: str) -> Refusal:
    """What a token endpoint's answer without a token means. The code is spent in any case."""
    answer = mapping(reply.json())
    code, words = error_of(answer)
    if reply.status == 429:
        until = moment(reply.headers.get("retry-after"), now) or now + oauth.TOKEN_WAIT
        return RateLimited(until, f"{title} asks to wait with further sign-ins.", 429, scope="app")
    if 400 <= reply.status < 500 or (reply.status < 300 and code):
        return Rejected(code or "code_refused", f"{title} did not take the sign-in: {words}", reply.status)
    message = f"{title} answered {reply.status} without a token."
    return NotSent("sign_in_failed", message, reply.status, retry_after_s(reply, now))


def end_of(seconds: Json, now: datetime) -> str | None:
    """When ``expires_in`` seconds are over, as credentials keep it; None where it says nothing."""
    good = isinstance(seconds, int | float) and not isinstance(seconds, bool) and seconds > 0
    return (now + timedelta(seconds=float(seconds))).isoformat() if good else None


@dataclass(frozen=True)
class CodeFlow:
    """A connector made of facts alone: opens the page, exchanges the code, keeps what was granted."""

    title: str
    of: Facts
    questions: tuple[Question, ...] = (CLIENT_ID, CLIENT_SECRET)
    keeps: Mapping[str, str] = field(default_factory=dict)
    """Fields of the token's answer that the credentials keep, and under which name."""
    authorize_hosts: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        host = urlsplit(self.of.authorize_url).hostname or ""
        object.__setattr__(self, "authorize_hosts", self.authorize_hosts | {host})

    def facts(self, told: Mapping[str, str]) -> Facts:  # noqa: ARG002 - one way to sign in
        """Always the same."""
        return self.of

    def begin(self, desk: Desk) -> Begun | Refusal:
        """The address of the page, with a state and, where the platform has it, a PKCE challenge of its own."""
        state, verifier = new_state(), new_verifier()
        kind = self.of.pkce_for(desk.redirect_uri)
        more = challenge(verifier, kind)
        url = authorize_url(self.of, desk, client_id=desk.told["client_id"], state=state, more=more)
        return Begun(url, state, desk.redirect_uri, {"verifier": verifier} if kind is not Pkce.NONE else {})

    def finish(self, desk: Desk, begun: Begun, answer: Mapping[str, str]) -> Connected | Refusal:
        """The code for tokens: one request, no retry, since a code is good for one."""
        reply = self.exchange(desk, begun, answer)
        found = mapping(reply.json())
        token = found.get("access_token")
        if not (200 <= reply.status < 300 and isinstance(token, str) and token):
            return refusal(reply, desk.now(), self.title)
        return Connected(self.credentials(desk, found))

    def exchange(self, desk: Desk, begun: Begun, answer: Mapping[str, str]) -> Reply:
        """The token endpoint's answer."""
        facts, told = self.of, desk.told
        form = {
            "grant_type": "authorization_code",
            "code": answer["code"],
            "redirect_uri": begun.redirect_uri,
            **({"code_verifier": str(begun.kept["verifier"])} if "verifier" in begun.kept else {}),
            **facts.extra_token,
        }
        headers: dict[str, str] = {}
        secret = told.get("client_secret")
        if facts.client_auth is ClientAuth.BASIC and secret:
            headers = oauth.basic(told["client_id"], secret)
        else:
            form[facts.client_param] = told["client_id"]
            if secret and facts.secret is not Secret.NONE:
                form[facts.secret_param] = secret
        return desk.http.request(
            "POST", facts.token_url, effect=Effect.PREPARES, headers=headers, form=form, timeout_s=TIMEOUT_S
        )

    def credentials(self, desk: Desk, found: Mapping[str, Json]) -> dict[str, Json]:
        """What is stored: the tokens, the app that they belong to, their end, and what was granted."""
        now = desk.now()
        kept: dict[str, Json] = {
            "access_token": found["access_token"],
            self.of.client_param: desk.told["client_id"],
            "expires_at": end_of(found.get("expires_in"), now),
        }
        if desk.told.get("client_secret"):
            kept[self.of.secret_param] = desk.told["client_secret"]
        for name in ("refresh_token", "scope"):
            if isinstance(found.get(name), str) and found[name]:
                kept[name] = found[name]
        for name, own in self.keeps.items():
            if found.get(name) is not None:
                kept[own] = end_of(found[name], now) if own.endswith("_at") else found[name]
        return kept
