"""Signing in to X: OAuth 2.0 with PKCE, by a public or a confidential client.

Source: X API v2, OAuth 2.0 authorization code flow with PKCE, 2026-08. The code is good for 30 seconds. OAuth 1.0a is
stored by ``accounts add``: its tokens come from the developer portal.
"""

from __future__ import annotations

from platforms.code_flow import CLIENT_ID, OPTIONAL_SECRET, CodeFlow
from platforms.connect import ClientAuth, Facts, Pkce, Redirect, Secret
from platforms.x import api

CONNECTOR = CodeFlow(
    "X",
    Facts(
        authorize_url="https://x.com/i/oauth2/authorize",
        token_url=api.TOKEN_URL,
        scopes=api.SCOPES,
        # The portal refuses "localhost"; 127.0.0.1 is taken, port and path as registered.
        redirect=Redirect("127.0.0.1", "/callback"),
        client_auth=ClientAuth.BASIC,
        secret=Secret.OPTIONAL,
        pkce=Pkce.S256,
        source="X API v2, OAuth 2.0 authorization code flow with PKCE, 2026-08",
    ),
    questions=(CLIENT_ID, OPTIONAL_SECRET),
)
