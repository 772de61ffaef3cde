"""What bytes are, by their content: the name of a file and the header of a server are only claims."""

from __future__ import annotations

from media.errors import MediaRefused

HEAD = 8_192
"""Bytes to look at; libmagic's rules for pictures, video and web pages need fewer."""

FORMATS = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/apng": "PNG",
    "image/vnd.mozilla.apng": "PNG",
    "image/webp": "WEBP",
    "image/gif": "GIF",
}
"""MIME type as sniffed -> the name that Pillow gives the format."""

MIMES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif"}
SUFFIXES = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp", "image/gif": ".gif"}


def sniff(head: bytes) -> str:
    """The MIME type of a file that begins with ``head``; ``application/octet-stream`` where nobody knows."""
    # pylibmagic puts the library where python-magic looks for it, so the order matters. Lazy: 8 MB of rules.
    import pylibmagic  # noqa: F401 - imported for its effect
    import magic  # isort: skip

    return str(magic.from_buffer(head[:HEAD], mime=True))


def format_of(head: bytes, *, name: str) -> str:
    """JPEG, PNG, WEBP or GIF. :raises MediaRefused: the bytes are something else, in words that say what."""
    mime = sniff(head)
    if mime in FORMATS:
        return FORMATS[mime]
    if mime.startswith("video/") or mime == "application/x-matroska":
        raise MediaRefused("unsupported", "video is not supported yet", file=name)
    if mime.startswith("image/svg") or b"<svg" in head[:HEAD].lower():
        message = "SVG may hold active content and is not accepted; export it as PNG"
        raise MediaRefused("unsupported", message, file=name)
    if mime.startswith("image/"):
        message = f"{mime} is not supported; save it as JPEG, PNG, WebP or GIF"
        raise MediaRefused("unsupported", message, file=name)
    if mime.startswith("audio/"):
        raise MediaRefused("unsupported", "audio files are not supported", file=name)
    if mime in {"text/html", "application/xhtml+xml"}:
        raise MediaRefused("not_media", "this is a web page, not a picture", file=name)
    raise MediaRefused("not_media", f"this is not a picture (its content looks like {mime})", file=name)
