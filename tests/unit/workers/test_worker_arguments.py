"""What ``python -m workers worker`` is told, and the workers that come of it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType, SimpleNamespace

import pytest

from stack.programs import default_publishers
from workers.__main__ import LOADED_BY_WORKERS, Shape, arguments, shapes

WORKER = ["worker", "-n", "publish@%h", "-Q", "publish", "-P", "threads", "-c", "64"]


def test_one_process_is_one_plain_worker() -> None:
    assert shapes(arguments(WORKER)) == [Shape("publish@%h", 64, "publish")]


def test_several_share_the_slots_and_are_told_apart() -> None:
    assert shapes(arguments([*WORKER, "--processes", "3"])) == [
        Shape("publish@1-%h", 22, "publish", "1-"),
        Shape("publish@2-%h", 21, "publish", "2-"),
        Shape("publish@3-%h", 21, "publish", "3-"),
    ]


def test_a_worker_beside_keeps_its_own_name_and_queues() -> None:
    found = shapes(arguments([*WORKER, "--processes", "1", "--beside", "upload:16:upload,upload.a:b,followup"]))
    assert found == [Shape("publish@%h", 64, "publish"), Shape("upload@%h", 16, "upload,upload.a:b,followup")]


def test_nothing_said_means_the_usual_number() -> None:
    """As systemd leaves it where the variable is not set."""
    assert arguments([*WORKER, "--processes", ""]).processes == int(default_publishers())


@pytest.mark.parametrize(
    "words",
    [
        ["--processes", "0"],
        ["--processes", "two"],
        ["-P", "prefork", "--processes", "2"],
        ["-P", "solo", "--beside", "upload:1:upload"],
        ["--beside", "upload"],
        ["--beside", "upload:many:upload"],
        ["--unknown"],
    ],
)
def test_what_cannot_be_is_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        arguments([*WORKER, *words])
    assert end.value.code == 2


@pytest.mark.parametrize("name", LOADED_BY_WORKERS)
def test_what_is_loaded_before_the_fork_is_there(name: str) -> None:
    importlib.import_module(name)


def test_who_publishes_has_read_the_certificates_before_any_post_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first post on a busy machine was not sent by the fence, twice, and went out 14 seconds late."""
    from platforms import connections
    from workers import __main__ as program

    ready: list[int] = []
    connections.trust.cache_clear()
    monkeypatch.setattr(program.importlib, "import_module", loading := Loading(program.importlib.import_module))
    monkeypatch.setattr(program, "run_worker", lambda *_: ready.append(connections.trust.cache_info().currsize) or 0)
    assert program.work(arguments(WORKER)) == 0
    assert ready == [1]
    assert "platforms.http" in loading.names


class Loading:
    """Imports all but Celery's application, which would want a broker."""

    def __init__(self, load: Callable[[str], ModuleType]) -> None:
        self._load = load
        self.names: list[str] = []

    def __call__(self, name: str) -> ModuleType:
        self.names.append(name)
        return SimpleNamespace(app=None) if name == "workers.app" else self._load(name)  # type: ignore[return-value]  # a stand-in
