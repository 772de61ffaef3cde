"""Every request that TikTok's and Instagram's modules send, against the machine-readable contracts.

TikTok publishes none for this API: its table was collected from its pages. Meta's come from its SDK's generator. They
are not part of this project: they are looked for in ``$SCHEDULERX_SHARED``, then in ``../shared`` beside the checkout.
"""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conformance import Subject, prepared
from fake_http import NOW, Answer, FakeHttp, Sent
from test_spec_conformance import Deviation, Listening
from world_instagram import FACEBOOK_SUBJECT, INSTAGRAM_SUBJECT, USER
from world_tiktok import PULLS, UPLOADS, told

from platforms.base import AuthExpired, Doubt, Effect, NotPublished, Processing, RateLimited, Rejected
from platforms.instagram import api as instagram
from platforms.sandbox.instagram_containers import FIELDS
from platforms.sandbox.tiktok import LEVELS
from platforms.sandbox.tiktok_jobs import FAIL_REASONS as SANDBOX_REASONS
from platforms.tiktok import api as tiktok

SHARED = Path(os.environ.get("SCHEDULERX_SHARED") or Path(__file__).parents[2].parent / "shared") / "specs"
TIKTOK_FILE = "tiktok-content-posting.json"
META = (
    "IGUser",
    "IGUserForIGOnlyAPI",
    "IGMedia",
    "IGMediaForIGOnlyAPI",
    "ShadowIGMediaBuilder",
    "IGRefreshAccessTokenForIGOnlyAPI",
)

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(
        not (SHARED / TIKTOK_FILE).is_file() or not all((SHARED / "meta" / f"{name}.json").is_file() for name in META),
        reason=f"the platforms' contracts are not in {SHARED} (set SCHEDULERX_SHARED)",
    ),
]

GENERIC = frozenset({"access_token", "fields", "limit"})
"""Parameters that every Graph call takes; Meta's generator leaves them out."""
DEVIATIONS = (
    Deviation("instagram", "/me", "undescribed", "Instagram Platform, Get started: the node of the token itself."),
    Deviation(
        "instagram",
        "media_publish",
        "mediapublish",
        "Meta's generator writes the edge of Instagram Login without the underscore; guides and all clients with it.",
    ),
    Deviation(
        "instagram",
        "/ig-api-upload",
        "undescribed",
        "Content publishing guide, resumable uploads, 2026-03: another host, headers instead of parameters.",
    ),
)


@functools.cache
def spec(name: str) -> Any:
    return json.loads((SHARED / name).read_text())


def requests_of(subject: Subject) -> Iterator[Sent]:
    """All that the module sends in its life: identify, refresh, prepare, publish, poll, reconcile."""
    for draft in subject.drafts.values():
        world = Listening(subject.world())
        http = FakeHttp(world)
        subject.platform.identify(subject.call(http))
        subject.platform.refresh(subject.call(http))
        checkpoint = prepared(subject, draft, world)
        call = subject.call(http, checkpoint)
        outcome: Any = subject.platform.publish(call, draft)
        lost = subject.call(
            http, {name: value for name, value in call.checkpoint.items() if name not in {"job", "media_id"}}
        )
        for known in (call, lost):
            subject.platform.reconcile(known, draft, Doubt(NOW, None, frozenset()))
        while isinstance(outcome, Processing):
            outcome = subject.platform.poll(call, draft)
        yield from world.sent


# --- TikTok -------------------------------------------------------------------------------------------------


@functools.cache
def tiktok_requests() -> tuple[Sent, ...]:
    return tuple(sent for subject in (UPLOADS, PULLS) for sent in requests_of(subject))


def test_each_request_to_tiktok_is_described() -> None:
    endpoints = {
        (one["method"], one["path"]): name for name, one in spec(TIKTOK_FILE)["endpoints"].items() if "path" in one
    }
    seen = set()
    for sent in tiktok_requests():
        if sent.method == "PUT":
            assert sent.url.startswith(f"https://{tiktok.UPLOAD_HOST}/")
            seen.add("upload")
            continue
        assert sent.url.startswith(spec(TIKTOK_FILE)["base"])
        seen.add(endpoints[sent.method, sent.path])
    publishing = {"creator_info", "video_init", "inbox_video_init", "content_init", "status_fetch", "upload"}
    assert seen == publishing | {"token", "user_info", "video_list"}


def test_tiktoks_forms_and_words_are_the_described_ones() -> None:
    described = spec(TIKTOK_FILE)
    named = {word.rstrip("?") for entry in described["endpoints"]["token"]["form"] for word in entry.split("|")}
    for sent in tiktok_requests():
        assert set(sent.form) <= named
        if sent.path.endswith("/init/") and "post_info" in told(sent):
            info = told(sent)["post_info"]
            if told(sent).get("post_mode") != "MEDIA_UPLOAD":
                assert info["privacy_level"] in described["privacy_levels"]
    assert set(LEVELS) == set(described["privacy_levels"])


def test_tiktoks_chunks_keep_the_described_limits() -> None:
    limits = spec(TIKTOK_FILE)["chunks"]
    assert limits["count"] == "floor(video_size/chunk_size)"
    sources = [told(sent)["source_info"] for sent in tiktok_requests() if sent.path.endswith("/init/")]
    cut = [source for source in sources if source["source"] == "FILE_UPLOAD"]
    assert {source["total_chunk_count"] for source in cut} == {1, 4}
    for source in cut:
        size, chunk, count = source["video_size"], source["chunk_size"], source["total_chunk_count"]
        assert count == size // chunk <= limits["max_count"]
        assert chunk == size or limits["min_bytes"] <= chunk <= limits["max_bytes"]
        assert size - chunk * (count - 1) <= limits["last_max_bytes"]


def test_every_code_that_tiktok_lists_is_known_here() -> None:
    listed = {code for status, codes in spec(TIKTOK_FILE)["error_codes"].items() if status != "5xx" for code in codes}
    # Only cancel answers with it, which is not called.
    assert listed - {"publish_not_cancellable"} <= tiktok._WITHOUT_EFFECT
    assert "internal_error" not in tiktok._WITHOUT_EFFECT


FAIL_REASONS = {
    "retry": Processing,
    "permanent_media": Rejected,
    "permanent_policy": Rejected,
    "cancelled": Rejected,
    "quota": RateLimited,
    "auth": AuthExpired,
}
"""What each group of reasons means for the post that failed: begun anew, over, after the cap, after a reconnect."""


def test_every_fail_reason_that_tiktok_lists_has_the_listed_meaning() -> None:
    listed = spec(TIKTOK_FILE)["fail_reasons"]
    assert set(listed) == set(FAIL_REASONS)
    assert {reason for group in listed.values() for reason in group} == set(SANDBOX_REASONS)
    for group, reasons in listed.items():
        for reason in reasons:
            failed = Answer(
                200, {"data": {"status": "FAILED", "fail_reason": reason}, "error": {"code": "ok", "message": ""}}
            )
            for subject, name in ((UPLOADS, "upload"), (PULLS, "photos"), (PULLS, "inbox-photos")):
                checkpoint: dict[str, Any] = {"job": {"publish_id": "p", "size": 1}}
                call = subject.call(FakeHttp(lambda _sent, failed=failed: failed), checkpoint)
                outcome = subject.platform.poll(call, subject.drafts[name])
                # One that waits or needs a person has to leave "processing", though the question was answered.
                assert isinstance(outcome, NotPublished) is (group in {"quota", "auth"}), reason
                why = outcome.why if isinstance(outcome, NotPublished) else outcome
                assert type(why) is FAIL_REASONS[group], (reason, why)
                # What may be tried again begins anew: this publish_id never becomes a post.
                assert (call.checkpoint["job"] == {}) is (type(why) is not Rejected), reason
                if isinstance(why, AuthExpired):
                    assert why.permanent


# --- Instagram ----------------------------------------------------------------------------------------------


@functools.cache
def instagram_requests() -> tuple[Sent, ...]:
    return tuple(sent for subject in (INSTAGRAM_SUBJECT, FACEBOOK_SUBJECT) for sent in requests_of(subject))


def edge(node: str, method: str, name: str) -> frozenset[str] | None:
    """The parameters of an edge; None: there is no such edge."""
    for one in spec(f"meta/{node}.json")["apis"]:
        if one["method"] == method and one.get("endpoint") == name:
            return frozenset(parameter["name"] for parameter in one["params"])
    return None


def fields(node: str) -> frozenset[str]:
    return frozenset(entry["name"] for entry in spec(f"meta/{node}.json")["fields"])


def deviates(path: str, what: str) -> bool:
    return any((one.path, one.what) == (path, what) for one in DEVIATIONS)


def test_each_request_to_instagram_is_described() -> None:
    seen = set()
    for sent in instagram_requests():
        host = sent.url.split("/")[2]
        assert host in {*instagram.HOSTS.values(), instagram.UPLOAD_HOST}
        path = re.sub(r"^/v\d\d\.\d", "", sent.path)
        given = (set(sent.params) | set(sent.form)) - GENERIC
        if path.startswith("/ig-api-upload/"):
            assert deviates("/ig-api-upload", "undescribed")
            assert not given
            seen.add("rupload")
        elif path == "/me":
            assert deviates("/me", "undescribed")
            assert set(sent.params["fields"].split(",")) <= fields("IGUserForIGOnlyAPI")
            seen.add("me")
        elif path == "/refresh_access_token":
            [described] = spec("meta/IGRefreshAccessTokenForIGOnlyAPI.json")["apis"]
            assert set(sent.params) == {parameter["name"] for parameter in described["params"]}
            seen.add("refresh")
        elif path.startswith(f"/{USER}/"):
            name = path.rsplit("/", 1)[-1]
            for node in ("IGUser", "IGUserForIGOnlyAPI"):
                known = edge(node, sent.method, name)
                if known is None:
                    assert deviates(name, "mediapublish")
                    known = edge(node, sent.method, "mediapublish")
                assert known is not None, (node, sent.method, name)
                assert given <= known, (node, name, given - known)
            seen.add(f"{sent.method} {name}")
        elif path.endswith("/comments"):
            for node in ("IGMedia", "IGMediaForIGOnlyAPI"):
                known = edge(node, sent.method, "comments")
                assert known is not None
                assert given <= known
            seen.add(f"{sent.method} comments")
        else:
            # A node by its id: the account, a container, a media.
            assert sent.effect is Effect.READ
            wanted = set(sent.params["fields"].split(","))
            assert any(wanted <= fields(node) for node in ("IGUser", "ShadowIGMediaBuilder", "IGMedia")), wanted
            seen.add("node")
    assert seen == {
        "me", "refresh", "rupload", "node", "GET content_publishing_limit", "POST media", "POST media_publish",
        "GET media", "GET stories", "POST comments", "GET comments",
    }  # fmt: skip


def test_what_is_asked_of_media_are_fields_of_media() -> None:
    for sent in instagram_requests():
        if sent.method == "GET" and sent.path.endswith(("/media", "/stories")):
            assert set(sent.params["fields"].split(",")) <= fields("IGMedia")


def test_each_deviation_has_a_source_and_is_still_one() -> None:
    assert all(one.source for one in DEVIATIONS)
    assert edge("IGUser", "POST", "media_publish") is not None
    assert edge("IGUserForIGOnlyAPI", "POST", "media_publish") is None


def test_the_sandbox_takes_the_parameters_of_the_document_and_no_other() -> None:
    assert edge("IGUser", "POST", "media") == FIELDS
