"""Signing in to Pinterest. Source: OpenAPI 5.23.0, 2025-12, and its guide to authentication."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from platforms.base import Json
from platforms.code_flow import CLIENT_ID, CLIENT_SECRET, CodeFlow
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
)
from platforms.pinterest import api

FACTS = Facts(
    authorize_url="https://www.pinterest.com/oauth/",
    token_url=api.TOKEN_URL,
    scopes=api.SCOPES,
    separator=",",
    redirect=Redirect("localhost", "/callback"),
    client_auth=ClientAuth.BASIC,
    secret=Secret.NEEDED,
    pkce=Pkce.NONE,
    # Apps from before 2025-09-25 get a refresh token that ends for good without it; the others ignore it.
    extra_token={"continuous_refresh": "true"},
    source="Pinterest API v5, OpenAPI 5.23.0, POST /oauth/token, 2025-12",
)
SECRET_BOARDS = Question(
    "secret_boards", "whether secret boards shall be reached: yes or no", choices=("yes", "no"), default="no"
)
TIER = Question(
    "access_tier", "the app's access tier, as Pinterest's pages show it", required=False, choices=("trial", "standard")
)


@dataclass(frozen=True)
class PinterestConnector(CodeFlow):
    """The code flow; secret boards have scopes of their own, and only a person can tell the app's tier."""

    title: str = "Pinterest"
    of: Facts = FACTS
    questions: tuple[Question, ...] = (CLIENT_ID, CLIENT_SECRET, SECRET_BOARDS, TIER)
    authorize_hosts: frozenset[str] = field(default=frozenset())
    settings: ClassVar[frozenset[str]] = frozenset({"access_tier"})

    def answers(self, credentials: Mapping[str, Json]) -> Mapping[str, str]:
        """That secret boards shall be reached, where they were."""
        return {"secret_boards": "yes"} if set(granted_scopes(credentials)) & set(api.SECRET_SCOPES) else {}

    def facts(self, told: Mapping[str, str]) -> Facts:
        """With the scopes of secret boards, where they shall be reached."""
        secret = told.get("secret_boards") == "yes"
        return replace(self.of, scopes=(*self.of.scopes, *api.SECRET_SCOPES)) if secret else self.of

    def begin(self, desk: Desk) -> Begun | Refusal:
        """The address of the page."""
        return CodeFlow(self.title, self.facts(desk.told)).begin(desk)

    def finish(self, desk: Desk, begun: Begun, answer: Mapping[str, str]) -> Connected | Refusal:
        """The code for tokens; the tier that was told goes with them."""
        outcome = super().finish(desk, begun, answer)
        if isinstance(outcome, Connected) and desk.told.get("access_tier"):
            return replace(outcome, credentials={**outcome.credentials, "access_tier": desk.told["access_tier"]})
        return outcome


CONNECTOR = PinterestConnector()
