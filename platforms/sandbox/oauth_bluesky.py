"""Bluesky's authorization server, and what its servers of records ask of an OAuth token: as the specification says.

Pushed requests, PKCE, proofs (DPoP) with nonces of the server's own, tokens bound to the client's key. Checked with
``cryptography`` and nothing of the client's code. Source: atproto OAuth specification and reference PDS, 2026-08.
Where it differs: the endpoints, which clients take from the metadata, have paths of the sandbox's own, since Mastodon
uses the same ones; sessions are kept in memory.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from platforms.sandbox.bluesky_words import HOST, BlueskyWords, did_of, handle_of
from platforms.sandbox.emulator import Headers, RefusedError, Route
from platforms.sandbox.oauth_apps import App, Asked
from platforms.sandbox.wire import Request, Response, json_response

ISSUER = "https://bsky.social"
ACCESS_LIFE_S = 3600.0
REFRESH_LIFE_S = 14 * 86_400.0
NONCE_LIFE_S = 180.0
PROOF_AGE_S = 10.0 + NONCE_LIFE_S
SCOPES = ("atproto", "transition:generic", "transition:chat.bsky", "transition:email")
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_PAR, _TOKEN, _AUTHORIZE = "/sandbox/atproto/par", "/sandbox/atproto/token", "/sandbox/atproto/authorize"


class UntrueError(Exception):
    """A signed text is not what it has to be."""


@dataclass(slots=True)
class Session:
    """What tokens belong to."""

    account: str
    client_id: str
    key: str
    """Thumbprint."""
    scopes: tuple[str, ...]


def _raw(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _whole(text: str) -> int:
    return int.from_bytes(_raw(text), "big")


def verified(text: str, jwk: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Head and claims of a JWT signed with ES256, by ``jwk`` or by the key in its head.

    :raises UntrueError: it is none, or its signature is wrong.
    """
    try:
        head_text, claims_text, signature = text.split(".")
        head, claims = json.loads(_raw(head_text)), json.loads(_raw(claims_text))
        key = dict(jwk or head["jwk"])
        numbers = ec.EllipticCurvePublicNumbers(_whole(key["x"]), _whole(key["y"]), ec.SECP256R1())
        raw = _raw(signature)
        if head["alg"] != "ES256" or key.get("crv") != "P-256" or len(raw) != 64 or "d" in key:
            raise UntrueError("not signed with ES256")
        der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
        numbers.public_key().verify(der, f"{head_text}.{claims_text}".encode(), ec.ECDSA(hashes.SHA256()))
    except (ValueError, KeyError, TypeError, InvalidSignature) as error:
        raise UntrueError(type(error).__name__) from None
    return head, claims


def print_of(jwk: Mapping[str, Any]) -> str:
    """RFC 7638."""
    words = json.dumps({name: jwk[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":"))
    return base64.urlsafe_b64encode(hashlib.sha256(words.encode()).digest()).rstrip(b"=").decode()


class BlueskyOAuth:
    """The authorization server and the keeper of proofs."""

    def __init__(self, emulator: BlueskyWords) -> None:
        self._bluesky = emulator
        self._world = emulator.world
        self._sessions: dict[str, Session] = {}
        self._seen: dict[str, float] = {}
        self._secret = secrets.token_bytes(16)

    def routes(self) -> Sequence[Route]:
        return (
            Route("GET", "/.well-known/oauth-protected-resource", "resource", "token", self.resource, signed=False),
            Route("GET", "/.well-known/oauth-authorization-server", "metadata", "token", self.metadata, signed=False),
            Route("GET", "/did:plc:{id}", "did", "token", self.document, signed=False),
            Route("POST", _PAR, "par", "token", self.par, signed=False),
            Route("POST", _TOKEN, "oauth_token", "token", self.token, signed=False),
        )

    # --- who is who ---

    async def resource(self, _request: Request) -> Response:
        return json_response({"resource": f"https://{HOST}", "authorization_servers": [ISSUER]})

    async def metadata(self, _request: Request) -> Response:
        return json_response(
            {
                "issuer": ISSUER,
                "authorization_endpoint": ISSUER + _AUTHORIZE,
                "token_endpoint": ISSUER + _TOKEN,
                "pushed_authorization_request_endpoint": ISSUER + _PAR,
                "require_pushed_authorization_requests": True,
                "scopes_supported": list(SCOPES),
                "response_types_supported": ["code"],
                "grant_types_supported": ["authorization_code", "refresh_token"],
                "code_challenge_methods_supported": ["S256"],
                "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
                "token_endpoint_auth_signing_alg_values_supported": ["ES256"],
                "dpop_signing_alg_values_supported": ["ES256"],
                "authorization_response_iss_parameter_supported": True,
                "client_id_metadata_document_supported": True,
            }
        )

    async def document(self, request: Request) -> Response:
        did = f"did:plc:{request.args['id']}"
        account = self._bluesky.owner(did)
        if account is None:
            return json_response({"message": f"DID not registered: {did}"}, 404)
        service = {"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": f"https://{HOST}"}
        return json_response({"id": did, "alsoKnownAs": [f"at://{handle_of(account)}"], "service": [service]})

    # --- the authorization server ---

    async def par(self, request: Request) -> Response:
        form = request.form()
        key = self._proof(request, _PAR)
        app = self._app(form)
        redirect_uri, scopes = form.get("redirect_uri", ""), tuple(form.get("scope", "").split())
        if not app.takes(redirect_uri):
            raise self._no(400, "invalid_request", "Invalid redirect_uri")
        if form.get("response_type") != "code" or not form.get("state"):
            raise self._no(400, "invalid_request", "response_type and state are required")
        if form.get("code_challenge_method") != "S256" or len(form.get("code_challenge", "")) != 43:
            raise self._no(400, "invalid_request", "code_challenge of S256 is required")
        if "atproto" not in scopes or not set(scopes) <= set(SCOPES):
            raise self._no(400, "invalid_scope", "Missing or unknown scope")
        asked = Asked(app, redirect_uri, scopes, form["state"], form["code_challenge"], more={"iss": ISSUER})
        asked.bound_to = key
        hinted = self._bluesky.owner(form.get("login_hint", "").lower())
        asked.hint = hinted.name if hinted else ""
        uri = self._world.apps.open(asked, f"urn:ietf:params:oauth:request_uri:req-{secrets.token_hex(16)}")
        return json_response({"request_uri": uri, "expires_in": 299}, 201)

    async def token(self, request: Request) -> Response:
        form = request.form()
        key = self._proof(request, _TOKEN)
        app = self._app(form)
        if form.get("grant_type") == "authorization_code":
            grant = self._world.apps.redeem("bluesky", form, app.client_id, self._world.accounts)
            if isinstance(grant, str):
                raise self._no(400, "invalid_grant", grant)
            if grant.asked.bound_to != key:
                raise self._no(400, "invalid_dpop_key_binding", "The proof is of another key")
            if "atproto" not in grant.scopes:
                raise self._no(400, "access_denied", "The scope atproto was not granted")
            session = Session(grant.account, app.client_id, key, grant.scopes)
            answer = self._tokens(session)
            grant.tokens += [answer["access_token"], answer["refresh_token"]]
            return json_response(answer)
        if form.get("grant_type") != "refresh_token":
            raise self._no(400, "unsupported_grant_type", "The grant_type is not supported")
        value = form.get("refresh_token", "")
        known, token = self._sessions.get(value), self._world.accounts.refresh_token("bluesky", value)
        if known is None or token is None or known.client_id != app.client_id or known.key != key:
            raise self._no(400, "invalid_grant", "Invalid refresh token")
        if not self._world.accounts.good(token):
            # A token that comes a second time may have been stolen: the whole session ends.
            for other in [one for one, session in self._sessions.items() if session is known]:
                self._world.accounts.spend_value(other)
            raise self._no(400, "invalid_grant", "Refresh token replayed")
        self._world.accounts.spend(token)
        return json_response(self._tokens(known))

    def _tokens(self, session: Session) -> dict[str, Any]:
        account = self._world.accounts.ensure("bluesky", session.account)
        life_s = self._world.settings.token_life_s or ACCESS_LIFE_S
        access = self._world.accounts.issue(account, value=f"oat-{secrets.token_hex(24)}", expires_in_s=life_s)
        value = f"ort-{secrets.token_hex(24)}"
        refresh = self._world.accounts.issue(account, refresh=True, value=value, expires_in_s=REFRESH_LIFE_S)
        self._sessions[access.value] = self._sessions[refresh.value] = session
        return {
            "access_token": access.value,
            "token_type": "DPoP",
            "refresh_token": refresh.value,
            "scope": " ".join(session.scopes),
            "expires_in": int(life_s),
            "sub": did_of(account),
        }

    def _app(self, form: Mapping[str, str]) -> App:
        """:raises RefusedError: the client is not known, or does not prove who it is."""
        client_id = form.get("client_id", "")
        if client_id.startswith("http://localhost"):
            parts = urlsplit(client_id)
            if parts.netloc != "localhost" or parts.path not in {"", "/"}:
                raise self._no(400, "invalid_client", "Invalid loopback client ID")
            query = parse_qs(parts.query)
            if set(query) - {"redirect_uri", "scope"}:
                raise self._no(400, "invalid_client", "Unexpected query parameter")
            known = query.get("redirect_uri", ["http://127.0.0.1/", "http://[::1]/"])
            if not set(form.get("scope", "").split()) <= set(query.get("scope", ["atproto"])[0].split()):
                raise self._no(400, "invalid_scope", "The client does not declare this scope")
            # The port is not compared.
            return App("bluesky", client_id, None, tuple(one.replace("127.0.0.1", "127.0.0.1:*", 1) for one in known))
        app = self._world.apps.get("bluesky", client_id)
        if app is None:
            raise self._no(400, "invalid_client_metadata", "The client's metadata cannot be read")
        if app.jwk is not None:
            self._assertion(form, app)
        return app

    def _assertion(self, form: Mapping[str, str], app: App) -> None:
        if form.get("client_assertion_type") != ASSERTION:
            raise self._no(401, "invalid_client", "client_assertion is required")
        try:
            _, claims = verified(form.get("client_assertion", ""), app.jwk)
        except UntrueError as error:
            raise self._no(401, "invalid_client", str(error)) from None
        if {claims.get("iss"), claims.get("sub")} != {app.client_id} or claims.get("aud") != ISSUER:
            raise self._no(401, "invalid_client", "iss, sub or aud is wrong")
        if not claims.get("jti") or not time.time() - 60 < float(claims.get("iat", 0)) < time.time() + 30:
            raise self._no(401, "invalid_client", "jti or iat is wrong")

    # --- proofs ---

    def nonce(self) -> str:
        """The nonce of this moment."""
        return self._nonce(int(time.time()))

    def _nonce(self, at: int) -> str:
        mark = hmac.new(self._secret, str(at).encode(), hashlib.sha256).hexdigest()[:24]
        return f"{at}.{mark}"

    def _is_good(self, nonce: str) -> bool:
        life_s = NONCE_LIFE_S if self._world.settings.nonce_life_s is None else self._world.settings.nonce_life_s
        at = nonce.partition(".")[0]
        return at.isdigit() and nonce == self._nonce(int(at)) and time.time() - int(at) < life_s

    def headers(self, request: Request) -> Headers:
        """Every answer to a request with a proof brings a nonce."""
        return (("dpop-nonce", self.nonce()),) if "dpop" in request.headers else ()

    def _no(self, status: int, error: str, description: str) -> RefusedError:
        return RefusedError(json_response({"error": error, "error_description": description}, status))

    def _proof(self, request: Request, path: str) -> str:
        """The thumbprint of the key that a request to the authorization server proves. :raises RefusedError: none."""
        try:
            return self._checked(request, (ISSUER, self._world.url), path, None)
        except UntrueError as error:
            code = "use_dpop_nonce" if str(error) == "nonce" else "invalid_dpop_proof"
            raise self._no(400, code, f"DPoP: {error}") from None

    def vet(self, request: Request, token: str) -> None:
        """Whether a request to the server of records may use its token so. :raises RefusedError: it may not."""
        scheme = request.headers.get("authorization", "").partition(" ")[0].lower()
        session = self._sessions.get(token)
        if scheme != "dpop":
            if session is not None or token.startswith("oat-"):
                raise self._records(401, "invalid_token", "The token is bound to a key")
            return
        try:
            key = self._checked(request, (f"https://{HOST}", self._world.url), request.path, token)
        except UntrueError as error:
            code = "use_dpop_nonce" if str(error) == "nonce" else "invalid_dpop_proof"
            raise self._records(401, code, f"DPoP: {error}") from None
        if session is None or session.key != key or self._world.accounts.holder("bluesky", token) is None:
            raise self._records(401, "invalid_token", "Invalid or expired token")
        if "transition:generic" not in session.scopes and request.method == "POST":
            raise self._records(403, "ScopeMissingError", 'Missing required scope "transition:generic"')

    def _records(self, status: int, error: str, message: str) -> RefusedError:
        response = json_response({"error": error, "message": message}, status)
        response.headers = (("www-authenticate", f'DPoP error="{error}", error_description="{message}"'),)
        return RefusedError(response)

    def _checked(self, request: Request, origins: tuple[str, ...], path: str, token: str | None) -> str:
        """The thumbprint of the key. :raises UntrueError: the proof is missing or wrong; ``nonce``: only that."""
        head, claims = verified(request.headers.get("dpop", ""))
        if head.get("typ") != "dpop+jwt":
            raise UntrueError("typ")
        if claims.get("htm") != request.method or claims.get("htu") not in {origin + path for origin in origins}:
            raise UntrueError("htm or htu")
        if not isinstance(claims.get("iat"), int) or abs(time.time() - claims["iat"]) > PROOF_AGE_S:
            raise UntrueError("iat")
        if not self._is_good(str(claims.get("nonce") or "")):
            raise UntrueError("nonce")
        wanted = None
        if token is not None:
            wanted = base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode()
        if claims.get("ath") != wanted:
            raise UntrueError("ath")
        jti = str(claims.get("jti") or "")
        now = time.time()
        self._seen = {known: at for known, at in self._seen.items() if at > now - 2 * PROOF_AGE_S}
        if not jti or jti in self._seen:
            raise UntrueError("jti: a proof is good for one request")
        self._seen[jti] = now
        return print_of(head["jwk"])
