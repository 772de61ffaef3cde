"""TikTok's jobs: chunks, pulls, processing, status, and the lists of public posts.

A job is kept as an upload of the media store, so that it outlives a restart: its ``category`` holds the words of the
request as JSON, and the id of the post once there is one.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from platforms.sandbox.accounts import Account
from platforms.sandbox.clip import Clip, read_clip
from platforms.sandbox.emulator import Route, signed_in
from platforms.sandbox.fetch import FetchError, fetch
from platforms.sandbox.ledger import Picture, Post
from platforms.sandbox.media_store import Media, NotMediaError
from platforms.sandbox.wire import Request, Response

if TYPE_CHECKING:
    from platforms.sandbox.tiktok import TikTok

PUBLISH = "/v2/post/publish"
UPLOAD_ORIGIN = "https://open-upload.tiktokapis.com"
"""As TikTok says it: a client that is pointed at the sandbox sends it here."""
URL_LIFE_S = 3_600.0
SMALLEST_CHUNK, LARGEST_CHUNK, LARGEST_LAST = 5_000_000, 67_108_864, 134_217_728
LARGEST_VIDEO = 4 * 1024**3
LARGEST_PHOTO = 20_000_000
VIDEO_TYPES = ("video/mp4", "video/quicktime", "video/webm")
HEADED_TYPES = ("video/mp4", "video/quicktime")
"""Whose headers are read; of WebM only the container is known here."""
SHORTEST_VIDEO_S = 3.0
SMALLEST_SIDE, LARGEST_SIDE = 360, 4_096
PHOTO_TYPES = ("image/jpeg", "image/webp")
FAIL_REASONS = (
    "internal", "video_pull_failed", "photo_pull_failed", "file_format_check_failed", "duration_check_failed",
    "frame_rate_check_failed", "picture_size_check_failed", "spam_risk_user_banned_from_posting", "spam_risk_text",
    "spam_risk", "spam_risk_too_many_posts", "auth_removed", "publish_cancelled",
)  # fmt: skip
FINISHED = (416, 404, 403)
"""What a chunk for a finished upload may be answered: TikTok does not say. Without an order: the first."""
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class TikTokJobs:
    """The calls of the TikTok emulator that carry media and tell what became of them."""

    def __init__(self, emulator: TikTok) -> None:
        self._tiktok = emulator
        self._world = emulator.world

    def routes(self) -> Sequence[Route]:
        read = ("video.list",)
        return (
            # Of kind publish: its last chunk does. ``skip`` lets the chunks before it pass.
            Route("PUT", "/video/", "upload", "publish", self.upload, signed=False),
            Route("POST", f"{PUBLISH}/status/fetch/", "status", "read", self.status, (30, 60)),
            Route("POST", f"{PUBLISH}/cancel/", "cancel", "delete", self.cancel),
            Route("POST", "/v2/video/list/", "list", "read", self.list_videos, (600, 60), read),
            Route("POST", "/v2/video/query/", "query", "read", self.query_videos, (600, 60), read),
        )

    # --- beginning ---

    async def begin_video(
        self, account: Account, request: Request, source: dict[str, Any], words: dict[str, Any]
    ) -> Response:
        """An init for a video; one that pulls goes on by itself."""
        if source["source"] == "PULL_FROM_URL":
            if "video_url" not in source:
                raise self._tiktok.says(400, "invalid_param", "video_url is required")
            job = self._new(account, "v_pub_url~v2.", source, words)
            await self._pull(job, request, [source["video_url"]], VIDEO_TYPES, "video_pull_failed")
            return self._tiktok.ok({"publish_id": job.media_id})
        self._check_chunks(source)
        job = self._new(account, "v_pub_file~v2-1.", source, words)
        token = secrets.token_hex(8)
        job.alt = token
        self._world.media.save(job)
        query = urlencode({"upload_id": job.media_id, "upload_token": token})
        return self._tiktok.ok({"publish_id": job.media_id, "upload_url": f"{UPLOAD_ORIGIN}/video/?{query}"})

    async def begin_photos(
        self, account: Account, request: Request, urls: list[str], words: dict[str, Any]
    ) -> Response:
        """An init for photos: TikTok pulls them, and posts."""
        job = self._new(account, "p_pub_url~v2.", {"photos": len(urls)}, words)
        await self._pull(job, request, urls, PHOTO_TYPES, "photo_pull_failed")
        return self._tiktok.ok({"publish_id": job.media_id})

    def _new(self, account: Account, prefix: str, source: dict[str, Any], words: dict[str, Any]) -> Media:
        life_s = min(URL_LIFE_S, self._world.settings.media_ttl_s)
        size = int(source.get("video_size", 0))
        category = json.dumps(
            {"words": words, "chunk": source.get("chunk_size", 0), "pulled": "chunk_size" not in source}
        )
        made = Media(
            f"{prefix}{self._world.next_id()}", "tiktok", account.name, "", category, size, time.time() + life_s
        )
        return self._world.media.save(made)

    def _check_chunks(self, source: dict[str, Any]) -> None:
        """:raises RefusedError: the cut is against the rules."""
        if not {"video_size", "chunk_size", "total_chunk_count"} <= set(source):
            raise self._tiktok.says(400, "invalid_param", "video_size, chunk_size and total_chunk_count are required")
        size, chunk, count = source["video_size"], source["chunk_size"], source["total_chunk_count"]
        last = size - chunk * (count - 1)
        whole = chunk == size and size <= LARGEST_CHUNK
        several = SMALLEST_CHUNK <= chunk <= LARGEST_CHUNK and last <= LARGEST_LAST
        if size > LARGEST_VIDEO or count != size // chunk or not (whole if count == 1 else several):
            message = f"{size} bytes cannot be sent as {count} chunks of {chunk}; the total chunk count is invalid"
            raise self._tiktok.says(400, "invalid_param", message)

    # --- getting the bytes ---

    async def upload(self, request: Request) -> Response:
        """One chunk; the last one starts the posting."""
        query = request.query()
        job = self._world.media.get("tiktok", query.get("upload_id", ""))
        if job is None or job.alt != query.get("upload_token"):
            return Response(404)
        if "authorization" in request.headers:
            return Response(400)  # the URL carries its own token
        if job.expired and not job.finalized:
            return Response(403)
        finished = self._facts(job).get("finished_upload", FINISHED[0])
        if job.finalized and finished != FINISHED[0]:
            return Response(finished)
        has = sum(self._world.media.segment_sizes(job).values()) if not job.finalized else job.total_bytes
        found = _RANGE.fullmatch(request.headers.get("content-range", ""))
        if found is None or request.media_type not in VIDEO_TYPES:
            return Response(400)
        first, last, total = (int(number) for number in found.groups())
        if total != job.total_bytes or last - first + 1 != len(request.body) or last >= total:
            return Response(400)
        if first != has:
            told = f"bytes 0-{has - 1}/{total}" if has else f"bytes */{total}"
            return Response(416, headers=(("content-range", told),))
        chunk = json.loads(job.category)["chunk"]
        index = first // chunk
        ends = total if index == total // chunk - 1 else first + chunk
        if last + 1 != ends:
            return Response(400)
        self._world.media.put_segment(job, index, request.body)
        if ends < total:
            return Response(206, headers=(("content-range", f"bytes 0-{last}/{total}"),))
        data = self._world.media.take_segments(job)
        job.finalized = True
        await self._settle(job, request, [data], VIDEO_TYPES)
        return Response(201, headers=(("content-range", f"bytes 0-{last}/{total}"),))

    async def _pull(self, job: Media, request: Request, urls: list[str], types: tuple[str, ...], failure: str) -> None:
        """What a post is made of, fetched; a failure is told by the job's status, as TikTok does."""
        job.finalized = True
        bodies = []
        for url in urls:
            try:
                bodies.append((await asyncio.to_thread(fetch, url)).data)
            except FetchError as error:
                if "loopback" in str(error) or "this machine only" in str(error):
                    # The nearest that a sandbox has to an unverified domain.
                    raise self._tiktok.says(403, "url_ownership_unverified", str(error)) from None
                job.failed = failure
                self._world.media.save(job)
                return
        await self._settle(job, request, bodies, types)

    async def _settle(self, job: Media, request: Request, bodies: list[bytes], types: tuple[str, ...]) -> None:
        """Looks at the media, and makes the post: from here on readers can have seen it."""
        job.ready_at = time.time() + self._world.settings.processing_s
        job.failed = str(self._facts(job).get("fail_reason", ""))
        pictures: list[Picture] = []
        for data in () if job.failed else bodies:
            try:
                sha, facts = await self._world.media.add(data)
            except NotMediaError:
                job.failed = "file_format_check_failed"
                break
            if facts.mime not in types or (not facts.is_video and len(data) > LARGEST_PHOTO):
                job.failed = "file_format_check_failed"
                break
            if not facts.is_video and min(facts.width, facts.height) > 1080:
                job.failed = "picture_size_check_failed"
                break
            if facts.mime in HEADED_TYPES:
                job.failed = self._trouble_of(read_clip(data), job)
                if job.failed:
                    break
            pictures.append(Picture(sha, "", facts.mime, facts.width, facts.height))
        if not job.failed:
            self._accept(job, request, pictures)
        self._world.media.save(job)

    def _facts(self, job: Media) -> dict[str, Any]:
        """Of the account that the job is for."""
        return self._world.accounts.ensure("tiktok", job.account).facts

    def _trouble_of(self, clip: Clip | None, job: Media) -> str:
        """Why a video is not taken, by its header; empty: it is."""
        if clip is None:
            return "file_format_check_failed"
        longest = self._facts(job).get("max_video_post_duration_sec", 600)
        if not SHORTEST_VIDEO_S <= clip.duration_s <= longest:
            return "duration_check_failed"
        sides = (clip.width, clip.height)
        return "" if min(sides) >= SMALLEST_SIDE and max(sides) <= LARGEST_SIDE else "picture_size_check_failed"

    def _accept(self, job: Media, request: Request, pictures: list[Picture]) -> None:
        told = json.loads(job.category)
        words = told["words"]
        shown_at = job.ready_at + float(self._facts(job).get("moderation_s", 0.0))
        post = Post(
            "tiktok",
            job.account,
            self._world.next_id(),
            words["text"],
            pictures,
            time.time(),
            request.began_at,
            words["fields"],
            {"publish_id": job.media_id, "shown_at": shown_at},
        )
        job.category = json.dumps({**told, "post": post.remote_id, "shown_at": shown_at, "done_at": post.accepted_at})
        self._world.ledger.accept(post)

    # --- telling ---

    async def status(self, request: Request) -> Response:
        granted = signed_in(request).scopes
        if granted is not None and not {"video.publish", "video.upload"} & set(granted):
            raise self._tiktok.says(401, "scope_not_authorized", "video.publish or video.upload")
        job = self._job(request)
        told = json.loads(job.category)
        privacy = told["words"]["fields"]["privacy"]
        # A status that lags does not know of the last chunk yet, nor of what was pulled.
        behind = job.finalized and time.time() < told.get("done_at", 0.0) + request.read_lag_s
        has = sum(self._world.media.segment_sizes(job).values()) if not job.finalized else job.total_bytes
        if behind and not told["pulled"]:
            has = told["chunk"] * (job.total_bytes // told["chunk"] - 1)
        counted = {} if told["pulled"] else {"uploaded_bytes": has}
        if job.failed and time.time() >= job.ready_at and not behind:
            return self._tiktok.ok({"status": "FAILED", "fail_reason": job.failed, **counted})
        if not job.finalized or behind or time.time() < job.ready_at:
            status = "PROCESSING_DOWNLOAD" if told["pulled"] else "PROCESSING_UPLOAD"
            return self._tiktok.ok({"status": status, **counted})
        if privacy == "inbox":
            return self._tiktok.ok({"status": "SEND_TO_USER_INBOX", **counted})
        is_shown = privacy == "PUBLIC_TO_EVERYONE" and time.time() >= told["shown_at"]
        shown = {"publicaly_available_post_id": [int(told["post"])]} if is_shown else {}
        return self._tiktok.ok({"status": "PUBLISH_COMPLETE", **shown, **counted})

    async def cancel(self, request: Request) -> Response:
        self._job(request)
        raise self._tiktok.says(400, "publish_not_cancellable", "It is too late for this post.")

    def _job(self, request: Request) -> Media:
        body = self._tiktok.json_body(request)
        wanted = body.get("publish_id") if isinstance(body, dict) else None
        job = self._world.media.get("tiktok", wanted) if isinstance(wanted, str) else None
        if job is None:
            raise self._tiktok.says(400, "invalid_publish_id", "The publish_id is not known.")
        if job.account != signed_in(request).name:
            raise self._tiktok.says(400, "token_not_authorized_for_specified_publish_id")
        return job

    def _public(self, request: Request) -> list[Post]:
        posts = self._world.ledger.newest_first("tiktok", signed_in(request).name, lag_s=request.read_lag_s)
        now = time.time()
        return [
            post for post in posts if post.fields["privacy"] == "PUBLIC_TO_EVERYONE" and post.private["shown_at"] <= now
        ]

    async def list_videos(self, request: Request) -> Response:
        body = self._tiktok.json_body(request) if request.body else {}
        count, cursor = body.get("max_count", 10), body.get("cursor")
        if not isinstance(count, int) or not 1 <= count <= 20:
            raise self._tiktok.says(400, "invalid_param", "max_count is between 1 and 20")
        rows = [post for post in self._public(request) if cursor is None or post.accepted_at * 1000 < cursor]
        page = rows[:count]
        answer = {"videos": [self._shown(request, post) for post in page], "has_more": len(rows) > len(page)}
        answer["cursor"] = int(page[-1].accepted_at * 1000) if page else 0
        return self._tiktok.ok(answer)

    async def query_videos(self, request: Request) -> Response:
        wanted = self._tiktok.json_body(request).get("filters", {}).get("video_ids", [])
        if not isinstance(wanted, list) or not 1 <= len(wanted) <= 20:
            raise self._tiktok.says(400, "invalid_param", "1 to 20 video_ids are needed")
        found = [post for post in self._public(request) if post.remote_id in wanted]
        return self._tiktok.ok({"videos": [self._shown(request, post) for post in found]})

    def _shown(self, request: Request, post: Post) -> dict[str, Any]:
        photos = post.pictures[0].mime.startswith("image/")
        name = signed_in(request).username
        whole = {
            "id": post.remote_id,
            "create_time": int(post.accepted_at),
            "share_url": f"https://www.tiktok.com/@{name}/{'photo' if photos else 'video'}/{post.remote_id}",
            "video_description": post.text[:150],
            "title": post.fields.get("title", ""),
            "duration": 0,
            **dict.fromkeys(("view_count", "like_count", "comment_count", "share_count"), 0),
        }
        wanted = request.query().get("fields", "").split(",")
        if unknown := set(wanted) - set(whole):
            raise self._tiktok.says(400, "invalid_param", f"unknown fields: {', '.join(sorted(unknown))}")
        return {field: whole[field] for field in wanted}
