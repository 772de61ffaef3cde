"""Credentials at rest: Fernet tokens under one or more keys.

``SCHEDULERX_SECRET_KEY`` holds one key, or several separated by commas: the first encrypts, all of them
decrypt. To rotate, put the new key first, run ``schedulerx accounts rotate-key``, then drop the old one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from db.redaction import remember, secrets_in


class SecretKeyError(Exception):
    """The key is missing, malformed, or not the one that the credentials were encrypted with."""


def new_key() -> str:
    """A fresh key, as text for the environment."""
    return Fernet.generate_key().decode()


class Cipher:
    """Encrypts and decrypts credentials.

    :raises SecretKeyError: ``keys`` holds no key, or one that is not 32 url-safe base64-coded bytes.
    """

    def __init__(self, keys: str) -> None:
        words = [word.strip() for word in keys.split(",") if word.strip()]
        if not words:
            raise SecretKeyError("SCHEDULERX_SECRET_KEY is empty; make a key with: schedulerx secret-key")
        try:
            self._fernet = MultiFernet([Fernet(word) for word in words])
        except ValueError:
            raise SecretKeyError(
                "SCHEDULERX_SECRET_KEY is not a Fernet key (32 url-safe base64-coded bytes);"
                " make one with: schedulerx secret-key"
            ) from None  # the cause would carry the key

    def seal(self, credentials: Mapping[str, Any]) -> bytes:
        """The encrypted JSON of ``credentials``."""
        remember(*secrets_in(credentials))
        return self._fernet.encrypt(json.dumps(credentials, sort_keys=True).encode())

    def open(self, token: bytes) -> dict[str, Any]:
        """What was sealed.

        :raises SecretKeyError: no key of ours opens it.
        """
        try:
            opened = json.loads(self._fernet.decrypt(bytes(token)))
        except InvalidToken:
            raise SecretKeyError(
                "The stored credentials were encrypted with another SCHEDULERX_SECRET_KEY;"
                " add that key behind the current one, separated by a comma"
            ) from None
        if not isinstance(opened, dict):
            raise SecretKeyError("The stored credentials are not a JSON object")
        remember(*secrets_in(opened))
        return opened

    def rotate(self, token: bytes) -> bytes:
        """The same content under the first key.

        :raises SecretKeyError: no key of ours opens it.
        """
        try:
            return self._fernet.rotate(bytes(token))
        except InvalidToken:
            raise SecretKeyError("The stored credentials were encrypted with a key that is not given") from None
