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
    "image/heic": "HEIF",
    "image/heif": "HEIF",
    "image/avif": "AVIF",
    "image/tiff": "TIFF",
    "image/bmp": "BMP",
    "image/x-ms-bmp": "BMP",
}
"""MIME type as sniffed -> the name that Pillow gives the format."""

VIDEO = "VIDEO"
"""What ``format_of`` answers for everything that FFmpeg has to look at."""

MIMES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "HEIF": "image/heic",
    "AVIF": "image/avif",
    "TIFF": "image/tiff",
    "BMP": "image/bmp",
}
SUFFIXES = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "image/gif": ".gif",
    "video/mp4": ".mp4",
    "video/quicktime": ".mov",
    "video/webm": ".webm",
    "video/x-matroska": ".mkv",
    "video/x-msvideo": ".avi",
}
"""Of what renditions can be."""

_STILL_BRANDS = {b"avif": "image/avif", b"avis": "image/avif", b"mif1": "image/heic", b"msf1": "image/heic"}
_STILL_BRANDS |= dict.fromkeys([b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"], "image/heic")


_SIGNATURES = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"), (b"GIF87a", "image/gif"),
               (b"GIF89a", "image/gif"))  # fmt: skip


def sniff(head: bytes) -> str:
    """The MIME type of a file that begins with ``head``; ``application/octet-stream`` where nobody knows."""
    # The usual pictures first, by the same marks that libmagic looks for: reading its rules takes 50 ms of CPU time.
    for mark, mime in _SIGNATURES:
        if head.startswith(mark):
            return mime
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    # pylibmagic puts the library where python-magic looks for it, so the order matters. Lazy: 8 MB of rules.
    import pylibmagic  # noqa: F401 - imported for its effect
    import magic  # isort: skip

    known = str(magic.from_buffer(head[:HEAD], mime=True))
    return known if known in FORMATS else _by_marks(head, known)


def _by_marks(head: bytes, known: str) -> str:
    """The type of what libmagic's tables miss: files of the ISO kind by their brand, MPEG-TS by its rhythm."""
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        if brand in _STILL_BRANDS:
            return _STILL_BRANDS[brand]
        return known if known.startswith("video/") else "video/quicktime" if brand == b"qt  " else "video/mp4"
    if head[4:8] in {b"moov", b"mdat", b"wide"} and not known.startswith("video/"):
        return "video/quicktime"
    if len(head) > 2 * 188 and head[0] == head[188] == head[376] == 0x47:
        return "video/mp2t"
    return known


def format_of(head: bytes, *, name: str) -> str:
    """JPEG, PNG, WEBP, GIF, HEIF, AVIF, TIFF, BMP or ``VIDEO``.

    :raises MediaRefused: the bytes are something else, in words that say what.
    """
    mime = sniff(head)
    if mime in FORMATS:
        return FORMATS[mime]
    if mime.startswith("video/") or mime == "application/x-matroska":
        return VIDEO
    if mime.startswith("image/svg") or b"<svg" in head[:HEAD].lower():
        message = "SVG may hold active content and is not accepted; export it as PNG"
        raise MediaRefused("unsupported", message, file=name)
    if mime.startswith("image/"):
        message = f"{mime} is not supported; save it as JPEG, PNG or WebP"
        raise MediaRefused("unsupported", message, file=name)
    if mime.startswith("audio/"):
        raise MediaRefused("unsupported", "audio files are not supported", file=name)
    if mime in {"text/html", "application/xhtml+xml"}:
        raise MediaRefused("not_media", "this is a web page, not a picture", file=name)
    message = f"this is neither a picture nor a video (its content looks like {mime})"
    raise MediaRefused("not_media", message, file=name)
