"""The service that encodes videos for Bluesky: a pass for it, the upload, the job."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from platforms.sandbox.accounts import Account
from platforms.sandbox.bluesky_record import VIDEO_BYTES, cid
from platforms.sandbox.bluesky_words import HOST, BlueskyWords, did_of
from platforms.sandbox.clip import read_clip
from platforms.sandbox.emulator import Route, signed_in
from platforms.sandbox.media_store import Media, NotMediaError
from platforms.sandbox.wire import Request, Response, json_response

LONGEST_PASS_S = 3600
SHORT_PASS_S = 60
LONGEST_S = 600.0
"""Seconds of a video, since 2026-09."""
DAILY = (25, 10_000_000_000)
"""Videos, and bytes of them, in a day. Not documented; what clients report, 2024 to 2026."""
FOR_SERVER = (f"did:web:{HOST}", "com.atproto.repo.uploadBlob")
FOR_LIMITS = ("did:web:video.bsky.app", "app.bsky.video.getUploadLimits")
"""What a pass has to be for: the service that takes it, and the method. With the first the video service gives what it
has encoded to the account's server."""
_DID = re.compile(r"did:(?:plc:[a-z2-7]{24}|web:[a-zA-Z0-9.-]+(?:%3A\d+)?)(?:#[A-Za-z0-9_-]+)?")


@dataclass(frozen=True, slots=True)
class Pass:
    """What a token of ``getServiceAuth`` is good for."""

    account: str
    audience: str
    method: str
    until: float


class Video:
    """The calls around videos."""

    def __init__(self, emulator: BlueskyWords) -> None:
        self._bluesky = emulator
        self._world = emulator.world
        self._passes: dict[str, Pass] = {}
        """Gone after a restart, as they are short-lived anyway."""
        self._taken: dict[str, list[tuple[float, int]]] = {}
        """Account -> when it uploaded how many bytes."""
        self._jobs: dict[str, str] = {}
        """Job -> media id."""

    def routes(self) -> Sequence[Route]:
        base = "/xrpc/app.bsky.video."
        auth = "/xrpc/com.atproto.server.getServiceAuth"
        return (
            Route("GET", auth, "service_auth", "prepare", self.service_auth),
            Route("POST", f"{base}uploadVideo", "upload_video", "prepare", self.upload, signed=False),
            Route("GET", f"{base}getJobStatus", "job_status", "prepare", self.status, signed=False),
            Route("GET", f"{base}getUploadLimits", "upload_limits", "account", self.limits, signed=False),
        )

    async def service_auth(self, request: Request) -> Response:
        account, query = signed_in(request), request.query()
        now = int(time.time())
        wanted = query.get("exp", str(now + SHORT_PASS_S))
        if not _DID.fullmatch(query.get("aud", "")):
            raise self._bluesky.refuse(400, "Error: Params must have the property aud, a DID or a service of one")
        longest = LONGEST_PASS_S if query.get("lxm") else SHORT_PASS_S
        if not wanted.isdigit() or not now <= int(wanted) <= now + longest:
            raise self._bluesky.named(400, "BadExpiration", "expiration is out of bounds")
        token = f"pass-{secrets.token_hex(16)}"
        self._passes[token] = Pass(account.name, query["aud"], query.get("lxm", ""), float(wanted))
        return json_response({"token": token})

    async def upload(self, request: Request) -> Response:
        account = self._holder(request, *FOR_SERVER)
        if request.media_type != "video/mp4":
            raise self._bluesky.refuse(400, "Only video/mp4 is taken.")
        if request.query().get("did") != did_of(account):
            raise self._bluesky.refuse(400, "The did is that of another account.")
        if not account.facts.get("email_confirmed", True):
            raise self._bluesky.named(401, "Unauthorized", "Confirm your email address to upload videos")
        try:
            sha, facts = await self._world.media.add(request.body)
        except NotMediaError:
            raise self._bluesky.refuse(400, "The file is no video.") from None
        if not facts.is_video or len(request.body) > VIDEO_BYTES:
            raise self._bluesky.refuse(400, "The file is no video, or too large.")
        film = read_clip(request.body)
        failed = "" if film is not None and film.duration_s <= LONGEST_S else "validation_failure"
        media_id = f"{account.name}/{cid(request.body)}"
        known = self._world.media.get("bluesky", media_id)
        job = f"job-{sha[:20]}"
        self._jobs[job] = media_id
        if known is not None:
            # The service keeps what it has encoded, and says so by an error that names it.
            return json_response({**self._shown(known, job), "error": "already_exists"}, 409)
        told = self._over(account, len(request.body))
        if told:
            raise self._bluesky.named(400, "DailyLimitExceeded", told)
        self._taken.setdefault(account.name, []).append((time.time(), len(request.body)))
        media = self._world.media.save(
            Media(
                media_id,
                "bluesky",
                account.name,
                "video/mp4",
                "video",
                len(request.body),
                time.time() + self._world.settings.media_ttl_s,
                finalized=True,
                ready_at=time.time() + self._world.settings.processing_s,
                sha256=sha,
                mime="video/mp4",
                size=len(request.body),
                failed=failed,
            )
        )
        return json_response(self._shown(media, job))

    async def status(self, request: Request) -> Response:
        job = request.query().get("jobId", "")
        media = self._world.media.get("bluesky", self._jobs.get(job, ""))
        if media is None:
            raise self._bluesky.refuse(404, "The job is not known.")
        return json_response({"jobStatus": self._shown(media, job)})

    async def limits(self, request: Request) -> Response:
        account = self._holder(request, *FOR_LIMITS)
        if not account.facts.get("email_confirmed", True):
            return json_response({"canUpload": False, "message": "Confirm your email address to upload videos"})
        videos, size = self._left(account)
        told = self._over(account, 0)
        shown = {"canUpload": not told, "remainingDailyVideos": max(0, videos), "remainingDailyBytes": max(0, size)}
        return json_response({**shown, **({"message": told} if told else {})})

    def _left(self, account: Account) -> tuple[int, int]:
        """Videos, and bytes of them, that the account may still upload today."""
        since = time.time() - 86_400
        taken = [size for at, size in self._taken.get(account.name, []) if at > since]
        videos, size = (account.facts.get(name) for name in ("daily_videos", "daily_video_bytes"))
        return (DAILY[0] if videos is None else videos) - len(taken), (DAILY[1] if size is None else size) - sum(taken)

    def _over(self, account: Account, size: int) -> str:
        """Why the account may not upload so many bytes more; empty: it may."""
        if not self._world.settings.enforce_limits:
            return ""
        videos, left = self._left(account)
        kind = "videos" if videos < 1 else "bytes" if left <= size else ""
        return f"User has exceeded daily upload {kind} limit" if kind else ""

    def _holder(self, request: Request, audience: str, method: str) -> Account:
        """Whose pass a request brings. :raises RefusedError: it brings none, or one for something else."""
        given = self._passes.get(self._bluesky.token_of(request))
        account = self._world.accounts.get("bluesky", given.account) if given else None
        if given is None or account is None or given.until < time.time():
            raise self._bluesky.named(401, "AuthMissing", "A token of getServiceAuth is needed.")
        if given.audience.partition("#")[0] != audience:
            raise self._bluesky.named(401, "BadJwtAudience", f"The token is for {given.audience}, not for {audience}.")
        if given.method != method:
            raise self._bluesky.named(401, "BadJwtLexiconMethod", f"The token is not for {method}.")
        return account

    def _shown(self, media: Media, job: str) -> dict[str, Any]:
        account = self._world.accounts.ensure("bluesky", media.account)
        shown: dict[str, Any] = {"jobId": job, "did": did_of(account)}
        left = media.ready_at - time.time()
        if left > 0:
            done = 1 - left / max(self._world.settings.processing_s, 0.001)
            return {**shown, "state": "JOB_STATE_ENCODING", "progress": max(0, min(99, int(100 * done)))}
        if media.failed:
            told = "The video is too long, or is none."
            return {**shown, "state": "JOB_STATE_FAILED", "failureCode": media.failed, "error": told, "message": told}
        address = media.media_id.partition("/")[2]
        blob = {"$type": "blob", "ref": {"$link": address}, "mimeType": "video/mp4", "size": media.size}
        return {**shown, "state": "JOB_STATE_COMPLETED", "progress": 100, "blob": blob}
