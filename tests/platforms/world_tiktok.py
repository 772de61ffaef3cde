"""A small stand-in for TikTok: just enough of its answers for the conformance cases."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from conformance import Refusal, Subject, doubtful_for_a_while, doubtful_server_errors
from fake_http import NOW, Answer, FakeHttp, Sent

from platforms.base import (
    AccountRef,
    AuthExpired,
    Call,
    Draft,
    MediaItem,
    MediaKind,
    NotSent,
    Processing,
    RateLimited,
    Rejected,
    Unknown,
)
from platforms.tiktok import PLATFORM as TIKTOK
from platforms.tiktok.doubt import STATUS_LAG

MB = 1_000_000
PUBLIC = "PUBLIC_TO_EVERYONE"
UPLOAD_URL = "https://open-upload.tiktokapis.com/video/?upload_id={}&upload_token=secret"


def data_of(size: int) -> bytes:
    """Bytes that differ along the file."""
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def video(size: int = 3 * MB, *, url: str | None = None, sha: str = "v", duration_s: float = 12.0) -> MediaItem:
    """A video of ``size`` bytes."""
    data = data_of(size)
    return MediaItem(
        MediaKind.VIDEO, "video/mp4", size, 1080, 1920, sha256=sha * 64, name="clip.mp4", duration_s=duration_s,
        url=url, read=lambda: io.BytesIO(data),
    )  # fmt: skip


def photo(sha: str = "p", url: str | None = "https://media.example/p.jpg") -> MediaItem:
    """A photo that can be fetched."""
    return MediaItem(MediaKind.IMAGE, "image/jpeg", 1000, 1080, 1350, sha256=sha * 64, name="p.jpg", url=url)


def told(sent: Sent) -> Any:
    """The JSON of a request."""
    return json.loads(sent.content) if sent.content else {}


def ok(data: Mapping[str, Any]) -> Answer:
    """A good answer."""
    return Answer(200, {"data": data, "error": {"code": "ok", "message": "", "log_id": "1"}})


def no(status: int, code: str) -> Answer:
    """A refusal."""
    return Answer(status, {"data": {}, "error": {"code": code, "message": f"about {code}", "log_id": "1"}})


class TikTokWorld:
    """TikTok: the creator, uploads, jobs, the list of public posts."""

    def __init__(self) -> None:
        self.ids = itertools.count(7_566_123_456_789_012_345)
        self.jobs: dict[str, dict[str, Any]] = {}
        self.chunks: list[str] = []
        self.offered = [PUBLIC, "MUTUAL_FOLLOW_FRIENDS", "SELF_ONLY"]
        self.posts: list[dict[str, Any]] = []

    def published(self) -> list[Any]:
        """A post that is not public has no id."""
        return [post["id"] if post["privacy"] == PUBLIC else None for post in self.posts]

    def __call__(self, sent: Sent) -> Answer:
        path = sent.path.removeprefix("/v2").rstrip("/")
        match sent.method, path.removeprefix("/post/publish"):
            case ("POST", "/oauth/token"):
                return Answer(
                    200,
                    {
                        "access_token": "act.new", "refresh_token": "rft.new", "expires_in": 7200,
                        "refresh_expires_in": 15_552_000, "open_id": "o", "scope": "video.publish",
                        "token_type": "Bearer",
                    },
                )  # fmt: skip
            case ("GET", "/user/info"):
                return ok({"user": {"open_id": "open-1", "display_name": "Acme", "username": "acme"}})
            case ("POST", "/creator_info/query"):
                return ok(
                    {
                        "creator_username": "acme", "creator_nickname": "Acme", "privacy_level_options": self.offered,
                        "comment_disabled": False, "duet_disabled": False, "stitch_disabled": True,
                        "max_video_post_duration_sec": 600,
                    }
                )  # fmt: skip
            case ("POST", "/video/init" | "/inbox/video/init" | "/content/init"):
                return self.begin(told(sent), inbox="inbox" in path)
            case ("PUT", "/video"):
                return self.chunk(sent)
            case ("POST", "/status/fetch"):
                return self.status(told(sent)["publish_id"])
            case ("POST", "/video/list"):
                shown = [
                    {"id": post["id"], "create_time": int(NOW.timestamp()), "video_description": post["text"][:150],
                     "share_url": f"https://www.tiktok.com/@acme/photo/{post['id']}"}
                    for post in reversed(self.posts) if post["privacy"] == PUBLIC
                ]  # fmt: skip
                return ok({"videos": shown, "has_more": False, "cursor": 0})
        return no(404, "invalid_params")

    def begin(self, body: dict[str, Any], *, inbox: bool) -> Answer:
        info, source = body.get("post_info", {}), body["source_info"]
        pulled = source["source"] == "PULL_FROM_URL"
        publish_id = f"{'p_pub_url' if pulled else 'v_pub_file'}~v2.{len(self.jobs) + 1}"
        privacy = "inbox" if inbox or body.get("post_mode") == "MEDIA_UPLOAD" else info["privacy_level"]
        job = {"text": info.get("description") or info.get("title", ""), "privacy": privacy, "held": 0, "looks": 0}
        self.jobs[publish_id] = {**job, **source, "pulled": pulled, "bytes": b""}
        if pulled:
            self.post(publish_id)
            return ok({"publish_id": publish_id})
        return ok({"publish_id": publish_id, "upload_url": UPLOAD_URL.format(publish_id)})

    def chunk(self, sent: Sent) -> Answer:
        found = re.search(r"upload_id=([^&]+)", sent.url)
        assert found is not None
        job = self.jobs[found[1]]
        first, last, total = (int(part) for part in re.findall(r"\d+", sent.headers["Content-Range"]))
        assert total == job["video_size"]
        assert last - first + 1 == len(sent.content)
        if first != job["held"]:
            return Answer(416, b"", {"Content-Range": f"bytes 0-{job['held'] - 1}/{total}" if job["held"] else ""})
        self.chunks.append(sent.headers["Content-Range"])
        job["bytes"] += sent.content
        job["held"] = last + 1
        if job["held"] < total:
            return Answer(206, b"")
        self.post(found[1])
        return Answer(201, b"")

    def post(self, publish_id: str) -> None:
        job = self.jobs[publish_id]
        job["post"] = str(next(self.ids))
        self.posts.append({"id": job["post"], "text": job["text"], "privacy": job["privacy"]})

    def status(self, publish_id: str) -> Answer:
        job = self.jobs[publish_id]
        job["looks"] += 1
        if "post" not in job:
            return ok({"status": "PROCESSING_UPLOAD", "uploaded_bytes": job["held"]})
        if job["pulled"] and job["looks"] == 1:
            return ok({"status": "PROCESSING_DOWNLOAD"})
        if job["privacy"] == "inbox":
            return ok({"status": "SEND_TO_USER_INBOX"})
        shown = {"publicaly_available_post_id": [int(job["post"])]} if job["privacy"] == PUBLIC else {}
        return ok({"status": "PUBLISH_COMPLETE", **shown})


TIKTOK_ACCOUNT = AccountRef(
    "tiktok", "acme", handle="acme", remote_id="open-1",
    facts={"scopes": ["user.info.basic", "video.publish", "video.upload", "video.list"]},
)  # fmt: skip
TIKTOK_CREDENTIALS = {
    "access_token": "act.1", "refresh_token": "rft.1", "client_key": "key", "client_secret": "secret",
    "expires_at": None,
    "scope": "user.info.basic,user.info.profile,video.publish,video.upload,video.list",
}  # fmt: skip
PRIVATE = {"privacy": "SELF_ONLY"}


def draft_of(text: str, *media: MediaItem, **options: Any) -> Draft:
    """A public draft unless ``options`` say otherwise."""
    return Draft(text, TIKTOK_ACCOUNT, media, {"privacy": PUBLIC, **options})


def permanent(outcome: Any) -> bool:
    return bool(outcome.permanent)


def alert(outcome: Any) -> bool:
    return bool(outcome.operator_alert)


def waits(seconds: float) -> Any:
    return lambda outcome: (outcome.until - NOW).total_seconds() >= seconds


class LooksLater(Subject):
    """Visits to an upload whose last chunk may have arrived come when its status may be believed."""

    def call(
        self, http: FakeHttp, checkpoint: dict[str, Any] | None = None, store: Callable[..., None] | None = None
    ) -> Call:
        call = super().call(http, checkpoint, store)
        if (checkpoint or {}).get("job", {}).get("tries"):
            call.now = lambda: NOW + STATUS_LAG
        return call


UPLOADS = LooksLater(
    platform=TIKTOK,
    world=TikTokWorld,
    account=TIKTOK_ACCOUNT,
    credentials=TIKTOK_CREDENTIALS,
    drafts={
        "upload": draft_of("One #chunk", video()),
        "chunks": draft_of("Several", video(21 * MB + 123, sha="w"), brand_organic=True, cover_timestamp_ms=1000),
        "private-upload": draft_of("Mine", video(), **PRIVATE),
        "inbox-upload": Draft("", TIKTOK_ACCOUNT, (video(),), {"mode": "inbox"}),
    },
    too_long=draft_of("\U0001f44b" * 1101, video()),
    refusals=[
        *doubtful_server_errors(),
        *doubtful_for_a_while(),
        Refusal("busy", Answer(429, b"", {"Retry-After": "90"}), Unknown, lambda outcome: outcome.retry_after_s == 90),
        Refusal("taken", Answer(201, b""), Processing),
        Refusal("wants-more", Answer(206, b""), Unknown),
        Refusal("redirect", Answer(307, b""), Unknown),
        Refusal("unlisted", Answer(409, b""), Unknown),
        Refusal("bad-header", Answer(400, b""), Rejected),
        # Nothing had been sent before: a first sending that is refused so was not taken.
        Refusal("url-over", Answer(403, b""), NotSent),
        Refusal("no-task", Answer(404, b""), NotSent),
        Refusal("held-already", Answer(416, b"", {"Content-Range": "bytes 0-2999999/3000000"}), Processing),
        Refusal("range-unclear", Answer(416, b""), Unknown),
    ],
    refresh_refused=Answer(200, {"error": "invalid_grant", "error_description": "dead", "log_id": "1"}),
    revoked=no(401, "access_token_invalid"),
    needs_no_access=lambda sent: sent.method == "PUT",
)

PULLS = dataclasses.replace(
    UPLOADS,
    drafts={
        "photos": draft_of("Two <3", photo(), photo("q"), title="Soup", cover_index=1),
        "pull": draft_of("By URL", video(url="https://media.example/v.mp4"), media="url"),
        "private-pull": draft_of("By URL", video(url="https://media.example/v.mp4"), media="url", **PRIVATE),
        "private-photos": draft_of("Mine", photo(), **PRIVATE),
        "inbox-photos": Draft("Draft", TIKTOK_ACCOUNT, (photo(),), {"mode": "inbox", "title": "t"}),
        "inbox-pull": Draft(
            "", TIKTOK_ACCOUNT, (video(url="https://media.example/v.mp4"),), {"mode": "inbox", "media": "url"}
        ),
    },
    too_long=draft_of("x" * 4001, photo()),
    refusals=[
        *doubtful_server_errors(),
        *doubtful_for_a_while(),
        Refusal("internal", no(500, "internal_error"), Unknown),
        Refusal("internal-200", no(200, "internal_error"), Unknown),
        Refusal("no-id", ok({}), Unknown),
        Refusal("no-json", Answer(200, b"ok"), Unknown),
        Refusal("redirect", Answer(302, b""), Unknown),
        Refusal("unlisted-status", Answer(409, b""), Unknown),
        Refusal("unlisted-code", no(403, "something_new"), Unknown),
        Refusal("invalid", no(400, "invalid_param"), Rejected),
        Refusal("invalid-too", no(400, "invalid_params"), Rejected),
        Refusal("mismatch", no(403, "privacy_level_option_mismatch"), NotSent),
        Refusal("spam", no(403, "spam_risk_text"), Rejected),
        Refusal("banned", no(403, "spam_risk_user_banned_from_posting"), Rejected),
        Refusal("too-many", no(403, "spam_risk_too_many_posts"), RateLimited, waits(3600)),
        Refusal("too-many-200", no(200, "spam_risk_too_many_posts"), RateLimited, waits(3600)),
        # No limit of the account's: that would hold back its direct posts.
        Refusal("pending", no(403, "spam_risk_too_many_pending_share"), RateLimited, lambda o: o.scope == "post"),
        Refusal("user-cap", no(403, "reached_active_user_cap"), RateLimited, lambda o: o.scope == "account"),
        Refusal("limited", no(429, "rate_limit_exceeded"), RateLimited, waits(60)),
        # No document says that it comes; an edge may send it.
        Refusal(
            "limited-until",
            dataclasses.replace(no(429, "rate_limit_exceeded"), headers={"Retry-After": "90"}),
            RateLimited,
            waits(90),
        ),
        Refusal("unverified", no(403, "url_ownership_unverified"), Rejected, alert),
        Refusal("unaudited", no(403, "unaudited_client_can_only_post_to_private_accounts"), Rejected, alert),
        Refusal("token", no(401, "access_token_invalid"), AuthExpired, lambda o: not o.permanent),
        Refusal("scope", no(401, "scope_not_authorized"), AuthExpired, permanent),
    ],
)
