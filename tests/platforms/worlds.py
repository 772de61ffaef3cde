"""Small stand-ins for X and Pinterest: just enough of their answers for the conformance cases."""

from __future__ import annotations

import dataclasses
import io
import itertools
import re
from collections.abc import Iterator
from typing import Any

from conformance import Case, Refusal, Subject, cases, doubtful_for_a_while, doubtful_server_errors
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
from platforms.pinterest import PLATFORM as PINTEREST
from platforms.x import PLATFORM as X

CREATED = NOW.strftime("%Y-%m-%dT%H:%M:%S")


def picture(
    size: int = 10,
    *,
    kind: MediaKind = MediaKind.IMAGE,
    alt: str = "",
    url: str | None = None,
    sha: str = "a",
) -> MediaItem:
    """An image of ``size`` bytes."""
    mime = "image/gif" if kind is MediaKind.GIF else "image/jpeg"
    data = bytes(index % 251 for index in range(size))
    return MediaItem(
        kind,
        mime,
        size,
        100,
        100,
        sha256=sha * 64,
        alt=alt,
        name=f"{sha}.jpg",
        url=url,
        read=lambda: io.BytesIO(data),
    )


def clip(size: int = 3_000_000, *, alt: str = "", sha: str = "v", duration_s: float = 9.0) -> MediaItem:
    """A video of ``size`` bytes that differ along the file; it can be read from any place."""
    data = (bytes(range(251)) * (size // 251 + 1))[:size]
    return MediaItem(
        MediaKind.VIDEO,
        "video/mp4",
        size,
        720,
        1280,
        sha256=sha * 64,
        alt=alt,
        name=f"{sha}.mp4",
        duration_s=duration_s,
        read=lambda: io.BytesIO(data),
        read_range=lambda offset, length: data[offset : offset + length],
    )


def of_each_kind(subject: Subject) -> Iterator[Case]:
    """The refusals of the publishing call, for each kind of post and not only for the first."""
    for name, draft in subject.drafts.items():
        one = dataclasses.replace(subject, drafts={name: draft})
        for case in cases(one):
            if case.name.startswith(f"{subject.platform.name}-publish-"):
                yield Case(f"{name}-{case.name}", case.run)


class XWorld:
    """X: uploads, posts, the account's posts."""

    def __init__(self) -> None:
        self.ids = itertools.count(1_900_000_000_000_000_001)
        self.uploads: dict[str, bytes] = {}
        self.totals: dict[str, int] = {}
        self.segments: dict[str, int] = {}
        self.kinds: dict[str, str] = {}
        self.looked: set[str] = set()
        self.alts: dict[str, str] = {}
        self.posts: list[dict[str, Any]] = []

    def published(self) -> list[str]:
        return [post["id"] for post in self.posts]

    def __call__(self, sent: Sent) -> Answer:
        match (sent.method, sent.path.strip("/").split("/")):
            case ("POST", ["2", "oauth2", "token"]):
                return Answer(200, {"access_token": "new", "refresh_token": "new-r", "expires_in": 7200})
            case ("GET", ["2", "users", "me"]):
                return Answer(200, {"data": {"id": "42", "name": "Acme", "username": "acme"}})
            case ("POST", ["2", "media", "upload", "initialize"]):
                media_id = str(next(self.ids))
                self.uploads[media_id] = b""
                self.segments[media_id] = 0
                self.totals[media_id] = sent.json["total_bytes"]
                self.kinds[media_id] = sent.json["media_category"]
                return Answer(200, {"data": {"id": media_id, "media_key": self.key(media_id)}})
            case ("POST", ["2", "media", "upload", media_id, "append"]):
                if int(sent.form["segment_index"]) != self.segments[media_id]:
                    return Answer(400, {"detail": "segments are missing"})
                self.segments[media_id] += 1
                self.uploads[media_id] += sent.files["media"][1]
                return Answer(200, {"data": {"expires_at": 1}})
            case ("POST", ["2", "media", "upload", media_id, "finalize"]):
                if len(self.uploads[media_id]) != self.totals[media_id]:
                    return Answer(400, {"detail": "Segments do not add up to total bytes."})
                slow = self.kinds[media_id] in {"tweet_gif", "tweet_video"}
                info = {"processing_info": {"state": "pending", "check_after_secs": 1}} if slow else {}
                answer = {
                    "id": media_id,
                    "media_key": self.key(media_id),
                    "expires_after_secs": 86400,
                    **info,
                }
                return Answer(200, {"data": answer})
            case ("GET", ["2", "media", "upload"]):
                media_id = sent.params["media_id"]
                state = "succeeded" if media_id in self.looked else "in_progress"
                self.looked.add(media_id)
                return Answer(200, {"data": {"id": media_id, "processing_info": {"state": state}}})
            case ("POST", ["2", "media", "metadata"]):
                self.alts[sent.json["id"]] = sent.json["metadata"]["alt_text"]["text"]
                return Answer(200, {"data": {"id": sent.json["id"]}})
            case ("POST", ["2", "tweets"]):
                return self.post(sent.json)
            case ("GET", ["2", "users", "42", "tweets"]):
                posts = list(reversed(self.posts))
                return Answer(200, {"data": posts, "meta": {"result_count": len(posts)}})
        return Answer(404, {"title": "Not Found", "type": "about:blank"})

    def key(self, media_id: str) -> str:
        return f"{ {'tweet_gif': 16, 'tweet_video': 7}.get(self.kinds[media_id], 3) }_{media_id}"

    def post(self, body: dict[str, Any]) -> Answer:
        post: dict[str, Any] = {
            "id": str(next(self.ids)),
            "text": body["text"],
            "created_at": f"{CREATED}.000Z",
        }
        if "media" in body:
            keys = [self.key(media_id) for media_id in body["media"]["media_ids"]]
            link = "https://t.co/media"
            page = f"https://x.com/acme/status/{post['id']}/photo/1"
            post["text"] = f"{body['text']} {link}".strip()
            post["attachments"] = {"media_keys": keys}
            post["entities"] = {"urls": [{"url": link, "expanded_url": page}]}
        if "reply" in body:
            post["referenced_tweets"] = [{"type": "replied_to", "id": body["reply"]["in_reply_to_tweet_id"]}]
        self.posts.append(post)
        return Answer(201, {"data": {"id": post["id"], "text": post["text"]}})


STORE = "https://pinterest-media-upload.s3-accelerate.amazonaws.com/"
SECTIONS = {"1": [{"id": "11", "name": "Salads"}], "2": []}


class PinterestWorld:
    """Pinterest: the account, its boards, video uploads and their store, pins."""

    def __init__(self) -> None:
        self.ids = itertools.count(813_744_226_420_795_884)
        self.pins: list[dict[str, Any]] = []
        self.passes: dict[str, dict[str, str]] = {}
        self.videos: dict[str, bytes] = {}
        self.states: dict[str, Iterator[str]] = {}

    def published(self) -> list[str]:
        return [pin["id"] for pin in self.pins]

    def __call__(self, sent: Sent) -> Answer:
        match (sent.method, sent.path.strip("/").split("/")):
            case ("POST", ["v5", "oauth", "token"]):
                return Answer(200, {"access_token": "new", "expires_in": 2_592_000, "token_type": "bearer"})
            case ("GET", ["v5", "user_account"]):
                return Answer(200, {"id": "77", "username": "acme", "account_type": "BUSINESS"})
            case ("GET", ["v5", "boards"]):
                if "bookmark" not in sent.params:
                    return Answer(200, {"items": [{"id": "1", "name": "Recipes"}], "bookmark": "next"})
                return Answer(200, {"items": [{"id": "2", "name": "Soups"}], "bookmark": None})
            case ("GET", ["v5", "boards", board, "sections"]):
                return Answer(200, {"items": SECTIONS[board], "bookmark": None})
            case ("POST", ["v5", "media"]):
                media_id = str(next(self.ids))
                fields = {"key": f"uploads/3:video:{media_id}", "policy": "p", "x-amz-signature": f"s{media_id}"}
                self.passes[media_id] = fields
                answer = {"media_id": media_id, "media_type": "video", "upload_url": STORE, "upload_parameters": fields}
                return Answer(201, answer)
            case ("POST", [""]) if sent.url == STORE:
                return self.take(sent)
            case ("GET", ["v5", "media", media_id]):
                status = next(self.states[media_id]) if media_id in self.states else "registered"
                return Answer(200, {"media_id": media_id, "media_type": "video", "status": status})
            case ("POST", ["v5", "pins"]):
                return self.pin(sent.json)
            case ("GET", ["v5", "boards", board, "pins"]):
                pins = [pin for pin in reversed(self.pins) if pin["board_id"] == board]
                return Answer(200, {"items": pins, "bookmark": None})
            case ("GET", ["v5", "boards", _, "sections", section, "pins"]):
                pins = [pin for pin in reversed(self.pins) if pin.get("board_section_id") == section]
                return Answer(200, {"items": pins, "bookmark": None})
        return Answer(404, {"code": 40, "message": "Not found."})

    def take(self, sent: Sent) -> Answer:
        """The store's side of an upload: the form is whole, the pass is the one that was given, the file is last."""
        found = re.fullmatch(r"multipart/form-data; boundary=(\w+)", sent.headers["Content-Type"])
        assert found is not None
        assert "Authorization" not in sent.headers
        pieces = sent.content.split(f"--{found[1]}".encode())
        assert (pieces[0], pieces[-1]) == (b"", b"--\r\n")
        parts = [piece.removeprefix(b"\r\n").removesuffix(b"\r\n").split(b"\r\n\r\n", 1) for piece in pieces[1:-1]]
        named = [(re.findall(rb'name="([^"]*)"', head)[0].decode(), data) for head, data in parts]
        given = {name: data.decode() for name, data in named[:-1]}
        media_id = given["key"].rpartition(":")[2]
        if given != self.passes[media_id] or named[-1][0] != "file":
            return Answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        self.videos[media_id] = named[-1][1]
        self.states[media_id] = itertools.chain(["registered", "processing"], itertools.repeat("succeeded"))
        return Answer(204, b"")

    def pin(self, body: dict[str, Any]) -> Answer:
        source = body["media_source"]
        if source["source_type"] == "video_id":
            if source["media_id"] not in self.videos or not any(name.startswith("cover_") for name in source):
                return Answer(400, {"code": 1, "message": "cover_image_url or cover_image_content_type is required"})
            media: dict[str, Any] = {"media_type": "video", "duration": None}
        elif "items" in source:
            names = ("title", "description", "link")
            slides = [{name: item.get(name) for name in names} for item in source["items"]]
            media = {"media_type": "multiple_images", "items": slides}
        else:
            media = {"media_type": "image"}
        pin = {**body, "id": str(next(self.ids)), "created_at": CREATED, "media": media}
        self.pins.append(pin)
        return Answer(201, pin)


def _permanent(outcome: Any) -> bool:
    return bool(outcome.permanent)


def _alert(outcome: Any) -> bool:
    return bool(outcome.operator_alert)


X_ACCOUNT = AccountRef("x", "acme", handle="acme", remote_id="42")
X_CREDENTIALS = {
    "access_token": "at",
    "refresh_token": "rt",
    "client_id": "cid",
    "client_secret": "cs",
    "expires_at": None,
}
X_PROBLEM = "https://api.twitter.com/2/problems/"
X_RESET = str(int(NOW.timestamp()) + 300)

X_SUBJECT = Subject(
    platform=X,
    world=XWorld,
    account=X_ACCOUNT,
    credentials=X_CREDENTIALS,
    drafts={
        "text": Draft("Tea & cake at example.com", X_ACCOUNT, options={"reply_settings": "following"}),
        "images": Draft("Two", X_ACCOUNT, (picture(alt="one"), picture(3_000_000, sha="b"))),
        "gif": Draft("", X_ACCOUNT, (picture(kind=MediaKind.GIF, alt="it moves"),), {"made_with_ai": True}),
        "video": Draft("It plays", X_ACCOUNT, (clip(alt="a boat"),)),
        "part": Draft("And then?", X_ACCOUNT, part=2, parts=3, reply_to=ReplyTo("2070", "2069")),
        "poll": Draft("Which?", X_ACCOUNT, options={"poll": {"options": ["a", "b"], "duration_minutes": 60}}),
    },
    too_long=Draft("日" * 141, X_ACCOUNT),
    refusals=[
        *doubtful_server_errors(),
        *doubtful_for_a_while(),
        Refusal("no-id", Answer(201, {"data": {}}), Unknown),
        Refusal("no-json", Answer(200, b"ok"), Unknown),
        Refusal("redirect", Answer(307, b""), Unknown),
        Refusal("timeout", Answer(408, b""), Unknown),
        Refusal("unlisted", Answer(409, {}), Unknown),
        Refusal(
            "duplicate",
            Answer(403, {"detail": "You are not allowed to create a Tweet with duplicate content."}),
            Unknown,
            lambda outcome: outcome.code == "duplicate",
        ),
        Refusal("invalid", Answer(400, {"type": f"{X_PROBLEM}invalid-request", "detail": "no"}), Rejected),
        Refusal("unauthorized", Answer(401, {"title": "Unauthorized"}), AuthExpired, lambda o: not o.permanent),
        Refusal(
            "credits",
            Answer(402, {"title": "CreditsDepleted"}),
            Rejected,
            lambda outcome: _alert(outcome) and outcome.code == "out_of_credits",
        ),
        Refusal("forbidden", Answer(403, {"detail": "You are not permitted to perform this action"}), Rejected),
        Refusal("suspended", Answer(403, {"type": f"{X_PROBLEM}user-suspended"}), AuthExpired, _permanent),
        Refusal("client", Answer(403, {"type": f"{X_PROBLEM}client-forbidden"}), Rejected, _alert),
        Refusal(
            "capped",
            Answer(403, {"type": f"{X_PROBLEM}usage-capped"}),
            RateLimited,
            lambda outcome: outcome.scope == "app",
        ),
        Refusal("gone", Answer(404, {"type": f"{X_PROBLEM}resource-not-found"}), Rejected),
        Refusal(
            "limited",
            Answer(
                429,
                {"errors": [{"code": 88}]},
                {"x-rate-limit-remaining": "0", "x-rate-limit-reset": X_RESET},
            ),
            RateLimited,
            lambda outcome: (outcome.until - NOW).total_seconds() == 300,
        ),
        Refusal("limited-silently", Answer(429, b""), RateLimited),
    ],
    refresh_refused=Answer(400, {"error": "invalid_request", "error_description": "Value passed was invalid."}),
    revoked=Answer(401, {"title": "Unauthorized", "type": "about:blank", "status": 401, "detail": "Unauthorized"}),
)

X_BY_SIGNATURE = dataclasses.replace(
    X_SUBJECT,
    credentials={"consumer_key": "ck", "consumer_secret": "cs", "token": "t", "token_secret": "ts"},
    drafts={"signed": Draft("Tea", X_ACCOUNT), "signed-images": Draft("Two", X_ACCOUNT, (picture(alt="one"),))},
    refusals=[
        Refusal("unrenewable", Answer(401, {"title": "Unauthorized"}), AuthExpired, _permanent),
        # This machine's clock is wrong, and the account is not.
        Refusal("signed-too-early", Answer(401, {"errors": [{"code": 135}]}), NotSent, lambda o: o.retry_after_s > 0),
    ],
    refresh_refused=None,
)
"""The same by OAuth 1.0a."""

BOARDS = [
    {"id": "1", "name": "Recipes", "privacy": "PUBLIC", "sections": [{"id": "11", "name": "Salads"}]},
    {"id": "2", "name": "Soups", "privacy": "SECRET"},
]
PINTEREST_ACCOUNT = AccountRef("pinterest", "acme", handle="acme", remote_id="77", facts={"boards": BOARDS})
PINTEREST_CREDENTIALS = {**X_CREDENTIALS, "scope": "boards:read,pins:write"}
PIN_OPTIONS = {
    "board": "Recipes",
    "title": "Soup",
    "link": "https://example.com/r/",
    "dominant_color": "#AABBCC",
}

PINTEREST_SUBJECT = Subject(
    platform=PINTEREST,
    world=PinterestWorld,
    account=PINTEREST_ACCOUNT,
    credentials=PINTEREST_CREDENTIALS,
    drafts={
        "url": Draft(
            "Hot & good",
            PINTEREST_ACCOUNT,
            (picture(alt="a bowl", url="https://cdn.example/a.jpg"),),
            PIN_OPTIONS,
        ),
        "bytes": Draft("Hot", PINTEREST_ACCOUNT, (picture(),), {"board": "2", "media": "bytes"}),
        "section": Draft("Green", PINTEREST_ACCOUNT, (picture(),), {"board": "recipes", "board_section": "Salads"}),
        "carousel": Draft(
            "Three",
            PINTEREST_ACCOUNT,
            (picture(alt="one"), picture(sha="b"), picture(sha="c", alt="three")),
            {
                "board": "1",
                "slides": [{"title": "First", "link": "https://example.com/1"}],
                "first_slide": 1,
                "ai_modified": True,
            },
        ),
        "carousel-url": Draft(
            "",
            PINTEREST_ACCOUNT,
            (picture(url="https://cdn.example/a.jpg"), picture(url="https://cdn.example/b.jpg")),
            {"board": "2", "title": "Two", "media": "url"},
        ),
        "video": Draft("It plays", PINTEREST_ACCOUNT, (clip(alt="a boat"),), {"board": "1", "cover_time_s": 3}),
        "video-cover": Draft(
            "With a cover", PINTEREST_ACCOUNT, (clip(sha="w"), picture(sha="k")), {"board": "1", "board_section": "11"}
        ),
        "video-cover-url": Draft(
            "Far cover", PINTEREST_ACCOUNT, (clip(sha="u"), picture(url="https://cdn.example/k.jpg")), {"board": "1"}
        ),
    },
    too_long=Draft("x" * 801, PINTEREST_ACCOUNT, (picture(),), PIN_OPTIONS),
    refusals=[
        *doubtful_server_errors(),
        *doubtful_for_a_while(),
        Refusal("no-id", Answer(200, {}), Unknown),
        Refusal("no-json", Answer(201, b"ok"), Unknown),
        Refusal("redirect", Answer(302, b""), Unknown),
        Refusal("unlisted", Answer(409, {"code": 1, "message": "?"}), Unknown),
        Refusal("invalid", Answer(400, {"code": 1, "message": "board_id is wrong"}), Rejected),
        Refusal(
            "unreachable",
            Answer(400, {"code": 235, "message": "Unable to reach the URL. Please check the URL is correct."}),
            NotSent,
            lambda outcome: outcome.retry_after_s > 0,
        ),
        Refusal("unauthorized", Answer(401, {"code": 2, "message": "Authentication failed."}), AuthExpired),
        Refusal("forbidden", Answer(403, {"code": 29, "message": "You are not permitted"}), Rejected),
        Refusal("trial", Answer(403, {"code": 3, "message": "Consumer type is not supported"}), Rejected, _alert),
        Refusal("trial-401", Answer(401, {"code": 3, "message": "Authentication failed."}), Rejected, _alert),
        Refusal("gone", Answer(404, {"code": 40, "message": "Board not found."}), Rejected),
        Refusal(
            "limited",
            Answer(429, {"code": 8, "message": "Slow down"}, {"x-ratelimit-reset": "42"}),
            RateLimited,
            lambda outcome: (outcome.until - NOW).total_seconds() == 42,
        ),
        Refusal(
            "spam",
            Answer(429, {"code": 9, "message": "Our spam filter stopped this"}, {"x-ratelimit-reset": "1"}),
            RateLimited,
            lambda outcome: (outcome.until - NOW).total_seconds() > 3600,
        ),
    ],
    refresh_refused=Answer(401, {"code": 2, "message": "Authentication failed."}),
    revoked=Answer(401, {"code": 2, "message": "Authentication failed."}),
)
