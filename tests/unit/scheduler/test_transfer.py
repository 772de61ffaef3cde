"""What an export is made of, without a database."""

from __future__ import annotations

import pytest

from db.crypto import SecretKeyError
from scheduler import transfer
from scheduler.errors import Refused


def test_rows_come_after_what_they_refer_to() -> None:
    names = [table.name for table in transfer.tables()]
    for table in transfer.tables():
        for key in table.foreign_keys:
            assert names.index(key.column.table.name) < names.index(table.name)
    assert not transfer.LEFT_OUT & set(names)


def test_every_column_that_holds_bytes_is_known_as_a_secret() -> None:
    assert transfer.secrets_are_known()


def test_a_passphrase_and_a_salt_make_one_key() -> None:
    sealed = transfer._cipher("a passphrase of mine", b"0" * 16).seal({"a": "b"})
    assert transfer._cipher("a passphrase of mine", b"0" * 16).open(sealed) == {"a": "b"}
    for passphrase, salt in (("a passphrase of mine", b"1" * 16), ("A passphrase of mine", b"0" * 16)):
        with pytest.raises(SecretKeyError):
            transfer._cipher(passphrase, salt).open(sealed)


@pytest.mark.parametrize("lines", [["{"], ["[1]"], ["null"], ['"text"']])
def test_lines_that_are_no_objects_are_refused(lines: list[str]) -> None:
    with pytest.raises(Refused, match="Line 1"):
        list(transfer._parsed(lines))


def test_blank_lines_are_skipped() -> None:
    assert list(transfer._parsed(["", '{"a": 1}', "  \n"])) == [{"a": 1}]
