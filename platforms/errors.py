"""What can go wrong on the way to a platform.

PlatformError
 ├── TransportError     no whole answer came
 ├── FenceExpired       the send margin was over before the first byte: nothing left this machine
 └── UnknownPlatform    no module of that name is registered
"""

from __future__ import annotations


class PlatformError(Exception):
    """The root of what this package raises."""


class TransportError(PlatformError):
    """No whole answer came.

    :param sent: whether a first byte of the request was handed to the socket, so that the platform may
        have acted. False is a proof; True is a doubt.
    :param detail: what happened, without URL query, headers or body.
    """

    def __init__(self, detail: str, *, sent: bool, code: str = "network") -> None:
        super().__init__(detail)
        self.detail = detail
        self.sent = sent
        self.code = code


class FenceExpired(PlatformError):
    """Too much time passed between the intent and the first byte; nothing was sent."""


class UnknownPlatform(PlatformError):
    """No platform module of that name is registered."""
