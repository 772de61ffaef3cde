"""The Bluesky emulator's records and blobs, as the reference server keeps them.

Records beside posts (rules for replies and quotes) are kept in memory only: nobody reads them after a restart.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any

from platforms.sandbox.accounts import Account
from platforms.sandbox.bluesky_record import POST, TID, InvalidRecordError, blobs, check, cid, record_cid
from platforms.sandbox.bluesky_words import BlueskyWords, did_of, rkey_of
from platforms.sandbox.emulator import Route, signed_in
from platforms.sandbox.ledger import Picture, Post
from platforms.sandbox.media_store import Media, NotMediaError
from platforms.sandbox.shape import Fields, Flag, MismatchError, Shape, Text
from platforms.sandbox.wire import Request, Response, json_response

WRITES = (1666, 3600)
"""5,000 points an hour, of which a new record takes 3. Source: bsky-docs, 2026-04."""
UPLOADS = (1000, 86_400)
BLOB_BYTES = 52_428_800
_WRONG_TYPE = "Wrong type of file. It is {} but it must match {}."
_TOO_LARGE = "This file is too large. It is {} but the maximum size is {}."
_NSID = r"[a-zA-Z0-9-]+(\.[a-zA-Z0-9-]+){2,}"
_RKEY = r"[a-zA-Z0-9_~.:-]{1,512}"
_RECORD = Fields({}, closed=False)
_PLACE: dict[str, Shape] = {"repo": Text(low=1), "collection": Text(_NSID), "rkey": Text(_RKEY)}
_SWAP: dict[str, Shape] = {"swapRecord": Text(nullable=True), "swapCommit": Text(nullable=True), "validate": Flag()}
PUT = Fields({**_PLACE, **_SWAP, "record": _RECORD}, required=("repo", "collection", "rkey", "record"), closed=False)
CREATE = Fields({**_PLACE, **_SWAP, "record": _RECORD}, required=("repo", "collection", "record"), closed=False)
DELETE = Fields({**_PLACE, **_SWAP}, required=("repo", "collection", "rkey"), closed=False)


class Repo:
    """The calls ``com.atproto.repo.*``."""

    def __init__(self, emulator: BlueskyWords) -> None:
        self._bluesky = emulator
        self._world = emulator.world
        self._others: dict[tuple[str, str, str], dict[str, Any]] = {}

    def routes(self) -> Sequence[Route]:
        base = "/xrpc/com.atproto.repo."
        return (
            Route("POST", f"{base}putRecord", "put_record", "publish", self.put, WRITES),
            Route("POST", f"{base}createRecord", "create_record", "publish", self.create, WRITES),
            Route("POST", f"{base}deleteRecord", "delete", "delete", self.delete, (5000, 3600)),
            Route("POST", f"{base}uploadBlob", "upload_blob", "prepare", self.upload, UPLOADS),
            Route("GET", f"{base}getRecord", "get_record", "read", self.get, signed=False),
            Route("GET", f"{base}listRecords", "list_records", "read", self.list, signed=False),
        )

    # --- writing ---

    async def put(self, request: Request) -> Response:
        account, body = self._checked(request, PUT)
        collection, rkey = body["collection"], body["rkey"]
        record = {"$type": collection, **body["record"]}
        known = self._find(account, collection, rkey)
        if known is not None and known == record:
            return json_response(self._named(account, collection, rkey, record))
        if "swapRecord" in body:
            expected = body["swapRecord"]
            actual = None if known is None else record_cid(known)
            if expected != actual:
                raise self._bluesky.named(400, "InvalidSwap", f"Record was at {actual}")
        return json_response(self._write(request, account, collection, rkey, record))

    async def create(self, request: Request) -> Response:
        account, body = self._checked(request, CREATE)
        rkey = body.get("rkey") or _tid(self._world.next_id())
        record = {"$type": body["collection"], **body["record"]}
        if self._find(account, body["collection"], rkey) is not None:
            # The reference server does not expect this and fails.
            raise self._bluesky.refuse(500)
        return json_response(self._write(request, account, body["collection"], rkey, record))

    async def delete(self, request: Request) -> Response:
        account, body = self._checked(request, DELETE)
        collection, rkey = body["collection"], body["rkey"]
        if self._find(account, collection, rkey) is not None:
            if collection == POST:
                self._world.ledger.delete(self._post(account, rkey))
            self._others.pop((account.name, collection, rkey), None)
        return json_response({"commit": self._commit(rkey)})

    async def upload(self, request: Request) -> Response:
        account = signed_in(request)
        if not request.media_type:
            raise self._bluesky.refuse(400, "Request encoding (Content-Type) required but not provided")
        if len(request.body) > BLOB_BYTES:
            raise self._bluesky.refuse(413)
        address = cid(request.body)
        try:
            sha, facts = await self._world.media.add(request.body)
            mime, width, height = facts.mime, facts.width, facts.height
        except NotMediaError:
            # Any bytes are taken; only the record that names them says what they have to be.
            sha, mime, width, height = "", request.media_type, 0, 0
        self._world.media.save(
            Media(
                f"{account.name}/{address}",
                "bluesky",
                account.name,
                request.media_type,
                "blob",
                len(request.body),
                time.time() + self._world.settings.media_ttl_s,
                finalized=True,
                sha256=sha,
                mime=mime,
                width=width,
                height=height,
                size=len(request.body),
            )
        )
        blob = {"$type": "blob", "ref": {"$link": address}, "mimeType": mime, "size": len(request.body)}
        return json_response({"blob": blob})

    # --- reading ---

    async def get(self, request: Request) -> Response:
        query = request.query()
        account = self._bluesky.owner(query.get("repo", ""))
        if account is None:
            raise self._bluesky.refuse(400, f"Could not find repo: {query.get('repo')}")
        collection, rkey = query.get("collection", ""), query.get("rkey", "")
        record = self._find(account, collection, rkey, lag_s=request.read_lag_s)
        if record is None:
            uri = f"at://{did_of(account)}/{collection}/{rkey}"
            raise self._bluesky.named(400, "RecordNotFound", f"Could not locate record: {uri}")
        return json_response({**self._address(account, collection, rkey, record), "value": record})

    async def list(self, request: Request) -> Response:
        query = request.query()
        account = self._bluesky.owner(query.get("repo", ""))
        if account is None:
            raise self._bluesky.refuse(400, f"Could not find repo: {query.get('repo')}")
        size = query.get("limit", "50")
        if not size.isdigit() or not 1 <= int(size) <= 100:
            raise self._bluesky.refuse(400, "limit must be between 1 and 100")
        collection = query.get("collection", "")
        if collection == POST:
            posts = self._world.ledger.newest_first("bluesky", account.name, lag_s=request.read_lag_s)
            found = [(rkey_of(post), post.private["record"]) for post in posts]
        else:
            found = [(key[2], value) for key, value in self._others.items() if key[:2] == (account.name, collection)]
        found.sort(reverse=query.get("reverse") != "true")
        if after := query.get("cursor"):
            found = [row for row in found if (row[0] < after) == (query.get("reverse") != "true")]
        page = found[: int(size)]
        rows = [{**self._address(account, collection, rkey, value), "value": value} for rkey, value in page]
        return json_response({"records": rows, **({"cursor": page[-1][0]} if page else {})})

    # --- pieces ---

    def _checked(self, request: Request, shape: Fields) -> tuple[Account, dict[str, Any]]:
        """The account and the body of a write. :raises RefusedError: it is wrong."""
        account = signed_in(request)
        body = self._bluesky.json_body(request)
        try:
            shape.check(body, "Input")
        except MismatchError as error:
            raise self._bluesky.refuse(400, str(error)) from None
        if self._bluesky.owner(body["repo"]) is not account:
            raise self._bluesky.named(403, "Forbidden", "The repo belongs to another account.")
        collection = body["collection"]
        if collection.startswith("app.bsky.feed.") and "rkey" in body and not re.fullmatch(TID, body["rkey"]):
            raise self._bluesky.refuse(400, f"Invalid record key: {body['rkey']} is not a TID")
        if "record" in body:
            try:
                check(collection, body["record"])
            except InvalidRecordError as error:
                raise self._bluesky.refuse(400, str(error)) from None
        return account, body

    def _post(self, account: Account, rkey: str) -> Post:
        post = self._world.ledger.find("bluesky", f"at://{did_of(account)}/{POST}/{rkey}")
        if post is None:
            raise LookupError(rkey)
        return post

    def _find(self, account: Account, collection: str, rkey: str, *, lag_s: float = 0.0) -> dict[str, Any] | None:
        if collection != POST:
            return self._others.get((account.name, collection, rkey))
        post = self._world.ledger.find("bluesky", f"at://{did_of(account)}/{POST}/{rkey}")
        if post is None or post.accepted_at > time.time() - lag_s:
            return None
        record: dict[str, Any] = post.private["record"]
        return record

    def _write(
        self, request: Request, account: Account, collection: str, rkey: str, record: dict[str, Any]
    ) -> dict[str, Any]:
        answer = {**self._named(account, collection, rkey, record), "commit": self._commit(rkey)}
        if collection != POST:
            self._others[account.name, collection, rkey] = record
            return answer
        pictures = [self._attached(account, blob, kind, most, alt) for blob, kind, most, alt in blobs(record)]
        fields: dict[str, Any] = {}
        external = record.get("embed", {}).get("external")
        if external:
            fields.update(link=external["uri"], card=external["title"])
        if "reply" in record:
            fields["reply_to"] = record["reply"]["parent"]["uri"]
        before = self._world.ledger.find("bluesky", answer["uri"])
        if before is not None:
            self._world.ledger.delete(before)  # an edit: the post as it was is gone
        post = Post(
            "bluesky", account.name, answer["uri"], record["text"], pictures, time.time(), request.began_at, fields,
            {"record": record},
        )  # fmt: skip
        self._world.ledger.accept(post)
        return answer

    def _attached(self, account: Account, blob: dict[str, Any], kind: str, most: int, alt: str) -> Picture:
        address = blob["ref"]["$link"]
        media = self._world.media.get("bluesky", f"{account.name}/{address}")
        if media is None or media.expired:
            raise self._bluesky.named(400, "BlobNotFound", f"Could not find blob: {address}")
        if not media.mime.startswith(kind):
            raise self._bluesky.named(400, "InvalidMimeType", _WRONG_TYPE.format(media.mime, kind))
        if media.size > most:
            raise self._bluesky.named(400, "BlobTooLarge", _TOO_LARGE.format(media.size, most))
        # A referenced blob stays as long as its record.
        media.expires_at = time.time() + 10 * 365 * 86_400.0
        return Picture(media.sha256, alt, media.mime, media.width, media.height)

    def _address(self, account: Account, collection: str, rkey: str, record: dict[str, Any]) -> dict[str, Any]:
        return {"uri": f"at://{did_of(account)}/{collection}/{rkey}", "cid": record_cid(record)}

    def _named(self, account: Account, collection: str, rkey: str, record: dict[str, Any]) -> dict[str, Any]:
        return {**self._address(account, collection, rkey, record), "validationStatus": "valid"}

    def _commit(self, rkey: str) -> dict[str, str]:
        number = self._world.next_id()
        return {"cid": cid(f"{rkey}/{number}".encode(), 0x71), "rev": _tid(number)}


def _tid(number: str) -> str:
    """A key that grows with time, from a number that does."""
    letters = "234567abcdefghijklmnopqrstuvwxyz"
    value = int(number) & ((1 << 63) - 1)
    return "".join(letters[value >> (5 * place) & 31] for place in reversed(range(13)))
