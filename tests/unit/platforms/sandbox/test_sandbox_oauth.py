"""The sandbox's sign-in pages and token endpoints refuse what the real ones refuse."""

from __future__ import annotations

import base64
import hashlib
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import requests
from browser import code_of, sign_in

from platforms.bluesky import dpop
from platforms.sandbox import Sandbox

BACK = "http://127.0.0.1:8765/callback"
VERIFIER = "v" * 64
DIGEST = hashlib.sha256(VERIFIER.encode())
S256 = base64.urlsafe_b64encode(DIGEST.digest()).rstrip(b"=").decode()
PAGES = {
    "x": ("/i/oauth2/authorize", "tweet.read users.read offline.access", {"code_challenge": S256}),
    "pinterest": ("/oauth/", "user_accounts:read", {}),
    "tiktok": ("/v2/auth/authorize/", "user.info.basic", {"code_challenge": DIGEST.hexdigest()}),
}
ENDPOINTS = {"x": "/2/oauth2/token", "pinterest": "/v5/oauth/token", "tiktok": "/v2/oauth/token/"}


@pytest.fixture(params=sorted(PAGES))
def platform(request: pytest.FixtureRequest, box: Sandbox) -> str:
    box.app(request.param, "app", "secret", [BACK])
    return str(request.param)


def page(box: Sandbox, platform: str, **change: str) -> str:
    path, scope, more = PAGES[platform]
    client = "client_key" if platform == "tiktok" else "client_id"
    method = {"code_challenge_method": "S256"} if more else {}
    query = {"response_type": "code", client: "app", "redirect_uri": BACK, "scope": scope, "state": "s"}
    wanted = query | more | method | {client if name == "client" else name: value for name, value in change.items()}
    return f"{box.url}{path}?{urlencode({name: value for name, value in wanted.items() if value})}"


def exchange(box: Sandbox, platform: str, code: str, **change: str) -> requests.Response:
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK, "code_verifier": VERIFIER}
    auth = ("app", "secret")
    if platform == "tiktok":
        form |= {"client_key": "app", "client_secret": "secret"}
    if "client" in change:
        auth = (change.pop("client"), "secret")
        form |= {"client_key": auth[0]} if platform == "tiktok" else {}
    return requests.post(
        box.url + ENDPOINTS[platform], data=form | change, auth=None if platform == "tiktok" else auth, timeout=10
    )


def taken(answer: requests.Response) -> bool:
    return answer.status_code == 200 and "access_token" in answer.json()


# --- All who have a code flow of the usual kind ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "change", [{"client": "other"}, {"redirect_uri": BACK + "/"}, {"redirect_uri": "http://127.0.0.1:8766/callback"}]
)
def test_a_wrong_client_or_redirect_is_told_on_the_page_and_sent_nowhere(
    box: Sandbox, platform: str, change: dict[str, str]
) -> None:
    answer = requests.get(page(box, platform, **change), timeout=10, allow_redirects=False)
    assert (answer.status_code, "location" in answer.headers) == (400, False)


@pytest.mark.parametrize(
    ("change", "error"),
    [({"response_type": "token"}, "unsupported_response_type"), ({"scope": "everything"}, "invalid_scope"),
     ({"scope": ""}, "invalid_scope")],
)  # fmt: skip
def test_a_wrong_question_is_sent_back_with_its_state(
    box: Sandbox, platform: str, change: dict[str, str], error: str
) -> None:
    back = dict(parse_qsl(urlsplit(sign_in(page(box, platform, **change))).query))
    assert (back["error"], back["state"]) == (error, "s")


@pytest.mark.parametrize("platform", ["x", "tiktok"], indirect=True)
def test_pkce_is_demanded_where_the_platform_demands_it(box: Sandbox, platform: str) -> None:
    for change in ({"code_challenge": ""}, {"code_challenge": "short"}, {"code_challenge_method": "plain"}):
        back = dict(parse_qsl(urlsplit(sign_in(page(box, platform, **change))).query))
        assert back["error"] == "invalid_request"


def test_a_denied_consent(box: Sandbox, platform: str) -> None:
    back = dict(parse_qsl(urlsplit(sign_in(page(box, platform), deny=True)).query))
    assert (back["error"], back["state"], "code" in back) == ("access_denied", "s", False)


def test_a_page_is_answered_once(box: Sandbox, platform: str) -> None:
    shown = requests.get(page(box, platform), timeout=10).text
    ticket = shown.split('name="ticket" value="')[1].split('"')[0]
    form = {"ticket": ticket, "account": "acme", "decision": "allow"}
    url = f"{box.url}/_sandbox/consent"
    assert requests.post(url, data=form, timeout=10, allow_redirects=False).status_code == 303
    assert requests.post(url, data=form, timeout=10, allow_redirects=False).status_code == 400


def test_a_code_is_good_once_and_its_tokens_die_with_it(box: Sandbox, platform: str) -> None:
    code = code_of(sign_in(page(box, platform)))
    first = exchange(box, platform, code)
    assert taken(first)
    token = first.json()["access_token"]
    assert not taken(exchange(box, platform, code))
    if platform == "x":
        dead = requests.get(f"{box.url}/2/users/me", headers={"Authorization": f"Bearer {token}"}, timeout=10)
        assert dead.status_code == 401


@pytest.mark.parametrize(
    ("platform", "change"),
    [
        *[
            (name, change)
            for name in ("x", "tiktok")
            for change in ({"code_verifier": "w" * 64}, {"code_verifier": ""})
        ],
        *[(name, change) for name in PAGES for change in ({"redirect_uri": BACK + "x"}, {"client": "other"})],
    ],
    indirect=["platform"],
)
def test_a_code_belongs_to_its_client_redirect_and_verifier(
    box: Sandbox, platform: str, change: dict[str, str]
) -> None:
    box.app(platform, "other", "secret", [BACK])
    code = code_of(sign_in(page(box, platform)))
    assert not taken(exchange(box, platform, code, **change))
    assert taken(exchange(box, platform, code))


def test_a_code_runs_out(box: Sandbox, platform: str) -> None:
    box.configure(code_life_s=0.0)
    assert not taken(exchange(box, platform, code_of(sign_in(page(box, platform)))))


def test_only_what_was_ticked_is_granted(box: Sandbox) -> None:
    box.app("x", "app", "secret", [BACK])
    code = code_of(sign_in(page(box, "x"), without=["offline.access"]))
    answer = exchange(box, "x", code).json()
    assert answer["scope"] == "tweet.read users.read"
    assert "refresh_token" not in answer


def test_the_app_that_is_always_there_listens_where_the_command_does(box: Sandbox) -> None:
    for platform, redirect in (("x", BACK), ("pinterest", BACK.replace("127.0.0.1", "localhost"))):
        url = page(box, platform, client=f"sandbox-app-{platform}", redirect_uri=redirect)
        assert sign_in(url).startswith(redirect + "?code=")


# --- Bluesky ----------------------------------------------------------------------------------------------------


class Session:
    """A client of Bluesky that proves what it is told to."""

    def __init__(self, box: Sandbox, scope: str = "atproto transition:generic") -> None:
        self.box, self.key, self.nonce = box, dpop.new_key(), ""
        self.client = "http://localhost?" + urlencode({"redirect_uri": "http://127.0.0.1/callback", "scope": scope})
        meta = requests.get(f"{box.url}/.well-known/oauth-authorization-server", timeout=10).json()
        self.par, self.at, self.page = (
            urlsplit(meta[name]).path
            for name in ("pushed_authorization_request_endpoint", "token_endpoint", "authorization_endpoint")
        )
        self.tokens: dict[str, Any] = {}

    def proof(self, method: str, path: str, token: str | None = None, **change: Any) -> str:
        url = ("https://bsky.social" if token is None else "https://sandbox.us-east.host.bsky.network") + path
        nonce = change.pop("nonce", self.nonce)
        key = change.pop("key", self.key)
        now = change.pop("now", datetime.now(UTC))
        return dpop.proof(key, method, url, now=now, nonce=nonce or None, token=token)

    def post(self, path: str, proof: str | None = None, **form: str) -> requests.Response:
        headers = {"DPoP": self.proof("POST", path) if proof is None else proof}
        if proof == "":
            headers = {}
        answer = requests.post(
            self.box.url + path, data={"client_id": self.client, **form}, headers=headers, timeout=10
        )
        self.nonce = answer.headers.get("dpop-nonce", self.nonce)
        return answer

    def push(self, **change: str) -> requests.Response:
        form = {
            "response_type": "code", "redirect_uri": BACK, "scope": "atproto transition:generic", "state": "s",
            "code_challenge": S256, "code_challenge_method": "S256",
        }  # fmt: skip
        return self.post(self.par, **form | change)

    def code(self) -> str:
        if not self.nonce:
            self.push()
        uri = self.push().json()["request_uri"]
        page = f"{self.box.url}{self.page}?{urlencode({'client_id': self.client, 'request_uri': uri})}"
        return code_of(sign_in(page))

    def redeem(self, code: str, proof: str | None = None, **change: str) -> requests.Response:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK, "code_verifier": VERIFIER}
        return self.post(self.at, proof, **form | change)

    def get(self, proof: str | None = None, scheme: str = "DPoP") -> requests.Response:
        path, token = "/xrpc/com.atproto.server.getSession", self.tokens["access_token"]
        headers = {"Authorization": f"{scheme} {token}"}
        if proof != "":
            headers["DPoP"] = self.proof("GET", path, token) if proof is None else proof
        return requests.get(self.box.url + path, headers=headers, timeout=10)


@pytest.fixture
def session(box: Sandbox) -> Session:
    box.account("bluesky", "acme")
    made = Session(box)
    made.tokens = made.redeem(made.code()).json()
    assert made.tokens["token_type"] == "DPoP"
    return made


def test_the_first_request_is_told_which_nonce_to_use(box: Sandbox) -> None:
    client = Session(box)
    first = client.push()
    assert (first.status_code, first.json()["error"]) == (400, "use_dpop_nonce")
    assert client.nonce
    assert client.push().status_code == 201


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"redirect_uri": "http://127.0.0.1:9/elsewhere"}, "invalid_request"),
        ({"redirect_uri": "http://localhost:9/callback"}, "invalid_request"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"state": ""}, "invalid_request"),
        ({"scope": "transition:generic"}, "invalid_scope"),
        ({"scope": "atproto transition:email"}, "invalid_scope"),
        ({"client_id": "http://localhost/path"}, "invalid_client"),
        ({"client_id": "https://app.example/m.json"}, "invalid_client_metadata"),
    ],
)
def test_requests_that_are_not_pushed(box: Sandbox, change: dict[str, str], error: str) -> None:
    client = Session(box)
    client.push()
    answer = client.push(**change)
    assert (answer.status_code, answer.json()["error"]) == (400, error)


def test_what_was_not_pushed_has_no_page(box: Sandbox) -> None:
    client = Session(box)
    query = urlencode({"client_id": client.client, "request_uri": "urn:none"})
    assert requests.get(f"{box.url}{client.page}?{query}", timeout=10).status_code == 400


def test_proofs_that_are_not_taken_at_the_token_endpoint(box: Sandbox) -> None:
    box.account("bluesky", "acme")
    client = Session(box)
    code = client.code()
    used = client.proof("POST", client.at)
    assert client.redeem("none", used).json()["error"] == "invalid_grant"
    for proof in (
        "",
        "rubbish",
        used,
        client.proof("GET", client.at),
        client.proof("POST", client.par),
        client.proof("POST", client.at, token="t"),
        client.proof("POST", client.at, now=datetime.fromtimestamp(time.time() - 900, UTC)),
    ):
        assert client.redeem(code, proof).json()["error"] == "invalid_dpop_proof", proof[:20]
    assert client.redeem(code, client.proof("POST", client.at, nonce="old")).json()["error"] == "use_dpop_nonce"
    other = client.proof("POST", client.at, key=dpop.new_key())
    assert client.redeem(code, other).json()["error"] == "invalid_dpop_key_binding"


def test_a_code_of_bluesky_is_bound_as_well(box: Sandbox) -> None:
    box.account("bluesky", "acme")
    client = Session(box)
    code = client.code()
    for change in ({"code_verifier": "w" * 64}, {"redirect_uri": "http://127.0.0.1:1/callback"}):
        assert client.redeem(code, **change).json()["error"] == "invalid_grant"
    client.tokens = client.redeem(code).json()
    assert client.get().status_code == 200
    assert client.redeem(code).json()["error"] == "invalid_grant"
    # Its tokens died with the code that came a second time.
    assert client.get().json()["error"] == "invalid_token"


def test_a_token_needs_its_proof(session: Session) -> None:
    assert session.get().status_code == 200
    assert session.get().headers["dpop-nonce"]
    path, token = "/xrpc/com.atproto.server.getSession", session.tokens["access_token"]
    assert session.get("", "Bearer").json()["error"] == "invalid_token"
    assert session.get("").status_code == 401
    stale = session.get(session.proof("GET", path, token, nonce="old"))
    assert stale.status_code == 401
    assert 'error="use_dpop_nonce"' in stale.headers["www-authenticate"]
    for proof in (
        session.proof("GET", path, "another token"),
        session.proof("POST", path, token),
        session.proof("GET", path),
    ):
        assert session.get(proof).json()["error"] == "invalid_dpop_proof"
    assert session.get(session.proof("GET", path, token, key=dpop.new_key())).json()["error"] == "invalid_token"
    assert requests.get(session.box.url + path, headers={"Authorization": "DPoP oat-x"}, timeout=10).status_code == 401


def test_a_refresh_token_is_good_once_and_a_second_time_ends_the_session(session: Session) -> None:
    form = {"grant_type": "refresh_token", "refresh_token": session.tokens["refresh_token"]}
    stolen = session.proof("POST", session.at, key=dpop.new_key())
    assert session.post(session.at, stolen, **form).json()["error"] == "invalid_grant"
    renewed = session.post(session.at, **form)
    assert renewed.status_code == 200
    session.tokens = renewed.json()
    assert session.get().status_code == 200
    assert session.post(session.at, **form).json()["error"] == "invalid_grant"
    assert session.get().json()["error"] == "invalid_token"


def test_an_oauth_token_is_no_session_of_an_app_password(session: Session) -> None:
    url = f"{session.box.url}/xrpc/com.atproto.server.refreshSession"
    headers = {"Authorization": f"Bearer {session.tokens['refresh_token']}"}
    assert requests.post(url, headers=headers, timeout=10).json()["error"] == "InvalidToken"


def test_a_confidential_client_has_to_sign(box: Sandbox) -> None:
    box.account("bluesky", "acme")
    key = dpop.new_key()
    app = "https://app.example/m.json"
    box.app("bluesky", app, None, [BACK], jwk=dpop.public_of(key))
    client = Session(box)
    client.client = app
    client.push()
    assert client.push().json()["error"] == "invalid_client"
    kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    good = {"iss": app, "sub": app, "aud": "https://bsky.social", "jti": "1", "iat": int(time.time())}
    for claims, status in (({**good, "aud": "https://evil.example"}, 401), ({**good, "iat": 0}, 401), (good, 201)):
        signed = dpop.sign(key, {}, claims)
        assert client.push(client_assertion_type=kind, client_assertion=signed).status_code == status
    forged = dpop.sign(dpop.new_key(), {}, good)
    assert client.push(client_assertion_type=kind, client_assertion=forged).status_code == 401
