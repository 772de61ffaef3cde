"""A small stand-in for Bluesky: just enough of its answers for the conformance cases."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from typing import Any

from conformance import Refusal, Subject, doubtful_for_a_while, doubtful_server_errors
from fake_http import NOW, Answer, Sent
from worlds import picture

from platforms.base import AccountRef, AuthExpired, Draft, MediaKind, NotSent, RateLimited, Rejected, ReplyTo, Unknown
from platforms.bluesky import PLATFORM as BLUESKY

DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
BOB = "did:plc:z72i7hdynmk6r22z27h6tvur"
PDS = "https://morel.us-east.host.bsky.network"
POST = "app.bsky.feed.post"
EARLIER = {rkey: {"$type": POST, "text": rkey, "createdAt": "2026-01-01T00:00:00Z"} for rkey in ("3root", "3parent")}
"""The parts of a thread that are there."""


def cid(value: Any, codec: int = 0x71) -> str:
    """An address by content: the same for the same value."""
    data = value if isinstance(value, bytes) else json.dumps(value, sort_keys=True).encode()
    raw = bytes((1, codec, 0x12, 32)) + hashlib.sha256(data).digest()
    return "b" + base64.b32encode(raw).decode().lower().rstrip("=")


class BlueskyWorld:
    """One account's server with its records, and the service that encodes videos."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], dict[str, Any]] = {}
        self.jobs: dict[str, int] = {}
        self.sessions = 0

    def published(self) -> list[str]:
        return [f"at://{DID}/{kind}/{rkey}" for kind, rkey in self.records if kind == POST]

    def __call__(self, sent: Sent) -> Answer:
        match (sent.method, sent.path.removeprefix("/xrpc/")):
            case ("POST", "com.atproto.server.createSession" | "com.atproto.server.refreshSession"):
                self.sessions += 1
                return Answer(200, self.session(self.sessions))
            case ("GET", "com.atproto.server.getSession"):
                known = self.session(0)
                return Answer(200, {name: known[name] for name in known if not name.endswith("Jwt")})
            case ("GET", "com.atproto.server.getServiceAuth"):
                return Answer(200, {"token": "pass"})
            case ("GET", "com.atproto.identity.resolveHandle"):
                if sent.params["handle"] == "bob.test":
                    return Answer(200, {"did": BOB})
                return Answer(400, {"error": "InvalidRequest", "message": "Unable to resolve handle"})
            case ("POST", "com.atproto.repo.uploadBlob"):
                return Answer(200, {"blob": self.blob(sent.content, sent.headers["Content-Type"])})
            case ("POST", "com.atproto.repo.putRecord"):
                return self.put(sent.json)
            case ("GET", "com.atproto.repo.getRecord"):
                found = EARLIER.get(sent.params["rkey"])
                found = found or self.records.get((sent.params["collection"], sent.params["rkey"]))
                if found is None:
                    return Answer(400, {"error": "RecordNotFound", "message": "Could not locate record"})
                uri = f"at://{DID}/{sent.params['collection']}/{sent.params['rkey']}"
                return Answer(200, {"uri": uri, "cid": cid(found), "value": found})
        return self.video(sent)

    def video(self, sent: Sent) -> Answer:
        """The service that encodes videos."""
        match sent.path.removeprefix("/xrpc/app.bsky.video."):
            case "uploadVideo":
                self.jobs["j1"] = 0
                return Answer(200, {"jobId": "j1", "did": DID, "state": "JOB_STATE_CREATED"})
            case "getUploadLimits":
                return Answer(200, {"canUpload": True, "remainingDailyVideos": 25, "remainingDailyBytes": 10**10})
            case "getJobStatus":
                return Answer(200, {"jobStatus": self.job(sent.params["jobId"])})
        return Answer(501, {"error": "MethodNotImplemented", "message": "Method Not Implemented"})

    def session(self, number: int) -> dict[str, Any]:
        end = base64.urlsafe_b64encode(json.dumps({"exp": int(NOW.timestamp()) + 7200}).encode()).decode()
        service = {"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": PDS}
        return {
            "accessJwt": f"head.{end.rstrip('=')}.{number}",
            "refreshJwt": f"refresh-{number}",
            "did": DID,
            "handle": "acme.bsky.social",
            "emailConfirmed": True,
            "active": True,
            "didDoc": {"id": DID, "service": [service]},
        }

    def blob(self, data: bytes, mime: str) -> dict[str, Any]:
        return {"$type": "blob", "ref": {"$link": cid(data, 0x55)}, "mimeType": mime, "size": len(data)}

    def job(self, number: str) -> dict[str, Any]:
        self.jobs[number] += 1
        if self.jobs[number] < 2:
            return {"jobId": number, "did": DID, "state": "JOB_STATE_ENCODING", "progress": 40}
        return {"jobId": number, "did": DID, "state": "JOB_STATE_COMPLETED", "blob": self.blob(b"v", "video/mp4")}

    def put(self, body: dict[str, Any]) -> Answer:
        key = (body["collection"], body["rkey"])
        known = self.records.get(key)
        if known is not None and "swapRecord" in body and known != body["record"]:
            return Answer(400, {"error": "InvalidSwap", "message": f"Record was at {cid(known)}"})
        self.records[key] = body["record"]
        answer = {"uri": f"at://{DID}/{key[0]}/{key[1]}", "cid": cid(body["record"]), "validationStatus": "valid"}
        if known is None:
            answer["commit"] = {"cid": cid(key), "rev": body["rkey"]}
        return Answer(200, answer)


BLUESKY_ACCOUNT = AccountRef("bluesky", "acme", handle="acme.bsky.social", remote_id=DID)
BLUESKY_CREDENTIALS = {
    "identifier": "acme.bsky.social",
    "password": "abcd-efgh-ijkl-mnop",
    "access_token": "at",
    "refresh_token": "rt",
    "expires_at": None,
    "did": DID,
    "handle": "acme.bsky.social",
    "pds": PDS,
}


CLIP = dataclasses.replace(picture(kind=MediaKind.VIDEO, alt="it moves"), mime="video/mp4", name="a.mp4")


def _error(status: int, name: str, message: str = "no") -> Answer:
    return Answer(status, {"error": name, "message": message})


BLUESKY_SUBJECT = Subject(
    platform=BLUESKY,
    world=BlueskyWorld,
    account=BLUESKY_ACCOUNT,
    credentials=BLUESKY_CREDENTIALS,
    drafts={
        "text": Draft("Tea & cake 👩‍🍳 at https://example.com, #tea", BLUESKY_ACCOUNT, options={"langs": ["en"]}),
        "mentions": Draft("Hi @bob.test and @nobody.test", BLUESKY_ACCOUNT),
        "images": Draft("Two", BLUESKY_ACCOUNT, (picture(alt="one"), picture(300_000, sha="b"))),
        "video": Draft("", BLUESKY_ACCOUNT, (CLIP,)),
        "card": Draft("See example.com/tea", BLUESKY_ACCOUNT, options={"card_title": "Tea"}),
        "part": Draft(
            "And then?",
            BLUESKY_ACCOUNT,
            part=2,
            parts=3,
            reply_to=ReplyTo(f"at://{DID}/{POST}/3parent", f"at://{DID}/{POST}/3root"),
        ),
        "gated": Draft(
            "Quiet",
            BLUESKY_ACCOUNT,
            options={"replies": ["mentioned", "following"], "quotes": False, "labels": ["nudity"], "tags": ["tea"]},
        ),
    },
    too_long=Draft("日" * 301, BLUESKY_ACCOUNT),
    refusals=[
        *doubtful_server_errors(),
        *doubtful_for_a_while(),
        # On every answer: when the present span ends, not when to come back.
        Refusal(
            "limits-told",
            Answer(503, b"", {"RateLimit-Remaining": "4990", "RateLimit-Reset": "3000"}),
            Unknown,
            lambda outcome: outcome.retry_after_s is None,
        ),
        Refusal("not-implemented", _error(501, "MethodNotImplemented"), Unknown),
        Refusal("no-address", Answer(200, {"cid": "b"}), Unknown),
        Refusal("no-json", Answer(200, b"ok"), Unknown),
        Refusal("redirect", Answer(307, b""), Unknown),
        Refusal("timeout", Answer(408, b""), Unknown),
        Refusal("unlisted", Answer(409, {}), Unknown),
        Refusal("exists", _error(400, "InvalidSwap"), Unknown, lambda outcome: outcome.code == "record_exists"),
        Refusal("invalid", _error(400, "InvalidRequest"), Rejected),
        Refusal("no-json-400", Answer(400, b"?"), Rejected),
        Refusal("blob-lost", _error(400, "BlobNotFound"), NotSent, lambda outcome: outcome.code == "blob_lost"),
        Refusal(
            "blob-lost-in-words",
            _error(400, "InvalidRequest", "Could not find blob: bafk"),
            NotSent,
            lambda outcome: outcome.code == "blob_lost",
        ),
        Refusal("expired", _error(400, "ExpiredToken"), AuthExpired, lambda outcome: not outcome.permanent),
        Refusal("bad-token", _error(400, "InvalidToken"), AuthExpired, lambda outcome: not outcome.permanent),
        Refusal("unauthorized", _error(401, "AuthMissing"), AuthExpired, lambda outcome: not outcome.permanent),
        Refusal("taken-down", _error(400, "AccountTakedown"), AuthExpired, lambda outcome: outcome.permanent),
        Refusal("deactivated", _error(401, "AccountDeactivated"), AuthExpired, lambda outcome: outcome.permanent),
        Refusal("closed-repo", _error(400, "RepoDeactivated"), AuthExpired, lambda outcome: outcome.permanent),
        Refusal(
            "scope",
            _error(403, "ScopeMissingError", 'Missing required scope "repo:app.bsky.feed.post?action=create"'),
            AuthExpired,
            lambda outcome: (outcome.code, outcome.permanent) == ("missing_scope", True),
        ),
        Refusal("old-scope", _error(403, "InsufficientScope"), AuthExpired, lambda outcome: outcome.permanent),
        Refusal("forbidden", _error(403, "Forbidden"), Rejected),
        Refusal("before-the-server", Answer(403, b"<html>"), NotSent, lambda outcome: outcome.code == "blocked"),
        Refusal("too-large", _error(413, "PayloadTooLarge"), Rejected),
        Refusal(
            "limited",
            Answer(
                429,
                {"error": "RateLimitExceeded", "message": "Rate Limit Exceeded"},
                {"ratelimit-remaining": "0", "ratelimit-reset": str(int(NOW.timestamp()) + 300)},
            ),
            RateLimited,
            lambda outcome: (outcome.until - NOW).total_seconds() == 300,
        ),
        Refusal("limited-silently", Answer(429, b""), RateLimited),
    ],
    refresh_refused=Answer(401, {"error": "AuthenticationRequired", "message": "Invalid identifier or password"}),
    revoked=_error(400, "InvalidToken", "Token has been revoked"),
    needs_no_access=lambda sent: sent.path.endswith("resolveHandle"),
)
