"""Whether a platform will be able to fetch what we stored: a GET of its URL as a stranger sends it.

It proves the name, the certificate, the access and the signature's life, from where we stand. It does not prove
that the platform sees the same: it may stand behind another resolver, or keep a list of hosts it does not visit.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from media.errors import MediaRefused
from media.fetch import probe_remote, shown


def check_public(url: str, *, size: int, mime: str, allow_loopback: bool = False) -> None:
    """Asks for the file without credentials, over verified TLS, at a public address, without a redirect.

    :param size: bytes that the answer must announce.
    :param mime: the type that it must announce; platforms go by it.
    :param allow_loopback: the platform itself runs on this machine (a sandbox), so http and loopback will do.
    :raises MediaRefused: ``private_address``, ``not_found``, ``forbidden``, ``redirects``, ``bad_certificate``,
        ``insecure``, ``wrong_length``, ``wrong_type`` ...: it would fail for the platform too.
    :raises RemoteUnavailable: no answer just now.
    """
    if urlsplit(url).scheme != "https" and not allow_loopback:
        raise MediaRefused("insecure", "platforms fetch media by https only", file=shown(url))
    found = probe_remote(url, max_bytes=max(size, 1), allow_loopback=allow_loopback, redirects=0)
    if found.size != size:
        told = "no length" if found.size is None else f"{found.size} bytes"
        raise MediaRefused("wrong_length", f"the store announces {told} instead of {size}", file=shown(url))
    if found.mime != mime:
        told = found.mime or "no type"
        raise MediaRefused("wrong_type", f"the store announces {told} instead of {mime}", file=shown(url))
