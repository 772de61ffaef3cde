"""A small stand-in for a Mastodon server: just enough of its answers for the conformance cases."""

from __future__ import annotations

import dataclasses
import email
import email.policy
import html
import itertools
from typing import Any

from conformance import Refusal, Subject, doubtful_for_a_while, doubtful_server_errors
from fake_http import NOW, Answer, Sent
from worlds import picture

from platforms.base import AccountRef, AuthExpired, Draft, MediaKind, NotSent, RateLimited, Rejected, ReplyTo, Unknown
from platforms.mastodon import PLATFORM as MASTODON

SERVER = "https://mastodon.example"
CREATED = NOW.strftime("%Y-%m-%dT%H:%M:%S.000Z")
INSTANCE = {
    "domain": "mastodon.example",
    "version": "4.7.0",
    "api_versions": {"mastodon": 9},
    "configuration": {
        "statuses": {"max_characters": 500, "max_media_attachments": 4, "characters_reserved_per_url": 23},
        "media_attachments": {
            "supported_mime_types": ["image/jpeg", "image/png", "image/gif", "video/mp4"],
            "image_size_limit": 16_777_216,
            "description_limit": 1500,
        },
        "polls": {"max_options": 4, "max_characters_per_option": 50, "min_expiration": 300, "max_expiration": 2629746},
    },
}


def form_of(sent: Sent) -> dict[str, Any]:
    """The fields of a streamed form: texts as such, the file as (name, bytes, content type)."""
    head = f"Content-Type: {sent.headers['Content-Type']}\r\n\r\n".encode()
    found: dict[str, Any] = {}
    for part in email.message_from_bytes(head + sent.content, policy=email.policy.HTTP).iter_parts():
        name, data = str(part.get_param("name", header="content-disposition")), part.get_payload(decode=True)
        file_name = part.get_filename()
        found[name] = (file_name, data, part.get_content_type()) if file_name else data.decode()
    return found


class MastodonWorld:
    """One server with one account; keeps the idempotency keys, unless it ``ignores_keys``."""

    ignores_keys = False

    def __init__(self) -> None:
        self.ids = itertools.count(109_000_000_000_000_001)
        self.media: dict[str, dict[str, Any]] = {}
        self.waits: dict[str, int] = {}
        self.statuses: list[dict[str, Any]] = []
        self.keys: dict[str, dict[str, Any]] = {}

    def published(self) -> list[str]:
        return [status["id"] for status in self.statuses]

    def __call__(self, sent: Sent) -> Answer:
        match (sent.method, sent.path.strip("/").split("/")):
            case ("GET", ["api", "v1", "accounts", "verify_credentials"]):
                return Answer(200, {"id": "42", "username": "acme", "acct": "acme", "source": {"privacy": "public"}})
            case ("GET", ["api", "v2", "instance"]):
                return Answer(200, INSTANCE)
            case ("POST", ["api", "v2", "media"]):
                return self.upload(sent)
            case ("GET", ["api", "v1", "media", media_id]):
                self.waits[media_id] -= 1
                return Answer(206 if self.waits[media_id] > 0 else 200, self.media[media_id])
            case ("POST", ["api", "v1", "statuses"]):
                return self.post(sent)
            case ("GET", ["api", "v1", "accounts", "42", "statuses"]):
                before = sent.params.get("max_id")
                rows = [row for row in reversed(self.statuses) if before is None or int(row["id"]) < int(before)]
                return Answer(200, rows[: int(sent.params["limit"])])
        return Answer(404, {"error": "Record not found"})

    def upload(self, sent: Sent) -> Answer:
        name, data, mime = form_of(sent)["file"]
        assert data
        assert "/" not in name
        media_id = str(next(self.ids))
        slow = mime == "video/mp4"
        self.media[media_id] = {"id": media_id, "type": "video" if slow else "image", "url": None}
        self.waits[media_id] = 2 if slow else 0
        return Answer(202 if slow else 200, self.media[media_id])

    def post(self, sent: Sent) -> Answer:
        key = sent.headers["Idempotency-Key"]
        if key in self.keys and not self.ignores_keys:
            return Answer(200, self.keys[key])
        number = str(next(self.ids))
        lines = html.escape(sent.json.get("status", "")).replace("\n", "<br>")
        poll = sent.json.get("poll")
        status = {
            "id": number,
            "created_at": CREATED,
            "url": f"{SERVER}/@acme/{number}",
            "content": f"<p>{lines}</p>" if lines else "",
            "spoiler_text": sent.json.get("spoiler_text", ""),
            "media_attachments": [self.media[media_id] for media_id in sent.json.get("media_ids", [])],
            "poll": {"options": [{"title": title} for title in poll["options"]]} if poll else None,
            "in_reply_to_id": sent.json.get("in_reply_to_id"),
            "reblog": None,
        }
        self.statuses.append(status)
        self.keys[key] = status
        return Answer(200, status)


MASTODON_ACCOUNT = AccountRef("mastodon", "acme", handle="acme@mastodon.example", remote_id="42")
MASTODON_CREDENTIALS = {"server": SERVER, "access_token": "at"}


CLIP = dataclasses.replace(picture(kind=MediaKind.VIDEO, alt="it moves"), mime="video/mp4", name="a.mp4")


def _error(status: int, message: str) -> Answer:
    return Answer(status, {"error": message})


def _permanent(outcome: Any) -> bool:
    return bool(outcome.permanent)


MASTODON_SUBJECT = Subject(
    platform=MASTODON,
    world=MastodonWorld,
    account=MASTODON_ACCOUNT,
    credentials=MASTODON_CREDENTIALS,
    drafts={
        "text": Draft(
            "Tea & <cake>\nat https://example.com/a?b=1 for @bob@other.example",
            MASTODON_ACCOUNT,
            options={"visibility": "unlisted", "language": "en"},
        ),
        "images": Draft("Two", MASTODON_ACCOUNT, (picture(alt="one"), picture(300_000, sha="b"))),
        "gif": Draft("It moves", MASTODON_ACCOUNT, (picture(kind=MediaKind.GIF),)),
        "video": Draft("", MASTODON_ACCOUNT, (CLIP,), {"sensitive": True}),
        "part": Draft("And then?", MASTODON_ACCOUNT, part=2, parts=3, reply_to=ReplyTo("1090", "1089")),
        "warned": Draft("Rosebud", MASTODON_ACCOUNT, options={"spoiler_text": "How it ends"}),
        "poll": Draft(
            "Which?", MASTODON_ACCOUNT, options={"poll": {"options": ["a", "b"], "expires_in": 3600, "multiple": True}}
        ),
    },
    too_long=Draft("x" * 501, MASTODON_ACCOUNT),
    refusals=[
        *doubtful_server_errors(),
        *doubtful_for_a_while(),
        Refusal("no-id", Answer(200, {}), Unknown),
        Refusal("no-json", Answer(200, b"ok"), Unknown),
        Refusal("redirect", Answer(302, b""), Unknown),
        Refusal("timeout", Answer(408, b""), Unknown),
        Refusal("unlisted", Answer(409, {}), Unknown),
        Refusal("invalid", _error(422, "Validation failed: Text can't be blank"), Rejected),
        Refusal(
            "processing",
            _error(422, "Cannot attach files that have not finished processing. Try again in a moment!"),
            NotSent,
            lambda outcome: outcome.retry_after_s > 0,
        ),
        Refusal("unauthorized", _error(401, "The access token is invalid"), AuthExpired, _permanent),
        Refusal("scope", _error(403, "This action is outside the authorized scopes"), AuthExpired, _permanent),
        Refusal("disabled", _error(403, "Your login is currently disabled"), AuthExpired, _permanent),
        Refusal("forbidden", _error(403, "This action is not allowed"), Rejected),
        Refusal("gone", _error(404, "Record not found"), Rejected),
        Refusal("too-large", Answer(413, b"<html>"), Rejected),
        Refusal(
            "limited",
            Answer(
                429,
                {"error": "Too many requests"},
                {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "2026-11-22T10:20:00.000000Z"},
            ),
            RateLimited,
            lambda outcome: (outcome.until - NOW).total_seconds() == 300,
        ),
        Refusal(
            "limited-by-epoch",
            Answer(429, {"error": "Throttled"}, {"x-ratelimit-reset": str(int(NOW.timestamp()) + 60)}),
            RateLimited,
            lambda outcome: (outcome.until - NOW).total_seconds() == 60,
        ),
        Refusal("limited-silently", Answer(429, b""), RateLimited),
    ],
    revoked=_error(401, "The access token was revoked"),
)
