"""EXIF blocks: orientation, rights, and whether anything private is in them."""

from __future__ import annotations

import corpus
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media import exif


def block(**what: object) -> bytes:
    return corpus.exif(**what).tobytes()  # type: ignore[arg-type]  # the helper's own keywords


def test_reads_what_pillow_wrote() -> None:
    found = exif.read(block(orientation=6, gps=False, rights="(c) Ann"))
    assert found == exif.Exif(orientation=6, copyright="(c) Ann")
    assert exif.read(block(orientation=3)).gps


@pytest.mark.parametrize(
    ("directory", "tag", "value"),
    [
        (0x8769, 0x927C, b"maker note"),
        (0x8769, 0x9286, b"a comment"),
        (0x8769, 0xA431, "serial 1"),
        (0x8769, 0xA430, "owner"),
    ],
)
def test_what_identifies_is_private(directory: int, tag: int, value: object) -> None:
    made = corpus.exif(gps=False)
    made.get_ifd(directory)[0x829A] = 0.01
    assert not exif.read(made.tobytes()).private
    made.get_ifd(directory)[tag] = value
    assert exif.read(made.tobytes()).private


def test_bytes_that_no_tag_accounts_for_are_private() -> None:
    plain = block(gps=False)
    assert not exif.read(plain + bytes(40)).private
    assert exif.read(plain + b"52.52 N, 13.40 E").private


@given(st.text(max_size=600), st.text(max_size=600))
@settings(deadline=None, derandomize=True, database=None, max_examples=60)
def test_rights_survive_and_are_not_private(artist: str, copyright_note: str) -> None:
    once = exif.read(exif.rights(exif.Exif(artist=artist, copyright=copyright_note)))
    assert not once.private
    assert exif.read(exif.rights(once)) == once


@given(st.binary(max_size=300), st.integers(0, 299), st.integers(0, 255))
@settings(deadline=None, derandomize=True, database=None, max_examples=300)
def test_never_raises(tail: bytes, at: int, value: int) -> None:
    exif.read(tail)
    bent = bytearray(block(orientation=6, rights="Ann") + tail)
    bent[at % len(bent)] = value
    assert 1 <= exif.read(bytes(bent)).orientation <= 8
    assert exif.read(b"II*\0" + tail).orientation in range(1, 9)


def test_a_giant_block_is_not_read() -> None:
    assert exif.read(b"II*\0" + bytes(exif.MAX_BLOCK)).private
    assert exif.read(b"") == exif.Exif()
