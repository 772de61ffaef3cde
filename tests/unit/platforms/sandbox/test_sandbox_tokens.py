"""Tokens: who is let in, what expires, what a refresh gives."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable
from urllib.parse import urlencode

import requests
from browser import code_of, sign_in
from sandbox_client import Client

from platforms.sandbox import Sandbox

Clients = Callable[[str], Client]


def refresh_x(box: Sandbox, token: str, **more: str) -> requests.Response:
    form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": "app", **more}
    return requests.post(f"{box.url}/2/oauth2/token", data=form, timeout=10)


PINTEREST_APP = ("sandbox-app-pinterest", "sandbox-secret-pinterest")


def refresh_pinterest(box: Sandbox, token: str) -> requests.Response:
    form = {"grant_type": "refresh_token", "refresh_token": token}
    return requests.post(f"{box.url}/v5/oauth/token", data=form, auth=PINTEREST_APP, timeout=10)


def test_unknown_tokens_and_tokens_of_another_platform_are_refused(box: Sandbox, client: Clients) -> None:
    for token in ("", "nobody", "sandbox-x-", "sandbox-mars-acme", "sandbox-pinterest-acme"):
        answer = client(token)("GET", "/2/users/me")
        assert answer.status_code == 401, token
        assert answer.json()["title"] == "Unauthorized"
    answer = client("sandbox-x-acme")("GET", "/v5/user_account")
    assert (answer.status_code, answer.json()["code"]) == (401, 2)
    assert requests.get(f"{box.url}/2/users/me", timeout=10).status_code == 401


def test_a_token_expires_and_a_revoked_one_is_dead(box: Sandbox, client: Clients) -> None:
    short = box.account("x", "short", expires_in=0.2)["token"]
    assert client(short)("GET", "/2/users/me").status_code == 200
    time.sleep(0.25)
    assert client(short)("GET", "/2/users/me").status_code == 401
    made = box.account("x", "gone")
    box.account("x", "gone", revoked=True)
    assert client(made["token"])("GET", "/2/users/me").status_code == 401
    assert refresh_x(box, made["refresh_token"]).status_code == 400


def test_scopes_are_checked(box: Sandbox, client: Clients) -> None:
    made = box.account("x", "reader", scopes=["tweet.read", "users.read"])
    assert client(made["token"])("GET", "/2/users/me").status_code == 200
    assert client(made["token"])("POST", "/2/tweets", json={"text": "a"}).status_code == 403
    assert box.accepted() == []


def test_x_refresh_tokens_work_once_and_a_second_use_kills_the_chain(box: Sandbox, client: Clients) -> None:
    first = box.account("x", "acme", expired=False)
    renewed = refresh_x(box, first["refresh_token"])
    assert renewed.status_code == 200
    body = renewed.json()
    assert body["expires_in"] == 7200
    assert client(body["access_token"])("GET", "/2/users/me").status_code == 200
    again = refresh_x(box, first["refresh_token"])
    assert (again.status_code, again.json()["error"]) == (400, "invalid_request")
    assert client(body["access_token"])("GET", "/2/users/me").status_code == 401
    assert refresh_x(box, body["refresh_token"]).status_code == 400


def test_x_wants_a_client_and_a_form(box: Sandbox) -> None:
    token = box.account("x", "acme")["refresh_token"]
    assert refresh_x(box, token, client_id="").status_code == 401
    url = f"{box.url}/2/oauth2/token"
    assert requests.post(url, json={"grant_type": "refresh_token"}, timeout=10).status_code == 400
    form = {"grant_type": "password", "client_id": "app"}
    assert requests.post(url, data=form, timeout=10).json()["error"] == "unsupported_grant_type"
    basic = requests.post(
        url,
        data={"grant_type": "refresh_token", "refresh_token": token},
        auth=("app", "secret"),
        timeout=10,
    )
    assert basic.status_code == 200


def test_codes_are_exchanged(box: Sandbox, client: Clients) -> None:
    box.app("x", "app", None, ["http://127.0.0.1/back"])
    box.app("pinterest", "app", "secret", ["http://127.0.0.1/back"])
    verifier = "v" * 43
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    asked = {"response_type": "code", "client_id": "app", "redirect_uri": "http://127.0.0.1/back", "state": "s"}
    bound = {**asked, "scope": "tweet.read users.read", "code_challenge": challenge, "code_challenge_method": "S256"}
    form = {
        "grant_type": "authorization_code",
        "code": code_of(sign_in(f"{box.url}/i/oauth2/authorize?{urlencode(bound)}")),
        "redirect_uri": "http://127.0.0.1/back",
        "code_verifier": verifier,
        "client_id": "app",
    }
    url = f"{box.url}/2/oauth2/token"
    got = requests.post(url, data=form, timeout=10).json()
    assert client(got["access_token"])("GET", "/2/users/me").json()["data"]["username"] == "acme"
    assert requests.post(url, data={**form, "code": "other"}, timeout=10).status_code == 400
    form["code"] = code_of(sign_in(f"{box.url}/oauth/?{urlencode({**asked, 'scope': 'user_accounts:read'})}"))
    url = f"{box.url}/v5/oauth/token"
    got = requests.post(url, data=form, auth=("app", "secret"), timeout=10).json()
    assert client(got["access_token"])("GET", "/v5/user_account").json()["username"] == "acme"
    wrong = requests.post(url, data={**form, "code": "other"}, auth=("app", "secret"), timeout=10)
    assert wrong.status_code == 400


def test_pinterest_refreshes_without_end(box: Sandbox, client: Clients) -> None:
    first = box.account("pinterest", "acme")
    for _ in range(2):
        renewed = refresh_pinterest(box, first["refresh_token"])
        assert renewed.status_code == 200
    body = renewed.json()
    assert body["refresh_token"] != first["refresh_token"]
    assert body["refresh_token_expires_in"] == 5_184_000
    assert client(body["access_token"])("GET", "/v5/user_account").status_code == 200
    assert refresh_pinterest(box, body["refresh_token"]).status_code == 200
    assert refresh_pinterest(box, "nobody").status_code == 401
    form = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    url = f"{box.url}/v5/oauth/token"
    assert requests.post(url, data=form, timeout=10).status_code == 401
    assert requests.post(url, json=form, auth=("a", "b"), timeout=10).status_code == 400
    form["grant_type"] = "password"
    assert requests.post(url, data=form, auth=PINTEREST_APP, timeout=10).status_code == 400


def test_refresh_tokens_are_made_by_their_name_too(box: Sandbox, client: Clients) -> None:
    got = refresh_x(box, "sandbox-refresh-x-acme").json()
    assert client(got["access_token"])("GET", "/2/users/me").json()["data"]["username"] == "acme"
    assert client("sandbox-refresh-x-acme")("GET", "/2/users/me").status_code == 401
    revoked = requests.post(f"{box.url}/2/oauth2/revoke", data={"token": got["access_token"]}, timeout=10)
    assert revoked.json() == {"revoked": True}
    assert client(got["access_token"])("GET", "/2/users/me").status_code == 401
    wrong = requests.post(f"{box.url}/2/oauth2/revoke", data={"token": "nobody"}, timeout=10)
    assert wrong.status_code == 400
