"""Signing in to TikTok: the app is named by ``client_key``, scopes are separated by commas, PKCE is its own.

A desktop app is sent back to this machine and has to use PKCE, whose challenge TikTok wants as the hexadecimal digest;
a web app is sent back by https and uses none. Source: Login Kit for Desktop and for Web, 2026-11.
"""

from __future__ import annotations

from platforms.code_flow import CodeFlow
from platforms.connect import ClientAuth, Facts, Pkce, Question, Redirect, Secret
from platforms.tiktok import api

CONNECTOR = CodeFlow(
    "TikTok",
    Facts(
        authorize_url=api.AUTHORIZE_URL,
        token_url=api.ORIGIN + api.TOKEN_PATH,
        scopes=api.SCOPES,
        separator=",",
        redirect=Redirect("127.0.0.1", "/callback/"),
        client_auth=ClientAuth.FORM,
        secret=Secret.NEEDED,
        pkce=Pkce.S256_HEX,
        pkce_web=Pkce.NONE,
        client_param="client_key",
        source="TikTok Login Kit for Desktop and for Web, 2026-11",
    ),
    questions=(
        Question("client_id", "client key of your app"),
        Question("client_secret", "client secret of your app", secret=True),
    ),
    keeps={"open_id": "open_id", "refresh_expires_in": "refresh_expires_at"},
)
