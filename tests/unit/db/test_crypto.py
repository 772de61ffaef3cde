"""Credentials at rest: sealed, opened, rotated, and never in an error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.crypto import Cipher, SecretKeyError, new_key

SECRET = {"access_token": "s3cret-value", "n": 1, "nested": {"a": [True, None]}}


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none() | st.booleans(), max_size=5))
def test_what_is_sealed_can_be_opened(credentials):
    cipher = Cipher(new_key())
    assert cipher.open(cipher.seal(credentials)) == credentials


def test_the_sealed_form_shows_nothing_and_differs_each_time():
    cipher = Cipher(new_key())
    assert b"s3cret" not in cipher.seal(SECRET)
    assert cipher.seal(SECRET) != cipher.seal(SECRET)


def test_the_first_key_seals_and_all_open():
    old, new = new_key(), new_key()
    sealed = Cipher(old).seal(SECRET)
    both = Cipher(f" {new} , {old},")
    assert both.open(sealed) == SECRET
    assert Cipher(new).open(both.seal(SECRET)) == SECRET
    with pytest.raises(SecretKeyError, match="another SCHEDULERX_SECRET_KEY"):
        Cipher(old).open(both.seal(SECRET))


def test_after_rotation_the_old_key_may_go():
    old, new = new_key(), new_key()
    rotated = Cipher(f"{new},{old}").rotate(Cipher(old).seal(SECRET))
    assert Cipher(new).open(rotated) == SECRET
    with pytest.raises(SecretKeyError):
        Cipher(old).open(rotated)
    with pytest.raises(SecretKeyError):
        Cipher(old).rotate(rotated)


@pytest.mark.parametrize("keys", ["", " , ", "too-short", "x" * 44, "é" * 44, new_key()[:-2]])
def test_a_key_that_is_none_is_refused_without_being_repeated(keys):
    with pytest.raises(SecretKeyError) as refused:
        Cipher(keys)
    assert "SCHEDULERX_SECRET_KEY" in str(refused.value)
    assert not keys.strip(" ,") or keys not in str(refused.value)
    assert refused.value.__context__ is None or refused.value.__suppress_context__


@pytest.mark.parametrize("sealed", [b"", b"junk", b"gAAAAA", bytes(200)])
def test_what_is_no_token_is_refused_without_its_cause(sealed):
    with pytest.raises(SecretKeyError) as refused:
        Cipher(new_key()).open(sealed)
    assert refused.value.__cause__ is None


def test_a_bent_token_is_refused():
    cipher = Cipher(new_key())
    sealed = bytearray(cipher.seal(SECRET))
    sealed[30] ^= 1
    with pytest.raises(SecretKeyError):
        cipher.open(bytes(sealed))


def test_what_is_no_object_is_refused():
    key = new_key()
    from cryptography.fernet import Fernet

    with pytest.raises(SecretKeyError, match="not a JSON object"):
        Cipher(key).open(Fernet(key).encrypt(b"[1]"))
