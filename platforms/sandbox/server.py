"""The framework around the emulators: finds the route, lets faults strike, checks the token, counts limits.

What happens to one request, in this order: the head arrives, the fault is drawn (a ``reset_early`` strikes
now); the body is read; half of the latency passes; faults that come before the effect; the token; the limit;
the handler, which stores; faults that come after the effect; the other half of the latency; the answer.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple

from platforms.sandbox.accounts import Account
from platforms.sandbox.emulator import Emulator, RefusedError, Route, World
from platforms.sandbox.faults import NOTHING, Fault, Struck
from platforms.sandbox.wire import BadRequestError, Connection, Request, Response, json_response

HTML_ERROR = (
    b"<!DOCTYPE html><html><head><title>Error</title></head><body><h1>Something went wrong</h1>"
    b"<p>An upstream server did not answer in time.</p></body></html>"
)

AFTER = frozenset({"server_error_after", "reset_after", "cut_answer", "slow_answer", "drip"})
"""Faults that let the request take effect first."""


class Target(NamedTuple):
    """Where a request goes; ``emulator`` is None for the sandbox's own pages."""

    route: Route
    emulator: Emulator | None
    names: tuple[str, ...]
    """What faults and latencies are matched against."""


@dataclass(slots=True)
class Plan:
    """What was decided at the head of a request."""

    target: Target | None
    struck: Struck = NOTHING


class Router:
    """Finds the route of a method and a path: fixed paths by one look-up, the others by pattern."""

    def __init__(self) -> None:
        self._fixed: dict[tuple[str, str], Target] = {}
        self._patterns: list[tuple[str, re.Pattern[str], Target]] = []
        self._paths: list[re.Pattern[str]] = []

    def add(self, route: Route, emulator: Emulator | None) -> None:
        owner = "sandbox" if emulator is None else emulator.name
        target = Target(route, emulator, (f"{owner}.{route.step}", f"{owner}.{route.kind}"))
        pattern = re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(route.path)))
        self._paths.append(pattern)
        if "{" in route.path:
            self._patterns.append((route.method, pattern, target))
        else:
            self._fixed[route.method, route.path] = target

    def find(self, request: Request) -> Target | None:
        fixed = self._fixed.get((request.method, request.path))
        if fixed is not None:
            return fixed
        for method, pattern, target in self._patterns:
            if method == request.method and (match := pattern.fullmatch(request.path)):
                request.args = match.groupdict()
                return target
        return None

    def knows_path(self, path: str) -> bool:
        """Whether the path exists with another method."""
        return any(pattern.fullmatch(path) for pattern in self._paths)


class Windows:
    """How many calls of a step an account made in the present window."""

    def __init__(self) -> None:
        self._windows: dict[tuple[str, str, str], tuple[float, int]] = {}

    def count(self, platform: str, account: str, step: str, per_s: int) -> tuple[int, float]:
        """Counts one call; calls so far in this window, and when it ends (epoch)."""
        now = time.time()
        key = (platform, account, step)
        ends_at, used = self._windows.get(key, (0.0, 0))
        if now >= ends_at:
            ends_at, used = now + per_s, 0
        self._windows[key] = (ends_at, used + 1)
        return used + 1, ends_at

    def clear(self) -> None:
        self._windows.clear()


class Server:
    """Answers requests for all emulators and for the sandbox's own pages."""

    def __init__(self, world: World, emulators: Sequence[Emulator]) -> None:
        self.world = world
        self.emulators = {emulator.name: emulator for emulator in emulators}
        self.router = Router()
        self.windows = Windows()
        self.latencies: dict[str, float] = {}
        """Pattern -> milliseconds; the last that matches counts."""
        self.requests: Counter[str] = Counter()
        for emulator in emulators:
            for route in emulator.routes():
                self.router.add(route, emulator)

    # --- wire.Application ---

    def sees_head(self, request: Request) -> bool:
        """Draws the fault of the request, once. False: cut the connection now."""
        target = self.router.find(request)
        plan = Plan(target)
        request.note = plan
        if target is None or target.emulator is None:
            return True
        self.requests[target.names[0]] += 1
        token = target.emulator.token_of(request)
        account = self.world.accounts.holder(target.emulator.name, token) if token else None
        request.account = account
        plan.struck = self.world.faults.strike(target.names, None if account is None else account.name)
        request.read_lag_s = plan.struck.read_lag_s
        fault = plan.struck.fault
        return fault is None or fault.kind != "reset_early"

    async def answer(self, request: Request, connection: Connection) -> None:
        """Carries out a whole request and sends its answer, or what the fault makes of it."""
        plan = request.note
        target: Target | None = plan.target
        if target is None or target.emulator is None:
            connection.send(await self._own_page(request, target))
            return
        half_s = self._latency_ms(target.names) / 2000.0
        if half_s:
            await asyncio.sleep(half_s)
        fault: Fault | None = plan.struck.fault
        extra: Sequence[tuple[str, str]] = ()
        response: Response | None = None
        if fault is not None and fault.kind not in AFTER:
            if fault.kind == "reset_before":
                connection.reset()
                return
            response = await self._before(fault, target.emulator, request)
        if response is None:
            response, extra = await self._carry_out(target.route, target.emulator, request)
            extra = (*extra, *target.emulator.extra_headers(request))
        if fault is not None and fault.kind in AFTER:
            if fault.kind == "server_error_after":
                response = target.emulator.error(fault.status or 503)
            else:
                await self._after(fault, response, connection)
                if fault.kind != "slow_answer":
                    return
        if half_s:
            await asyncio.sleep(half_s)
        connection.send(response, extra)

    # --- pieces ---

    async def _own_page(self, request: Request, target: Target | None) -> Response:
        if target is None:
            known = self.router.knows_path(request.path)
            status = 405 if known else 404
            return json_response({"error": f"{request.method} {request.path} is not emulated"}, status)
        try:
            return await target.route.handler(request)
        except RefusedError as refusal:
            return refusal.response
        except Exception:  # noqa: BLE001 (one broken page must not take the judge down)
            traceback.print_exc(file=sys.stderr)
            return json_response({"error": "the sandbox itself failed; see its stderr"}, 500)

    async def _before(self, fault: Fault, emulator: Emulator, request: Request) -> Response | None:
        """What a fault answers in place of the handler; None: the handler goes on."""
        kind = fault.kind
        if kind == "slow":
            await asyncio.sleep(fault.delay_ms / 1000.0)
            return None
        if kind == "html_error_page":
            return Response(fault.status or 502, HTML_ERROR, "text/html; charset=utf-8")
        if kind == "too_large":
            return Response(413)
        if kind == "rate_limited":
            response = emulator.error(fault.status or 429)
            headers = emulator.limit_headers(1, 0, time.time() + fault.retry_after_s)
            response.headers = (*response.headers, *headers)
            return response
        if kind == "expired_token":
            if request.account is not None and self.world.accounts.can_refresh(request.account):
                self.world.accounts.revoke(request.account, access_only=True)
            return emulator.error(401)
        statuses = {"server_error": 503, "payment_required": 402, "forbidden": 403}
        return emulator.error(fault.status or statuses[kind])

    async def _after(self, fault: Fault, response: Response, connection: Connection) -> None:
        """What a fault does to the answer of a request that took effect."""
        if fault.kind == "reset_after":
            connection.reset()
        elif fault.kind == "cut_answer":
            connection.cut(response)
        elif fault.kind == "drip":
            await connection.drip(response, fault.delay_ms / 1000.0)
        else:
            await asyncio.sleep(fault.delay_ms / 1000.0)

    async def _carry_out(
        self, route: Route, emulator: Emulator, request: Request
    ) -> tuple[Response, Sequence[tuple[str, str]]]:
        extra: Sequence[tuple[str, str]] = ()
        try:
            if route.signed:
                account = self._signed_in(emulator, request)
                extra = self._limit(route, emulator, account)
                self._in_scope(route, emulator, account)
            return await route.handler(request), extra
        except RefusedError as refusal:
            return refusal.response, extra
        except BadRequestError as error:
            return emulator.error(400, str(error)), extra
        except Exception:  # noqa: BLE001 (a mistake in an emulator is answered as a platform's own failure)
            traceback.print_exc(file=sys.stderr)
            return emulator.error(500), extra

    def _signed_in(self, emulator: Emulator, request: Request) -> Account:
        """Whose token it is, asked anew: it may have died while the request was slow."""
        token = emulator.token_of(request)
        emulator.vet(request, token)
        account = self.world.accounts.holder(emulator.name, token)
        if account is None:
            raise emulator.refuse(401)
        request.account = account
        return account

    def _in_scope(self, route: Route, emulator: Emulator, account: Account) -> None:
        if account.scopes is not None and not set(route.scopes) <= set(account.scopes):
            raise emulator.refuse(403, "The token lacks a scope that this call needs.")

    def _limit(self, route: Route, emulator: Emulator, account: Account) -> Sequence[tuple[str, str]]:
        limit = emulator.limit_of(route, account)
        if limit is None:
            return ()
        allowed, per_s = limit
        used, ends_at = self.windows.count(emulator.name, account.name, route.step, per_s)
        if used > allowed and self.world.settings.enforce_limits:
            response = emulator.error(429)
            response.headers = (*response.headers, *emulator.limit_headers(allowed, 0, ends_at))
            raise RefusedError(response)
        # While limits are not enforced, one call always seems to be left: no client shall pause for nothing.
        least = 0 if self.world.settings.enforce_limits else 1
        return emulator.limit_headers(allowed, max(least, allowed - used), ends_at)

    def _latency_ms(self, names: tuple[str, ...]) -> float:
        found = 0.0
        for pattern, milliseconds in self.latencies.items():
            if any(fnmatchcase(name, pattern) for name in names):
                found = milliseconds
        return found
