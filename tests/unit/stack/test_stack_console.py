"""One log of many programs, which never blocks them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.console import WAITING_LIMIT_BYTES, Console


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    yield reading, writing
    for end in (reading, writing):
        try:
            os.close(end)
        except OSError:
            assert end == reading  # one test closes it itself


def everything(reading: int) -> str:
    data = b""
    try:
        while piece := os.read(reading, 65_536):
            data += piece
    except BlockingIOError:
        pass
    return data.decode()


def test_lines_carry_the_name(pipe: tuple[int, int]) -> None:
    console = Console(pipe[1], width=8)
    console.line("beat", "tick  ")
    console.line("dispatch", "é")
    assert everything(pipe[0]) == "beat     | tick\ndispatch | é\n"


def test_colours_only_where_asked(pipe: tuple[int, int]) -> None:
    console = Console(pipe[1], colour=True, width=4)
    console.line("a", "1")
    console.line("b", "2")
    console.line("a", "3")
    first, second, third = everything(pipe[0]).splitlines()
    assert first.startswith("\x1b[36ma    | \x1b[0m1")
    assert second.startswith("\x1b[33mb")
    assert third.startswith("\x1b[36ma")
    assert not Console(pipe[1]).colour  # a pipe is no terminal


def test_the_supervisors_own_lines_have_the_time(pipe: tuple[int, int]) -> None:
    Console(pipe[1]).say("hello")
    assert re.fullmatch(r"up       \| \d\d:\d\d:\d\d hello\n", everything(pipe[0]))


def test_nobody_reading_blocks_nothing_and_the_loss_is_counted(pipe: tuple[int, int]) -> None:
    console = Console(pipe[1])
    line = "x" * 1000
    for _ in range(WAITING_LIMIT_BYTES // 1000 + 500):
        console.line("a", line)
    assert console.waiting
    read = ""
    while console.waiting:
        read += everything(pipe[0])
        console.flush()
    console.line("a", "last")
    read += everything(pipe[0])
    dropped = re.search(r"(\d+) lines were dropped", read)
    assert dropped
    assert read.count(line) + int(dropped.group(1)) == WAITING_LIMIT_BYTES // 1000 + 500
    assert read.endswith("last\n")


def test_a_reader_that_is_gone_is_no_error(pipe: tuple[int, int]) -> None:
    console = Console(pipe[1])
    os.close(pipe[0])
    console.line("a", "into the void")
    console.line("a", "again")
    assert not console.waiting


def test_a_file_is_written_at_once(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    Console(descriptor).line("a", "y" * 20_000)
    os.close(descriptor)
    assert (tmp_path / "log").stat().st_size > 20_000
