"""What the Bluesky emulator takes as a record: the lexicons of posts and of their rules, and the content's address.

Written apart from the client's own checks on purpose. The lexicons are open: fields they do not name are taken.
Source: atproto lexicons, 2026-08.
"""

from __future__ import annotations

import base64
import hashlib
import json
import unicodedata
from collections.abc import Iterator
from typing import Any

from platforms.sandbox.shape import Fields, Many, MismatchError, Shape, Text, Whole

POST = "app.bsky.feed.post"
THREADGATE = "app.bsky.feed.threadgate"
POSTGATE = "app.bsky.feed.postgate"
MAX_GRAPHEMES = 300
MAX_BYTES = 3000
IMAGE_BYTES = 2_000_000
THUMB_BYTES = 1_000_000
VIDEO_BYTES = 300_000_000

_DATE = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,20})?(Z|[+-]\d\d:\d\d)"
_DID = r"did:[a-z]+:[a-zA-Z0-9._:%-]*[a-zA-Z0-9._-]"
_AT_URI = rf"at://{_DID}/[a-zA-Z0-9.-]+/[a-zA-Z0-9_~.:-]{{1,512}}"
_URI = r"\w+:(?://)?[^\s/][^\s]*"
TID = r"[234567abcdefghij][234567abcdefghijklmnopqrstuvwxyz]{12}"


def _open(fields: dict[str, Shape], *required: str) -> Fields:
    return Fields(fields, required=required, closed=False)


_RATIO = _open({"width": Whole(1), "height": Whole(1)}, "width", "height")
_BLOB = _open({"ref": _open({"$link": Text(low=1)}, "$link"), "mimeType": Text(), "size": Whole(0)}, "ref", "mimeType")
_REF = _open({"uri": Text(_AT_URI), "cid": Text(low=1)}, "uri", "cid")
_FEATURES: dict[str, Fields] = {
    "app.bsky.richtext.facet#mention": _open({"did": Text(_DID)}, "did"),
    "app.bsky.richtext.facet#link": _open({"uri": Text(_URI)}, "uri"),
    "app.bsky.richtext.facet#tag": _open({"tag": Text()}, "tag"),
}
_IMAGE = _open({"image": _BLOB, "alt": Text(), "aspectRatio": _RATIO}, "image", "alt")
_CARD = _open(
    {"uri": Text(_URI), "title": Text(), "description": Text(), "thumb": _BLOB}, "uri", "title", "description"
)
_VIDEO: dict[str, Shape] = {"video": _BLOB, "alt": Text(), "aspectRatio": _RATIO, "presentation": Text()}
_EMBEDS: dict[str, Fields] = {
    "app.bsky.embed.images": _open({"images": Many(_IMAGE)}, "images"),
    "app.bsky.embed.video": _open(_VIDEO, "video"),
    "app.bsky.embed.external": _open({"external": _CARD}, "external"),
    "app.bsky.embed.record": _open({"record": _REF}, "record"),
}
_SLICE = _open({"byteStart": Whole(0), "byteEnd": Whole(0)}, "byteStart", "byteEnd")
_POST = _open(
    {
        "text": Text(),
        "createdAt": Text(_DATE),
        "facets": Many(_open({"index": _SLICE, "features": Many(_open({}))}, "index", "features")),
        "langs": Many(Text(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*"), 0, 3),
        "tags": Many(Text(), 0, 8),
        "labels": _open({"values": Many(_open({"val": Text(high=128)}, "val"), 0, 10)}, "values"),
        "reply": _open({"root": _REF, "parent": _REF}, "root", "parent"),
    },
    "text",
    "createdAt",
)
_GATE: dict[str, Shape] = {"post": Text(_AT_URI), "createdAt": Text(_DATE)}
_GATES: dict[str, Fields] = {
    THREADGATE: _open({**_GATE, "allow": Many(_open({}), 0, 5)}, "post", "createdAt"),
    POSTGATE: _open({**_GATE, "embeddingRules": Many(_open({}), 0, 5)}, "post", "createdAt"),
}


class InvalidRecordError(ValueError):
    """The record breaks its lexicon."""


# --- Counting ---------------------------------------------------------------------------------------------


def clusters(text: str) -> int:
    """Characters as people see them, by Unicode's rules as far as posts need them."""
    count = 0
    previous = ""
    flags = 0
    for letter in text:
        regional = 0x1F1E6 <= ord(letter) <= 0x1F1FF
        joins = (
            _extends(letter)
            or previous == "\u200d"
            or (previous == "\r" and letter == "\n")
            or (regional and flags % 2 == 1)
            or _is_hangul_tail(previous, letter)
            or _is_conjunct(previous, letter)
        )
        flags = flags + 1 if regional else 0
        if not (joins and previous):
            count += 1
        previous = letter
    return count


def _extends(letter: str) -> bool:
    code = ord(letter)
    marked = unicodedata.category(letter) in {"Mn", "Me", "Mc"} or letter in "\u200d\u200c"
    return marked or 0x1F3FB <= code <= 0x1F3FF or 0xE0020 <= code <= 0xE007F


def _is_hangul_tail(previous: str, letter: str) -> bool:
    """Syllables that are written as their parts."""
    if not previous:
        return False
    before, code = ord(previous), ord(letter)
    vowel, tail = 0x1160 <= code <= 0x11A7, 0x11A8 <= code <= 0x11FF
    lead = 0x1100 <= before <= 0x115F
    whole = 0xAC00 <= before <= 0xD7A3
    return (
        (lead and (0x1100 <= code <= 0x115F or vowel or 0xAC00 <= code <= 0xD7A3))
        or ((0x1160 <= before <= 0x11A7 or (whole and (before - 0xAC00) % 28 == 0)) and (vowel or tail))
        or ((0x11A8 <= before <= 0x11FF or whole) and tail)
    )


def _is_conjunct(previous: str, letter: str) -> bool:
    """Two consonants of an Indic script that a virama binds."""
    viramas = "\u094d\u09cd\u0acd\u0b4d\u0c4d\u0d4d"
    return bool(previous) and previous in viramas and unicodedata.category(letter) == "Lo"


# --- Addresses --------------------------------------------------------------------------------------------


def cid(data: bytes, codec: int = 0x55) -> str:
    """The address of some bytes, as the protocol writes it (CID v1, SHA-256, base 32)."""
    raw = bytes((1, codec, 0x12, 32)) + hashlib.sha256(data).digest()
    return "b" + base64.b32encode(raw).decode().lower().rstrip("=")


def record_cid(record: Any) -> str:
    """An address for a record: the same for the same content. The real one hashes DAG-CBOR."""
    return cid(json.dumps(record, sort_keys=True, ensure_ascii=False).encode(), 0x71)


# --- Checking ---------------------------------------------------------------------------------------------


def check(collection: str, record: Any) -> None:
    """:raises InvalidRecordError: the record does not fit the lexicon of its collection."""
    if not isinstance(record, dict) or record.get("$type", collection) != collection:
        raise InvalidRecordError(f"Invalid $type: expected {collection}")
    try:
        if collection == POST:
            _POST.check(record, "Record")
            _check_post(record)
        elif collection in _GATES:
            _GATES[collection].check(record, "Record")
    except MismatchError as error:
        raise InvalidRecordError(f"Invalid {collection} record: {error}") from None


def _check_post(record: dict[str, Any]) -> None:
    text: str = record["text"]
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise MismatchError("Record/text", f"string too big (maximum {MAX_BYTES} bytes)", text)
    seen = clusters(text)
    if seen > MAX_GRAPHEMES:
        raise MismatchError("Record/text", f"grapheme too big (maximum {MAX_GRAPHEMES}, got {seen})", text)
    for facet in record.get("facets", []):
        for feature in facet["features"]:
            _union(feature, _FEATURES, "Record/facets")
            if clusters(feature.get("tag", "")) > 64:
                raise MismatchError("Record/facets/tag", "grapheme too big (maximum 64)", feature)
    for tag in record.get("tags", []):
        if clusters(tag) > 64 or len(tag.encode()) > 640:
            raise MismatchError("Record/tags", "string too big", tag)
    if "embed" in record:
        _union(record["embed"], _EMBEDS, "Record/embed")
        images = record["embed"].get("images", [])
        if len(images) > 4:
            raise MismatchError("Record/embed/images", f"array too big (maximum 4, got {len(images)})", None)


def _union(value: Any, known: dict[str, Fields], path: str) -> None:
    """A union is open too: what it does not name is taken as it is."""
    if not isinstance(value, dict) or not isinstance(value.get("$type"), str):
        raise MismatchError(path, "has to be an object with a $type", value)
    if value["$type"] in known:
        known[value["$type"]].check(value, path)


def blobs(record: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str, int, str]]:
    """The blobs of a post that was checked: each with the type it has to have, its limit, its alt text."""
    embed = record.get("embed", {})
    for image in embed.get("images", []):
        yield image["image"], "image/", IMAGE_BYTES, image["alt"]
    if "video" in embed:
        yield embed["video"], "video/mp4", VIDEO_BYTES, embed.get("alt", "")
    if "thumb" in embed.get("external", {}):
        yield embed["external"]["thumb"], "image/", THUMB_BYTES, ""
