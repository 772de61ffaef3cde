"""The sandbox's own calls under ``/_sandbox``: accounts, faults, latency, settings, and the judge's answers.

They are not protected: the sandbox listens on loopback and holds nothing but made-up posts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any

from platforms.sandbox.accounts import Account
from platforms.sandbox.emulator import RefusedError, Route, Settings
from platforms.sandbox.faults import KINDS, FaultError, parse
from platforms.sandbox.server import Server
from platforms.sandbox.wire import Request, Response, json_response


class Control:
    """Changes and reads the sandbox's state; used over HTTP and in-process alike."""

    def __init__(self, server: Server, forget: Callable[[bool], None]) -> None:
        self._server = server
        self._world = server.world
        self._forget = forget

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/_sandbox/accepted", "accepted", "control", self._accepted),
            Route("GET", "/_sandbox/summary", "summary", "control", self._summary),
            Route("GET", "/_sandbox/faults", "faults", "control", self._faults),
            Route("POST", "/_sandbox/faults", "faults", "control", self._set_faults),
            Route("GET", "/_sandbox/accounts", "accounts", "control", self._accounts),
            Route("POST", "/_sandbox/accounts", "accounts", "control", self._set_accounts),
            Route("GET", "/_sandbox/latency", "latency", "control", self._latency),
            Route("POST", "/_sandbox/latency", "latency", "control", self._set_latency),
            Route("GET", "/_sandbox/settings", "settings", "control", self._settings),
            Route("POST", "/_sandbox/settings", "settings", "control", self._set_settings),
            Route("POST", "/_sandbox/reset", "reset", "control", self._reset),
        )

    # --- in-process ---

    def summary(self) -> dict[str, Any]:
        """Counts, doubles, requests by step, and how often each fault struck."""
        return {
            **self._world.ledger.summary(),
            "requests": dict(self._server.requests),
            "faults": self._world.faults.show(),
        }

    def set_faults(self, rules: Any) -> list[dict[str, Any]]:
        """Replaces the faults. :raises FaultError: a rule is wrong; the old ones stay."""
        self._world.faults.replace(parse(rules))
        return self._world.faults.show()

    def set_latency(self, milliseconds: float, step: str = "*") -> dict[str, float]:
        """Latency of the steps that match; ``*`` replaces all others."""
        if not math.isfinite(milliseconds) or milliseconds < 0:
            raise ValueError("ms is a number, 0 or more")
        if step == "*":
            self._server.latencies.clear()
        self._server.latencies.pop(step, None)
        if milliseconds or step != "*":
            self._server.latencies[step] = milliseconds
        return self._server.latencies

    def set_settings(self, wanted: dict[str, Any]) -> Settings:
        """Changes the named settings. :raises ValueError: there is no such setting."""
        known = {entry.name for entry in fields(Settings)}
        if unknown := set(wanted) - known:
            raise ValueError(f"unknown setting {min(unknown)!r}; known: {', '.join(sorted(known))}")
        for name, value in wanted.items():
            setattr(self._world.settings, name, value)
        return self._world.settings

    def set_account(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Makes or changes an account and answers with its tokens.

        ``token`` and ``refresh_token`` give these values, or fresh ones; ``expires_in`` seconds bound the
        access token; ``revoked`` kills every token, ``expired`` the access tokens only; both make none.

        :raises ValueError: a field is wrong.
        """
        wanted = dict(wanted)
        try:
            emulator = self._server.emulators[wanted.pop("platform")]
            account = self._world.accounts.ensure(emulator.name, str(wanted.pop("name")))
        except KeyError as error:
            known = ", ".join(self._server.emulators)
            raise ValueError(f"{error} is missing or unknown; platforms: {known}") from None
        emulator.update_account(account, wanted)
        if "scopes" in wanted:
            scopes = wanted.pop("scopes")
            account.scopes = None if scopes is None else tuple(scopes)
        for name in ("username", "display_name"):
            setattr(account, name, wanted.pop(name, getattr(account, name)))
        revoked, expired = bool(wanted.pop("revoked", False)), bool(wanted.pop("expired", False))
        access, refresh = wanted.pop("token", None), wanted.pop("refresh_token", None)
        life_s = wanted.pop("expires_in", None)
        if wanted:
            raise ValueError(f"unknown field {min(wanted)!r}")
        self._world.accounts.save(account)
        answer = self._shown(account)
        if revoked or expired:
            self._world.accounts.revoke(account, access_only=not revoked)
            return answer
        answer["token"] = self._world.accounts.issue(account, value=access, expires_in_s=life_s).value
        answer["refresh_token"] = self._world.accounts.issue(account, refresh=True, value=refresh).value
        return answer

    def reset(self, *, keep_accounts: bool = False) -> None:
        """Forgets posts, uploads, faults, latencies and counts; accounts too, unless they are kept."""
        self._forget(keep_accounts)
        self._world.faults.replace([])
        self._server.latencies.clear()
        self._server.windows.clear()
        self._server.requests.clear()

    # --- over HTTP ---

    async def _accepted(self, request: Request) -> Response:
        query = request.query()
        posts = self._world.ledger.accepted(query.get("platform"), query.get("account"))
        offset = query.get("offset", "0")
        return json_response([post.public() for post in posts[int(offset) if offset.isdigit() else 0 :]])

    async def _summary(self, _request: Request) -> Response:
        return json_response(self.summary())

    async def _faults(self, _request: Request) -> Response:
        return json_response({"faults": self._world.faults.show(), "kinds": KINDS})

    async def _set_faults(self, request: Request) -> Response:
        try:
            return json_response({"faults": self.set_faults(_body(request))})
        except (FaultError, TypeError) as error:
            raise _wrong(error) from None

    async def _accounts(self, _request: Request) -> Response:
        return json_response([self._shown(account) for account in self._world.accounts.all()])

    async def _set_accounts(self, request: Request) -> Response:
        body = _body(request)
        rows = body if isinstance(body, list) else [body]
        try:
            made = [self.set_account(row) for row in rows]
        except (ValueError, TypeError) as error:
            raise _wrong(error) from None
        return json_response(made if isinstance(body, list) else made[0], 201)

    async def _latency(self, _request: Request) -> Response:
        return json_response(self._server.latencies)

    async def _set_latency(self, request: Request) -> Response:
        try:
            body = _body(request)
            return json_response(self.set_latency(float(body["ms"]), str(body.get("step", "*"))))
        except (KeyError, TypeError, ValueError) as error:
            raise _wrong(error) from None

    async def _settings(self, _request: Request) -> Response:
        return json_response(asdict(self._world.settings))

    async def _set_settings(self, request: Request) -> Response:
        try:
            return json_response(asdict(self.set_settings(_body(request))))
        except (ValueError, TypeError) as error:
            raise _wrong(error) from None

    async def _reset(self, request: Request) -> Response:
        body = _body(request) if request.body else {}
        self.reset(keep_accounts=isinstance(body, dict) and bool(body.get("keep_accounts")))
        return json_response({"reset": True})

    def _shown(self, account: Account) -> dict[str, Any]:
        emulator = self._server.emulators[account.platform]
        return {
            "platform": account.platform,
            "name": account.name,
            "user_id": account.user_id,
            "username": account.username,
            **emulator.facts(account),
        }


def _body(request: Request) -> Any:
    try:
        return json.loads(request.body)
    except ValueError:
        raise RefusedError(json_response({"error": "the body is not JSON"}, 400)) from None


def _wrong(error: Exception) -> RefusedError:
    return RefusedError(json_response({"error": str(error)}, 400))
