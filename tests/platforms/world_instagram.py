"""A small stand-in for Instagram: just enough of its answers for the conformance cases."""

from __future__ import annotations

import dataclasses
import io
import itertools
from datetime import timedelta
from typing import Any

from conformance import Refusal, Subject, doubtful_for_a_while, doubtful_server_errors
from fake_http import NOW, Answer, Sent

from platforms.base import (
    AccountRef,
    AuthExpired,
    Draft,
    MediaItem,
    MediaKind,
    NotSent,
    RateLimited,
    Rejected,
    ReplyTo,
    Unknown,
)
from platforms.instagram import PLATFORM as INSTAGRAM

USER = "17841405793187218"


def image(sha: str = "i", *, alt: str = "", url: str | None = "https://media.example/i.jpg") -> MediaItem:
    """A picture that can be fetched."""
    return MediaItem(MediaKind.IMAGE, "image/jpeg", 1000, 1080, 1350, sha256=sha * 64, alt=alt, name="i.jpg", url=url)


def clip(sha: str = "c", *, url: str | None = "https://media.example/c.mp4", size: int = 5000) -> MediaItem:
    """A video."""
    data = bytes(size)
    return MediaItem(
        MediaKind.VIDEO, "video/mp4", size, 1080, 1920, sha256=sha * 64, name="c.mp4", duration_s=9.0, url=url,
        read=lambda: io.BytesIO(data),
    )  # fmt: skip


def no(
    code: int, subcode: int | None = None, *, status: int = 400, transient: bool = False, headers: Any = None
) -> Answer:
    """A refusal."""
    error: dict[str, Any] = {"message": "m", "type": "OAuthException", "code": code, "is_transient": transient}
    if subcode is not None:
        error |= {"error_subcode": subcode, "error_user_msg": f"about {subcode}"}
    return Answer(status, {"error": {**error, "fbtrace_id": "A"}}, headers or {})


class InstagramWorld:
    """Instagram: the account, its limit, containers, media."""

    def __init__(self) -> None:
        self.ids = itertools.count(17_889_455_560_051_444)
        self.containers: dict[str, dict[str, Any]] = {}
        self.media: list[dict[str, Any]] = []
        self.comments: list[dict[str, Any]] = []
        self.used = 2
        self.uploaded: dict[str, bytes] = {}

    def published(self) -> list[str]:
        return [one["id"] for one in (*self.media, *self.comments)]

    def __call__(self, sent: Sent) -> Answer:
        parts = sent.path.strip("/").split("/")
        match sent.method, parts:
            case ("GET", ["refresh_access_token"]):
                return Answer(200, {"access_token": "IGA.new", "token_type": "bearer", "expires_in": 5_183_944})
            case ("GET", [_, "me"]):
                return Answer(200, {"user_id": int(USER), "username": "acme", "name": "Acme", "id": "9"})
            case ("GET", [_, who, "content_publishing_limit"]) if who == USER:
                config = {"quota_total": 50, "quota_duration": 86400}
                return Answer(200, {"data": [{"quota_usage": self.used, "config": config}]})
            case ("POST", [version, who, "media"]) if who == USER:
                made = str(next(self.ids))
                moves = "video_url" in sent.form or "upload_type" in sent.form
                self.containers[made] = {**sent.form, "looks": 0 if moves else 1, "status": None}
                uri = {"uri": f"https://rupload.facebook.com/ig-api-upload/{version}/{made}"}
                return Answer(200, {"id": made} | (uri if "upload_type" in sent.form else {}))
            case ("POST", ["ig-api-upload", _, made]):
                assert sent.headers["Authorization"].startswith("OAuth ")
                self.take(sent, len(sent.content))
                assert sent.headers["file_size"] == str(len(self.uploaded[made]))
                return Answer(200, {"success": True, "message": "Upload successful."})
            case ("POST", [_, who, "media_publish"]) if who == USER:
                return self.publish(sent.form["creation_id"])
            case ("GET", [_, who, "media" | "stories" as edge]) if who == USER:
                story = edge == "stories"
                shown = [one for one in reversed(self.media) if (one["media_product_type"] == "STORY") is story]
                return Answer(200, {"data": shown})
            case (_, [_, "1790", "comments"]):
                return self.comment(sent)
            case ("GET", [_, node]) if node in self.containers:
                return self.status(node, sent.params["fields"])
            case ("GET", [_, node]) if node == USER:
                return Answer(200, {"id": USER, "username": "acme", "name": "Acme"})
            case ("GET", [_, node]):
                return Answer(200, {"id": node, "permalink": f"https://www.instagram.com/p/{node}/"})
        return no(100, 33)

    def take(self, sent: Sent, arrived: int) -> None:
        """So many bytes of an upload, behind those that came before."""
        made = sent.path.rsplit("/", 1)[-1]
        held = self.uploaded.get(made, b"")
        assert sent.headers["offset"] == str(len(held))
        self.uploaded[made] = held + sent.content[:arrived]

    def comment(self, sent: Sent) -> Answer:
        if sent.method == "GET":
            return Answer(200, {"data": self.comments[::-1]})
        said_at = NOW.strftime("%Y-%m-%dT%H:%M:%S+0000")
        made = {"id": str(next(self.ids)), "text": sent.form["message"], "timestamp": said_at, "username": "acme"}
        self.comments.append(made)
        return Answer(200, {"id": made["id"]})

    def status(self, made: str, fields: str) -> Answer:
        if fields == "video_status":
            phase = {"status": "in_progress", "bytes_transferred": len(self.uploaded.get(made, b""))}
            return Answer(200, {"id": made, "video_status": {"uploading_phase": phase}})
        held = self.containers[made]
        held["looks"] += 1
        code = held["status"] or ("FINISHED" if held["looks"] > 1 else "IN_PROGRESS")
        return Answer(200, {"status_code": code, "status": held.get("words", code), "id": made})

    def publish(self, made: str) -> Answer:
        held = self.containers[made]
        if held["status"] == "PUBLISHED":
            return no(24, 2207006)
        held["status"] = "PUBLISHED"
        product = {"REELS": "REELS", "STORIES": "STORY"}.get(held.get("media_type", ""), "FEED")
        media = {
            "id": str(next(self.ids)), "timestamp": NOW.strftime("%Y-%m-%dT%H:%M:%S+0000"),
            "media_product_type": product, "permalink": f"https://www.instagram.com/p/{made}/",
        }  # fmt: skip
        if held.get("caption"):
            media["caption"] = held["caption"]
        self.media.append(media)
        return Answer(200, {"id": media["id"]})


INSTAGRAM_ACCOUNT = AccountRef("instagram", "acme", handle="acme", remote_id=USER, facts={"login": "instagram"})
INSTAGRAM_CREDENTIALS = {
    "access_token": "IGA.old", "login": "instagram", "scope": "instagram_business_basic",
    "issued_at": (NOW - timedelta(days=50)).isoformat(), "expires_at": (NOW + timedelta(days=10)).isoformat(),
}  # fmt: skip
FACEBOOK_ACCOUNT = AccountRef("instagram", "page", handle="acme", remote_id=USER, facts={"login": "facebook"})
FACEBOOK_CREDENTIALS = {"access_token": "EAAG", "login": "facebook", "ig_user_id": USER}

LIMITED = {"X-Business-Use-Case-Usage": '{"1":[{"type":"instagram","estimated_time_to_regain_access":23}]}'}


def permanent(outcome: Any) -> bool:
    return bool(outcome.permanent)


def waits(seconds: float, scope: str = "account") -> Any:
    return lambda outcome: (outcome.until - NOW).total_seconds() == seconds and outcome.scope == scope


def draft_of(text: str, *media: MediaItem, **options: Any) -> Draft:
    """For the account of Instagram Login."""
    return Draft(text, INSTAGRAM_ACCOUNT, media, options)


POSTS = frozenset({"image", "carousel", "reel", "story"})
INSTAGRAM_SUBJECT = Subject(
    platform=INSTAGRAM,
    world=InstagramWorld,
    account=INSTAGRAM_ACCOUNT,
    credentials=INSTAGRAM_CREDENTIALS,
    drafts={
        "image": draft_of(
            "Soup #lunch",
            image(alt="a bowl"),
            location_id="110",
            collaborators=["friend"],
            user_tags=[{"username": "cook", "x": 0.5, "y": 0.2}],
        ),
        "carousel": draft_of(
            "Three", image("a"), clip("b"), image("d"), user_tags=[{"username": "c", "x": 0, "y": 1, "item": 2}]
        ),
        "reel": draft_of(
            "It moves", clip(), share_to_feed=False, thumb_offset_ms=900, audio_name="Mine", trial="MANUAL"
        ),
        "story": draft_of("", image(), placement="story"),
        "video-story": draft_of("", clip(), placement="story"),
        "comment": Draft("#soup", INSTAGRAM_ACCOUNT, part=1, parts=2, reply_to=ReplyTo("1790", "1790")),
    },
    too_long=draft_of("x" * 2201, image()),
    refusals=[
        *doubtful_server_errors(),
        *doubtful_for_a_while(),
        Refusal("no-id", Answer(200, {}), Unknown),
        Refusal("no-json", Answer(200, b"ok"), Unknown),
        Refusal("redirect", Answer(302, b""), Unknown),
        Refusal("unlisted-status", Answer(409, b""), Unknown),
        Refusal("unlisted-code", no(100), Unknown),
        Refusal("object", no(100, 33), Unknown),
        Refusal("transient", no(4, transient=True), Unknown),
        Refusal("unknown-error", no(1), Unknown),
        Refusal("server", no(-1, 2207001), Unknown),
        Refusal("not-ready", no(9007, 2207027), NotSent, lambda o: o.retry_after_s == 30),
        Refusal("not-yet", no(24, 2207008), NotSent, lambda o: o.retry_after_s == 60),
        Refusal("not-found", no(24, 2207006), NotSent),
        Refusal("expired", no(-2, 2207020), NotSent),
        Refusal("daily", no(9, 2207042), RateLimited, waits(3600)),
        Refusal("restricted-action", no(4, 2207051), RateLimited, waits(12 * 3600)),
        Refusal("blocked", no(368), RateLimited, waits(12 * 3600)),
        Refusal("restricted-account", no(25, 2207050), AuthExpired, permanent),
        Refusal("app-limit", no(4, headers=LIMITED), RateLimited, waits(23 * 60, "app")),
        Refusal("user-limit", no(80002, headers=LIMITED), RateLimited, waits(23 * 60)),
        Refusal("limit-silent", no(613), RateLimited, waits(15 * 60)),
        Refusal("token", no(190), AuthExpired, lambda o: not o.permanent),
        Refusal("token-over", no(190, 463), AuthExpired, permanent),
        Refusal("permission", no(10, status=403), AuthExpired, permanent, POSTS),
        # The access is good for posts all the same.
        Refusal("permission-for-comments", no(10, status=403), Rejected, drafts=frozenset({"comment"})),
        Refusal("ratio", no(36003, 2207009), Rejected, lambda o: o.code == "ratio"),
        Refusal("caption", no(36004, 2207010), Rejected),
    ],
    refresh_refused=no(190, 467),
    revoked=no(190, 460),
)


def page_draft(text: str, *media: MediaItem, **options: Any) -> Draft:
    """For the account of Facebook Login."""
    return Draft(text, FACEBOOK_ACCOUNT, media, options)


FACEBOOK_SUBJECT = dataclasses.replace(
    INSTAGRAM_SUBJECT,
    account=FACEBOOK_ACCOUNT,
    credentials=FACEBOOK_CREDENTIALS,
    drafts={
        "page-image": page_draft("Soup", image()),
        "page-upload": page_draft("By bytes", clip(url=None)),
        "page-upload-story": page_draft("", clip(), placement="story", media="bytes"),
    },
    refusals=[Refusal("page-token", no(190), AuthExpired, permanent)],
    refresh_refused=None,
)
