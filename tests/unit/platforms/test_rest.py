"""A file as a body: read in pieces, to its declared end, and said to be alive."""

from __future__ import annotations

import io

import pytest

from platforms.rest import PIECE, Rest

DATA = bytes(range(256)) * 600


def test_it_is_read_in_pieces_from_where_it_stands() -> None:
    file, beats = io.BytesIO(DATA), []
    file.seek(100)
    body = Rest(file, len(DATA) - 100, lambda: beats.append(1))
    assert len(body) == len(DATA) - 100
    pieces = list(body)
    assert b"".join(pieces) == DATA[100:]
    assert max(map(len, pieces)) <= PIECE
    assert len(beats) == len(pieces) + 1
    assert body.left == 0


def test_what_lies_behind_its_end_is_not_sent() -> None:
    assert Rest(io.BytesIO(DATA), 10).read() == DATA[:10]


def test_a_file_that_ends_early_is_not_sent_as_if_it_were_whole() -> None:
    with pytest.raises(OSError, match="ended before"):
        Rest(io.BytesIO(b"abc"), 4).read()
