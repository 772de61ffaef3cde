"""What a platform's emulator is: routes, and the platform's own words for errors and limits.

A further platform is one file with an ``Emulator`` and one line in ``platforms.sandbox.registry``.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from platforms.sandbox.accounts import Account, Accounts
from platforms.sandbox.faults import Faults
from platforms.sandbox.ledger import Ledger, Post
from platforms.sandbox.media_store import MediaStore
from platforms.sandbox.oauth_apps import Apps
from platforms.sandbox.wire import Request, Response

Headers = Sequence[tuple[str, str]]


class RefusedError(Exception):
    """The platform says no; ``response`` is how."""

    def __init__(self, response: Response) -> None:
        super().__init__(f"refused with {response.status}")
        self.response = response


@dataclass(slots=True)
class Settings:
    """How the sandbox behaves where reality gives a choice."""

    enforce_limits: bool = False
    """Answer 429 when a platform's published limit is reached. Off: a benchmark would only measure the limit;
    the headers count all the same."""
    refuse_duplicates: bool = False
    """Refuse the same text twice, as X does. Off: it would hide the doubles that the judge shall see."""
    duplicate_window_s: float = 24 * 3600.0
    append_limit: int = 1024 * 1024
    """X: a larger segment gets an empty 413."""
    media_ttl_s: float = 24 * 3600.0
    processing_s: float = 1.0
    """How long videos and animated GIFs are processed."""
    token_life_s: float | None = None
    """How long refreshed access tokens live; None: as long as the platform's do."""
    code_life_s: float | None = None
    """How long the codes of sign-in pages live; None: as long as the platform's do."""
    nonce_life_s: float | None = None
    """Bluesky: how long a nonce is taken; None: three minutes, as the reference server."""


@dataclass(slots=True)
class World:
    """Everything that emulators share."""

    accounts: Accounts
    media: MediaStore
    ledger: Ledger
    faults: Faults
    settings: Settings = field(default_factory=Settings)
    url: str = ""
    """Origin at which the sandbox listens."""
    apps: Apps = field(default_factory=Apps)
    """Who may ask for sign-ins, and the codes that were given out."""
    _sequence: itertools.count[int] = field(default_factory=itertools.count)
    _last_id: int = 0

    def next_id(self) -> str:
        """A number that grows with time, also over restarts, as the platforms' ids do."""
        made = (int(time.time() * 1000) - 1_288_834_974_657) << 22
        self._last_id = max(self._last_id + 1, made)
        return str(self._last_id)


Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """One call of a platform.

    ``path`` names its variable pieces: ``/2/tweets/{id}``. ``kind`` groups steps for faults: publish,
    prepare, read, account, token, delete.
    """

    method: str
    path: str
    step: str
    kind: str
    handler: Handler
    limit: tuple[int, int] | None = None
    """Published limit for each account: calls, seconds."""
    scopes: tuple[str, ...] = ()
    signed: bool = True
    """False: the call carries no access token."""


class Emulator:
    """One platform. Subclasses give routes and the platform's words."""

    name: ClassVar[str]
    title: ClassVar[str]
    colour: ClassVar[str] = "#444"
    """For the page that people look at."""

    def __init__(self, world: World) -> None:
        self.world = world

    def routes(self) -> Sequence[Route]:
        """Every call that is emulated."""
        raise NotImplementedError

    def error(self, status: int, message: str = "") -> Response:
        """The platform's answer for a status that is not tied to one call."""
        raise NotImplementedError

    def limit_headers(self, limit: int, remaining: int, reset_at: float) -> Headers:
        """How the platform tells what is left of a limit."""
        raise NotImplementedError

    def limit_of(self, route: Route, account: Account) -> tuple[int, int] | None:
        """The limit that holds for an account: calls, seconds. Differs from the route's where accounts differ."""
        del account
        return route.limit

    def link(self, post: Post) -> str:
        """Path of the post's page in the sandbox."""
        raise NotImplementedError

    def update_account(self, account: Account, wanted: dict[str, Any]) -> None:
        """Takes the platform's own fields of the control call (premium, boards) out of ``wanted``."""

    def facts(self, account: Account) -> dict[str, Any]:
        """What the control call tells about an account beyond its name."""
        del account
        return {}

    def token_of(self, request: Request) -> str:
        """The access token that the request carries, or nothing."""
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        return value.strip() if scheme.lower() == "bearer" else ""

    def vet(self, request: Request, token: str) -> None:
        """Looks at how a signed request proves its token, before the token is looked up.

        :raises RefusedError: it does not. Most platforms take whoever has the token.
        """

    def extra_headers(self, request: Request) -> Headers:
        """What every answer to this request carries."""
        del request
        return ()

    def refuse(self, status: int, message: str = "") -> RefusedError:
        """To be raised."""
        return RefusedError(self.error(status, message))

    def json_body(self, request: Request) -> Any:
        """The body as JSON. :raises RefusedError: it is not JSON, or does not say that it is."""
        if request.media_type != "application/json":
            raise self.refuse(415 if request.media_type else 400, "Content-Type has to be application/json")
        try:
            return json.loads(request.body)
        except ValueError:
            raise self.refuse(400, "The request body is not valid JSON.") from None


def signed_in(request: Request) -> Account:
    """The account of a signed route; the server has put it there."""
    if request.account is None:
        raise LookupError("an unsigned route asked for its account")
    return request.account
