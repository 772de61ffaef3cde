"""The object store: Cloudflare R2, or anything that speaks S3. Originals stay private, renditions are public.

Renditions are named by the sha256 of their bytes, so storing the same file twice stores it once, a public name
cannot be guessed (256 bits), and whatever is read back can be checked against its name. Originals are named by a
keyed hash: they hold the place where a picture was taken, and a bucket with a public domain shows all it holds.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO, TypeVar, cast
from urllib.parse import quote, urlsplit

from media import addresses, etags, s3
from media.errors import MediaRefused, StoreUnavailable
from media.objects import StoreConfig, StoredObject, Unfinished
from media.probe import open_regular
from media.sniff import SUFFIXES

__all__ = ["Store", "StoreConfig", "StoredObject", "Unfinished"]

T = TypeVar("T")

PART_BYTES = 16 << 20
"""Above this an upload goes in parts, all of this size but the last (R2 wants them equal)."""
CHUNK = 1 << 20
SPOOL_BYTES = 8 << 20
"""What ``open`` keeps in memory before it writes to a temporary file."""
LONGEST_PRESIGN_S = 7 * 24 * 3600
"""Signature version 4 allows no more."""
HASH_HEADER = "sha256"

_HASH = re.compile(r"[0-9a-f]{64}")


class Store:
    """One bucket. May be shared by threads and carried across a fork: each process makes its own client."""

    def __init__(self, config: StoreConfig) -> None:
        self.config = config
        self._clients: dict[int, Any] = {}
        self._public: bool | None = None

    def __repr__(self) -> str:
        return f"Store({s3.origin(self.config.endpoint_url)}, bucket={self.config.bucket})"

    # --- names --------------------------------------------------------------------------------------------

    def original_key(self, sha256: str) -> str:
        """Where the author's file is kept: not to be guessed even by who has the file and the bucket's domain.

        Derived from the store's own secret, which everybody who may store a file has. With new credentials new
        names arise; rows keep the names of what they stored, and prune finds what no row knows.
        """
        secret = self.config.secret_access_key.encode()
        # 160 bits, shorter than a hash, so that it is never taken for one.
        name = hmac.new(secret, b"original:" + sha256.encode(), hashlib.sha256).hexdigest()[:40]
        return f"{self.config.originals_prefix}{name}"

    def rendition_key(self, sha256: str, mime: str) -> str:
        """Where a rendition is kept; its suffix tells platforms the type."""
        return f"{self.config.public_prefix}{sha256}{SUFFIXES.get(mime, '')}"

    def public_url(self, key: str, expires_s: int = 86_400) -> str:
        """A URL under which a platform can fetch the object.

        :param expires_s: how long a presigned URL works, seconds (at most 7 days); a domain of the bucket's
            own needs no signature. A presigned URL is a secret while it works: never log it.
        """
        if self.config.public_url:
            return f"{self.config.public_url.rstrip('/')}/{quote(key)}"
        seconds = max(1, min(expires_s, LONGEST_PRESIGN_S))
        parameters = {"Bucket": self.config.bucket, "Key": key}
        return str(self._client.generate_presigned_url("get_object", Params=parameters, ExpiresIn=seconds))

    def is_public(self) -> bool:
        """Whether a platform on the internet can reach what ``public_url`` returns.

        Judged by the host: literal addresses and local names at once, others by DNS. A name that does not
        resolve just now counts as public: an outage of the resolver must not refuse a post.
        """
        if self._public is not None:
            return self._public
        host = self._public_host
        if addresses.literal(host) is None and addresses.is_local_name(host):
            self._public = False
            return False
        try:
            found = addresses.resolve(host, 443)
        except addresses.Unresolved:
            return True
        self._public = all(addresses.is_public(address) for address in found)
        return self._public

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach what ``public_url`` returns. Asks no DNS."""
        host = self._public_host
        address = addresses.literal(host)
        if address is not None:
            return addresses.plain(address).is_loopback
        return host == "localhost" or host.endswith(".localhost")

    @property
    def _public_host(self) -> str:
        return (urlsplit(self.config.public_url or self.config.endpoint_url).hostname or "").lower()

    # --- the bucket ---------------------------------------------------------------------------------------

    def ensure_bucket(self) -> None:
        """Makes the bucket unless it is there. :raises StoreUnavailable: it is not and cannot be made."""
        client, bucket = self._client, self.config.bucket
        if self._call("look for the bucket", lambda: client.head_bucket(Bucket=bucket), absent=True) is None:
            try:
                self._call("make the bucket", lambda: client.create_bucket(Bucket=bucket))
            except StoreUnavailable:
                # Somebody else may have made it in between.
                if self._call("look for the bucket", lambda: client.head_bucket(Bucket=bucket), absent=True):
                    return
                raise

    def check(self) -> None:
        """Whether the store can be reached, the credentials are right and the bucket is there.

        :raises StoreUnavailable: in words that say which of these it is.
        """
        client, bucket = self._client, self.config.bucket
        # A listing, not a HEAD: only an answer with a body says why it was refused.
        self._call("list the bucket", lambda: client.list_objects_v2(Bucket=bucket, MaxKeys=1))

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """The objects whose key begins with ``prefix``, page by page. :raises StoreUnavailable: no answer."""
        client = self._client
        asked: dict[str, Any] = {"Bucket": self.config.bucket, "Prefix": prefix}
        while True:
            page: Any = self._call("list the bucket", partial(client.list_objects_v2, **asked))
            for entry in page.get("Contents", []):
                yield StoredObject(entry["Key"], entry["Size"], entry["LastModified"])
            if not page.get("IsTruncated"):
                return
            asked["ContinuationToken"] = page["NextContinuationToken"]

    def unfinished(self, prefix: str = "") -> Iterator[Unfinished]:
        """The uploads in parts under ``prefix`` that nobody has ended. :raises StoreUnavailable: no answer."""
        client = self._client
        asked: dict[str, Any] = {"Bucket": self.config.bucket, "Prefix": prefix}
        while True:
            request = partial(client.list_multipart_uploads, **asked)
            # Some stores answer "no such upload" where there is none at all.
            page: Any = self._call("list unfinished uploads", request, absent=True) or {}
            for entry in page.get("Uploads", []):
                yield Unfinished(entry["Key"], entry["UploadId"], entry["Initiated"])
            if not page.get("IsTruncated"):
                return
            asked["KeyMarker"], asked["UploadIdMarker"] = page["NextKeyMarker"], page["NextUploadIdMarker"]

    def give_up(self, one: Unfinished) -> None:
        """Ends an unfinished upload; its parts are deleted. :raises StoreUnavailable: no answer."""
        client, bucket = self._client, self.config.bucket
        self._call(
            "give up an upload",
            lambda: client.abort_multipart_upload(Bucket=bucket, Key=one.key, UploadId=one.upload_id),
            absent=True,
        )

    # --- objects ------------------------------------------------------------------------------------------

    def put_file(
        self, key: str, path: Path, mime: str, sha256: str, progress: Callable[[float], None] | None = None
    ) -> None:
        """Stores a file unless the same is there already. Streamed; whole or not at all.

        Each request carries its digest, so the store refuses bytes that were bent on the way; the file is hashed
        again while it is read. Afterwards the store is asked for the length and the hash of what it has, and where
        it names no hash that we know how to make, the object is read back. What is not the file is deleted.

        :param sha256: hex, of the file.
        :param progress: called with the share that is stored, after each part; what it raises ends the upload.
        :raises MediaRefused: the file is gone or unreadable, or (``changed``) no longer has that hash.
        :raises StoreUnavailable: it could not be stored.
        """
        with open_regular(path, name=path.name) as stream:
            size = os.fstat(stream.fileno()).st_size
            if self._has(key, size, sha256, stream):
                return
            stream.seek(0)
            if size <= PART_BYTES:
                sent = self._put_whole(key, stream.read(), mime, sha256, path.name)
            else:
                sent = self._put_parts(key, stream, size, mime, sha256, path.name, progress)
        self._verify(key, size, sha256, sent, progress)

    def download(
        self, key: str, path: Path, *, sha256: str = "", progress: Callable[[float], None] | None = None
    ) -> None:
        """Fetches an object into ``path``, which appears whole or not at all.

        :param sha256: what it must be; where the key is named by a hash, that one is checked anyway.
        :param progress: called with the share that has come; what it raises ends the download.
        :raises MediaRefused: ``missing``: the store has no such object.
        :raises StoreUnavailable: no answer, or other bytes than were stored.
        """
        handle, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
        part = Path(name)
        try:
            with os.fdopen(handle, "wb") as out:
                self._fetch(key, out, sha256, progress)
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def open(self, key: str, progress: Callable[[float], None] | None = None) -> BinaryIO:
        """The object's bytes, read in full, verified, seekable; the caller closes. ``progress`` as in ``download``.

        Raises as ``download``.
        """
        spool = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115 - handed to the caller
        try:
            self._fetch(key, cast("IO[bytes]", spool), "", progress)
        except BaseException:
            spool.close()
            raise
        spool.seek(0)
        return cast("BinaryIO", spool)

    def read_range(self, key: str, offset: int, length: int) -> bytes:
        """``length`` bytes of an object from ``offset`` on (fewer at its end), for uploads that resume.

        :raises MediaRefused: ``missing``: the store has no such object.
        :raises StoreUnavailable: no answer.
        """
        client = self._client

        def read() -> bytes:
            wanted = f"bytes={offset}-{offset + length - 1}"
            answer = client.get_object(Bucket=self.config.bucket, Key=key, Range=wanted)
            with contextlib.closing(answer["Body"]) as body:
                return cast("bytes", body.read())

        found = self._call("read a range", read, absent=True)
        if found is None:
            raise MediaRefused("missing", f"the store has no object {key}", file=key)
        return found

    def exists(self, key: str) -> bool:
        """Whether the object is there. :raises StoreUnavailable: no answer."""
        return self._head(key) is not None

    def delete(self, key: str) -> None:
        """Removes an object; fine if there is none. :raises StoreUnavailable: no answer."""
        client = self._client
        self._call("delete", lambda: client.delete_object(Bucket=self.config.bucket, Key=key), absent=True)

    def _has(self, key: str, size: int, sha256: str, stream: IO[bytes]) -> bool:
        stored = self._head(key)
        if stored is None or stored["ContentLength"] != size:
            return False
        # Stores differ in how they spell metadata; one that forgets it may still know the MD5.
        noted = {name.lower(): value for name, value in stored.get("Metadata", {}).items()}.get(HASH_HEADER)
        if noted is not None and (noted != sha256 or size <= PART_BYTES):
            return bool(noted == sha256)
        tags = etags.Tags()
        while chunk := stream.read(PART_BYTES):
            tags.add(chunk)
        if etags.of(stored) in tags.possible():
            return True
        # The note was written as the upload began: whoever wrote it may have died before the object was verified.
        return noted is not None and self._read_back(key) == sha256

    def _verify(
        self, key: str, size: int, sha256: str, sent: etags.Tags, progress: Callable[[float], None] | None
    ) -> None:
        """That what is stored is what was sent. :raises StoreUnavailable: it is not, and is there no longer."""
        stored = self._head(key)
        if stored is not None and stored["ContentLength"] == size:
            if etags.of(stored) in sent.possible():
                return
            # Encrypted by the bucket's own key, or a store with tags of its own: only the bytes can tell.
            if self._read_back(key, progress) == sha256:
                return
        length = "nothing" if stored is None else f"{stored['ContentLength']} bytes"
        # It bears a name that promises other bytes: nobody shall find it there.
        self.delete(key)
        raise StoreUnavailable(f"{key}: {size} bytes were sent, {length} arrived, and they are not the same")

    def _read_back(self, key: str, progress: Callable[[float], None] | None = None) -> str:
        """The hash of a stored object; empty where there is none. Streamed."""
        client = self._client

        def read() -> str:
            digest = hashlib.sha256()
            answer = client.get_object(Bucket=self.config.bucket, Key=key)
            with contextlib.closing(answer["Body"]) as body:
                for chunk in body.iter_chunks(CHUNK):
                    digest.update(chunk)
                    if progress is not None:
                        progress(1.0)
            return digest.hexdigest()

        return self._call("read an object back", read, absent=True) or ""

    def _head(self, key: str) -> Any:
        client, bucket = self._client, self.config.bucket
        return self._call("look for an object", lambda: client.head_object(Bucket=bucket, Key=key), absent=True)

    def _put_whole(self, key: str, body: bytes, mime: str, sha256: str, name: str) -> etags.Tags:
        client = self._client
        _same(hashlib.sha256(body).hexdigest(), sha256, name)
        tags = etags.Tags()
        md5 = tags.add(body)
        self._call(
            "store an object",
            lambda: client.put_object(
                Bucket=self.config.bucket,
                Key=key,
                Body=body,
                ContentType=mime,
                ContentMD5=base64.b64encode(md5).decode(),
                Metadata={HASH_HEADER: sha256},
            ),
        )
        return tags

    def _put_parts(
        self,
        key: str,
        stream: IO[bytes],
        size: int,
        mime: str,
        sha256: str,
        name: str,
        progress: Callable[[float], None] | None,
    ) -> etags.Tags:
        client, bucket = self._client, self.config.bucket
        started: Any = self._call(
            "begin an upload",
            lambda: client.create_multipart_upload(
                Bucket=bucket, Key=key, ContentType=mime, Metadata={HASH_HEADER: sha256}
            ),
        )
        upload = started["UploadId"]
        digest, tags, done = hashlib.sha256(), etags.Tags(), 0
        parts: Any = []
        try:
            while body := stream.read(PART_BYTES):
                digest.update(body)
                md5 = tags.add(body)
                done += len(body)
                number = len(parts) + 1

                def send(body: bytes = body, number: int = number, md5: bytes = md5) -> Any:
                    return client.upload_part(
                        Bucket=bucket,
                        Key=key,
                        UploadId=upload,
                        PartNumber=number,
                        Body=body,
                        ContentMD5=base64.b64encode(md5).decode(),
                    )

                answer: Any = self._call("store a part", send)
                parts.append({"PartNumber": number, "ETag": answer["ETag"]})
                if progress is not None:
                    progress(done / size)
            _same(digest.hexdigest(), sha256, name)
            # Absent: an earlier try of ours succeeded and its answer was lost; what is there is verified anyway.
            self._call(
                "finish an upload",
                lambda: client.complete_multipart_upload(
                    Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
                ),
                absent=True,
            )
        except BaseException:
            self._abort(key, upload)
            raise
        return tags

    def _abort(self, key: str, upload: str) -> None:
        client = self._client
        # The failure that led here matters, not this one; stores drop unfinished uploads after some days.
        with contextlib.suppress(StoreUnavailable):
            self._call(
                "give up an upload",
                lambda: client.abort_multipart_upload(Bucket=self.config.bucket, Key=key, UploadId=upload),
                absent=True,
            )

    def _fetch(self, key: str, out: IO[bytes], sha256: str, progress: Callable[[float], None] | None = None) -> None:
        client = self._client
        expected = sha256 or _hash_in(key)

        def read() -> str | None:
            out.seek(0)
            out.truncate()
            digest = hashlib.sha256()
            answer = client.get_object(Bucket=self.config.bucket, Key=key)
            # Not `with answer["Body"]`: that hands out the raw stream, without the check of the length.
            with contextlib.closing(answer["Body"]) as body:
                for chunk in body.iter_chunks(CHUNK):
                    digest.update(chunk)
                    out.write(chunk)
                    if progress is not None:
                        progress(out.tell() / max(1, answer["ContentLength"]))
            return digest.hexdigest()

        found = self._call("fetch an object", read, absent=True)
        if found is None:
            raise MediaRefused("missing", f"the store has no object {key}", file=key)
        if expected and found != expected:
            raise StoreUnavailable(f"{key}: the stored bytes are not those that its name promises")

    # --- calls --------------------------------------------------------------------------------------------

    @property
    def _client(self) -> Any:
        process = os.getpid()
        client = self._clients.get(process)
        if client is None:
            # No lock, which a fork could copy while held: two threads may both make one, and one is dropped.
            config = self.config
            made = s3.connect(config.endpoint_url, config.access_key_id, config.secret_access_key, config.region)
            client = self._clients.setdefault(process, made)
        return client

    def _call(self, what: str, request: Callable[[], T], *, absent: bool = False) -> T | None:
        where = f"{s3.origin(self.config.endpoint_url)}, bucket {self.config.bucket}"
        return s3.call(what, request, where=where, absent=absent)


def _hash_in(key: str) -> str:
    """The hash that names a key of ours; empty where there is none."""
    stem = key.rpartition("/")[2].partition(".")[0]
    return stem if _HASH.fullmatch(stem) else ""


def _same(found: str, expected: str, name: str) -> None:
    if found != expected:
        raise MediaRefused("changed", "the file was changed after it had been checked", file=name)
