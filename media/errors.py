"""What can be wrong with a file.

MediaError
 ├── MediaRefused        the file itself: its reason code, words and name
 ├── StoreUnavailable    the object store did not do what was asked
 ├── RemoteUnavailable   a remote file could not be fetched now; it may be tried again
 └── MachineFailed       this machine could not just now; it may be tried again
      └── NoRoom         its disk is full
"""

from __future__ import annotations


class MediaError(Exception):
    """The root of what this package raises."""


class MediaRefused(MediaError):
    """The file cannot be used, and trying again will not help.

    :param code: stable, for machines: ``missing``, ``empty``, ``unreadable``, ``not_media``, ``truncated``,
        ``bomb``, ``too_large``, ``unsupported``, ``private_address``, ``not_found`` ...
    """

    def __init__(self, code: str, message: str, *, file: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.file = file


class StoreUnavailable(MediaError):
    """The object store could not be reached or refused; may be tried again."""


class RemoteUnavailable(MediaError):
    """A remote file could not be fetched now (time-out, broken connection, 429, 5xx); may be tried again."""


class MachineFailed(MediaError):
    """This machine could not do it just now (disk full, killed, no process to be had); may be tried again."""


class NoRoom(MachineFailed):
    """The disk has no room for the file beside what has to stay free; may be tried again when it has."""
