"""The sandbox as one thing: its state, its server, its life; in a thread for tests, alone for a process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from platforms.sandbox.accounts import Accounts
from platforms.sandbox.control import Control
from platforms.sandbox.emulator import Emulator, Settings, World
from platforms.sandbox.faults import Faults
from platforms.sandbox.journal import Journal
from platforms.sandbox.ledger import Ledger
from platforms.sandbox.media_store import MediaStore
from platforms.sandbox.oauth_apps import App
from platforms.sandbox.oauth_page import SignInPages
from platforms.sandbox.page import Pages
from platforms.sandbox.registry import EMULATORS
from platforms.sandbox.server import Server
from platforms.sandbox.wire import Connection, Live

BACKLOG = 2048
"""Clients that publish open a connection for each call, many at once."""

T = TypeVar("T")


class Sandbox:
    """Emulates the platforms on one origin::

        with Sandbox() as box:
            os.environ["SCHEDULERX_X_API_URL"] = box.url
            ...
            assert box.summary()["doubled"] == []

    :param data: folder for the journal and the blobs; None: memory only.
    :param seed: of the dice that faults are drawn with.
    :param faults: rules as for ``POST /_sandbox/faults``.
    :param url: origin that clients see, where that is not the address listened on (a container, a proxy).
    :param emulators: the platforms; the tests add some of their own.
    :param latency_ms: for every platform call; half of it passes before the call takes effect, half after.
    """

    def __init__(
        self,
        *,
        data: Path | None = None,
        seed: int = 0,
        faults: Sequence[dict[str, Any]] = (),
        latency_ms: float = 0.0,
        host: str = "127.0.0.1",
        port: int = 0,
        url: str | None = None,
        settings: Settings | None = None,
        emulators: Sequence[type[Emulator]] = EMULATORS,
    ) -> None:
        self._host, self._port, self._told_url = host, port, url
        names = frozenset(emulator.name for emulator in emulators)
        self._journal = Journal(data)
        self.world = World(
            accounts=Accounts(self._journal, names),
            media=MediaStore(self._journal, data),
            ledger=Ledger(self._journal),
            faults=Faults(seed),
            settings=settings or Settings(),
        )
        self._server = Server(self.world, [emulator(self.world) for emulator in emulators])
        self._control = Control(self._server, self._forget)
        for route in (*self._control.routes(), *Pages(self._server).routes(), *SignInPages(self.world).routes()):
            self._server.router.add(route, None)
        self._control.set_faults(list(faults))
        self._control.set_latency(latency_ms)
        self._live = Live()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    # --- life ---

    async def serve(self, ready: Callable[[str], None]) -> None:
        """Listens until ``stop``; calls ``ready`` with the URL once it does."""
        self._journal.open()
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        listener = await self._loop.create_server(
            lambda: Connection(self._server, self._live), self._host, self._port, backlog=BACKLOG
        )
        try:
            port = listener.sockets[0].getsockname()[1]
            shown = f"[{self._host}]" if ":" in self._host else self._host
            # Links have to work for whoever reads them, also when the sandbox listens on every address.
            shown = "127.0.0.1" if shown in {"0.0.0.0", "[::]"} else shown  # noqa: S104 (compared, not bound)
            self.world.url = self._told_url or f"http://{shown}:{port}"
            ready(self.world.url)
            await self._stop.wait()
        finally:
            listener.close()
            await self._live.end()
            self._journal.close()

    def stop(self) -> None:
        """Ends ``serve``; from any thread or a signal handler."""
        if self._loop is not None and self._stop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)

    def __enter__(self) -> Self:
        listening = threading.Event()

        def run() -> None:
            try:
                asyncio.run(self.serve(lambda _url: listening.set()))
            except BaseException as error:  # noqa: BLE001 (handed to the thread that waits for the start)
                self._failure = error
            finally:
                listening.set()

        self._thread = threading.Thread(target=run, name="sandbox", daemon=True)
        self._thread.start()
        listening.wait()
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._thread is not None:
            self._thread.join(timeout=10)

    # --- the same as the control calls, in-process ---

    @property
    def url(self) -> str:
        """The origin that platforms are pointed at."""
        return self.world.url

    def accepted(self, platform: str | None = None, account: str | None = None) -> list[dict[str, Any]]:
        """Every post that was accepted, oldest first."""
        return [post.public() for post in self.world.ledger.accepted(platform, account)]

    def summary(self) -> dict[str, Any]:
        """Counts, doubles, requests by step, faults struck."""
        return self._in_loop(self._control.summary)

    def set_faults(self, rules: Sequence[dict[str, Any]]) -> None:
        """Replaces the faults."""
        self._in_loop(lambda: self._control.set_faults(list(rules)))

    def set_latency(self, milliseconds: float, step: str = "*") -> None:
        self._in_loop(lambda: self._control.set_latency(milliseconds, step))

    def configure(self, **settings: Any) -> None:
        """Changes settings (``emulator.Settings``)."""
        self._in_loop(lambda: self._control.set_settings(settings))

    def account(self, platform: str, name: str, **wanted: Any) -> dict[str, Any]:
        """Makes or changes an account; its tokens."""
        return self._in_loop(lambda: self._control.set_account({"platform": platform, "name": name, **wanted}))

    def app(
        self,
        platform: str,
        client_id: str,
        client_secret: str | None,
        redirect_uris: Sequence[str],
        *,
        jwk: dict[str, Any] | None = None,
    ) -> None:
        """Registers an app that may send people to the platform's sign-in page."""
        made = App(platform, client_id, client_secret, tuple(redirect_uris), jwk)
        self._in_loop(lambda: self.world.apps.add(made))

    def reset(self, *, keep_accounts: bool = False) -> None:
        self._in_loop(lambda: self._control.reset(keep_accounts=keep_accounts))

    # --- pieces ---

    def _forget(self, keep_accounts: bool) -> None:
        self._journal.clear()
        self.world.ledger.clear()
        self.world.media.clear()
        if keep_accounts:
            self.world.accounts.journal_again()
        else:
            self.world.accounts.clear()
            self.world.apps.clear()

    def _in_loop(self, call: Callable[[], T]) -> T:
        """Runs ``call`` in the server's thread, where all state changes."""

        async def run() -> T:
            return call()

        if self._loop is None:
            raise RuntimeError("the sandbox is not running")
        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(timeout=30)
