"""A process of its own for strangers' bytes: bounded, harmless when it dies, and gone when its parent is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import clips
import corpus
import pytest
from PIL import Image

from media import sandbox
from media.errors import MachineFailed, MediaRefused
from media.probe import probe as plain
from media.recipe import plan
from media.rules import RULES
from media.sandbox import Limits, normalize, probe, probe_own

SMALL = Limits(20.0, 150_000_000)


def test_it_answers_as_the_plain_functions_do(tmp_path: Path) -> None:
    photo = corpus.written(tmp_path, "a", corpus.encoded(corpus.picture(50, 40), "JPEG", exif=corpus.exif()))
    film = clips.video(tmp_path / "b")
    for path in (photo, film):
        assert probe(path) == plain(path) == probe_own(path)
    rendered = normalize(photo, plan(plain(photo), RULES["x", "post"]), tmp_path / "out")
    assert [action.name for action in rendered.actions] == ["strip"]
    assert rendered.path.is_file()
    page = corpus.written(tmp_path, "c.jpg", b"<!DOCTYPE html><html></html>")
    for look in (probe, probe_own):
        with pytest.raises(MediaRefused) as caught:
            look(page, name="holiday")
        assert (caught.value.code, caught.value.file) == ("not_media", "holiday")
        with pytest.raises(MediaRefused) as caught:
            look(tmp_path / "nowhere")
        assert caught.value.code == "missing"


def test_time_is_bounded(tmp_path: Path) -> None:
    path = corpus.written(tmp_path, "a", corpus.encoded(corpus.picture(50, 40), "JPEG"))
    began = time.monotonic()
    with pytest.raises(MediaRefused) as caught:
        probe(path, limits=Limits(0.001, SMALL.memory_bytes))
    assert caught.value.code == "too_slow"
    assert time.monotonic() - began < 5


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the data of a process")
def test_memory_is_bounded(tmp_path: Path) -> None:
    path = corpus.written(tmp_path, "a", corpus.encoded(Image.new("RGB", (8_000, 8_000)), "PNG"))
    with pytest.raises(MediaRefused) as caught:
        probe(path, limits=SMALL)
    assert caught.value.code in {"bomb", "memory"}
    assert "memory" in caught.value.message


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGXCPU)", "too_slow"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", None),
        ("raise SystemExit(3)", None),
        ('print(\'{"failed": "the disk is full"}\')', None),
    ],
)
def test_it_may_die(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, code: str | None) -> None:
    real = subprocess.Popen

    def start(command: list[str], **options: object) -> subprocess.Popen[bytes]:
        return real([sys.executable, "-c", f"input(); {program}"], **options)  # type: ignore[call-overload, no-any-return]  # passed on

    monkeypatch.setattr(sandbox.subprocess, "Popen", start)
    path = corpus.written(tmp_path, "a", b"anything")
    if code is None:
        with pytest.raises(MachineFailed):
            probe(path)
        return
    with pytest.raises(MediaRefused) as caught:
        probe(path)
    assert caught.value.code == code


def test_progress_is_told_and_may_end_the_work(tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    film = clips.video(tmp_path / "a", size=(640, 480), seconds=4, codec="mpeg4")
    recipe = plan(plain(film), RULES["instagram", "reel"])
    told: list[float] = []
    normalize(film, recipe, tmp_path / "out", told.append)
    assert told
    assert told == sorted(told)
    assert 0 <= told[0] <= told[-1] <= 1

    def enough(_share: float) -> None:
        raise Enough

    with pytest.raises(Enough):
        normalize(film, recipe, tmp_path / "other", enough)
    assert list((tmp_path / "other").iterdir()) == []


def test_progress_is_told_while_the_process_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = subprocess.Popen
    says = """
import time
for share in (0.5, 0.1):
    print('{"progress": %s}' % share, flush=True)
time.sleep(0.5)
print('{"refused": {"code": "corrupt", "message": "a", "file": "b"}}', flush=True)
"""

    def start(command: list[str], **options: object) -> subprocess.Popen[bytes]:
        return real([sys.executable, "-c", f"input()\n{says}"], **options)  # type: ignore[call-overload, no-any-return]  # passed on

    monkeypatch.setattr(sandbox.subprocess, "Popen", start)
    monkeypatch.setattr(sandbox, "TICK_S", 0.1)
    told: list[float] = []
    with pytest.raises(MediaRefused):
        probe(corpus.written(tmp_path, "a", b"anything"), progress=told.append)
    # It never goes back, and it goes on while nothing is heard.
    assert told == sorted(told)
    assert told.count(0.5) >= 4


def test_it_does_not_outlive_its_parent_and_knows_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCHEDULERX_SECRET_KEY", "hush")
    process = sandbox._start()
    try:
        environment = Path(f"/proc/{process.pid}/environ")
        if environment.exists():
            assert b"hush" not in environment.read_bytes()
        assert process.stdin is not None
        # As if the parent had died: its end of the pipe is gone.
        process.stdin.close()
        assert process.wait(10) != 0
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
