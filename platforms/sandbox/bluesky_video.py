"""The service that encodes videos for Bluesky: a pass for it, the upload, the job."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Any

from platforms.sandbox.accounts import Account
from platforms.sandbox.bluesky_record import VIDEO_BYTES, cid
from platforms.sandbox.bluesky_words import BlueskyWords, did_of
from platforms.sandbox.clip import read_clip
from platforms.sandbox.emulator import Route, signed_in
from platforms.sandbox.media_store import Media, NotMediaError
from platforms.sandbox.wire import Request, Response, json_response

LONGEST_PASS_S = 3600
SHORT_PASS_S = 60
LONGEST_S = 600.0
"""Seconds of a video, since 2026-09."""


class Video:
    """The calls around videos."""

    def __init__(self, emulator: BlueskyWords) -> None:
        self._bluesky = emulator
        self._world = emulator.world
        self._passes: dict[str, tuple[str, float]] = {}
        """Token -> the account's name, and when it ends. Gone after a restart, as they are short-lived anyway."""
        self._jobs: dict[str, str] = {}
        """Job -> media id."""

    def routes(self) -> Sequence[Route]:
        base = "/xrpc/app.bsky.video."
        auth = "/xrpc/com.atproto.server.getServiceAuth"
        return (
            Route("GET", auth, "service_auth", "prepare", self.service_auth),
            Route("POST", f"{base}uploadVideo", "upload_video", "prepare", self.upload, signed=False),
            Route("GET", f"{base}getJobStatus", "job_status", "prepare", self.status, signed=False),
        )

    async def service_auth(self, request: Request) -> Response:
        account, query = signed_in(request), request.query()
        now = int(time.time())
        wanted = query.get("exp", str(now + SHORT_PASS_S))
        if not query.get("aud", "").startswith("did:"):
            raise self._bluesky.refuse(400, "Error: Params must have the property aud")
        longest = LONGEST_PASS_S if query.get("lxm") else SHORT_PASS_S
        if not wanted.isdigit() or not now <= int(wanted) <= now + longest:
            raise self._bluesky.named(400, "BadExpiration", "expiration is out of bounds")
        token = f"pass-{secrets.token_hex(16)}"
        self._passes[token] = (account.name, float(wanted))
        return json_response({"token": token})

    async def upload(self, request: Request) -> Response:
        account = self._holder(request)
        if request.media_type != "video/mp4":
            raise self._bluesky.refuse(400, "Only video/mp4 is taken.")
        if request.query().get("did") != did_of(account):
            raise self._bluesky.refuse(400, "The did is that of another account.")
        if not account.facts.get("email_confirmed", True):
            raise self._bluesky.named(401, "Unauthorized", "The e-mail address has to be confirmed first.")
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

    def _holder(self, request: Request) -> Account:
        name, until = self._passes.get(self._bluesky.token_of(request), ("", 0.0))
        account = self._world.accounts.get("bluesky", name)
        if account is None or until < time.time():
            raise self._bluesky.named(401, "AuthMissing", "A token of getServiceAuth is needed.")
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
