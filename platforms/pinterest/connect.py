"""Signing in to Pinterest. Source: OpenAPI 5.23.0, 2025-12, and its guide to authentication."""

from __future__ import annotations

from platforms.code_flow import CodeFlow
from platforms.connect import ClientAuth, Facts, Pkce, Redirect, Secret
from platforms.pinterest import api

CONNECTOR = CodeFlow(
    "Pinterest",
    Facts(
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
    ),
)
