"""Files on their way to Bluesky: how they are read, what the video service's answers mean, what a job comes to."""

from __future__ import annotations

import dataclasses
import io
from datetime import datetime, timedelta
from typing import Any

import pytest
from fake_http import NOW, Answer, FakeHttp, Sent
from world_bluesky import BLUESKY_ACCOUNT, BLUESKY_SUBJECT, CLIP, DID, PDS, BlueskyWorld
from worlds import picture

from platforms.base import AuthExpired, Draft, Effect, MediaKind, NotSent, Processing, RateLimited, Ready, Rejected
from platforms.bluesky import PLATFORM, api, dpop, upload
from platforms.bluesky.body import FileBody

BLOB = {"$type": "blob", "ref": {"$link": "bafkv"}, "mimeType": "video/mp4", "size": 10}
DRAFT = Draft("", BLUESKY_ACCOUNT, (CLIP,))


class Visits:
    """One post with a video, visited again and again, as prepare and poll do."""

    def __init__(self, *answers: Answer, account: Any = BLUESKY_ACCOUNT) -> None:
        self.checkpoint: dict[str, Any] = {}
        self.now: datetime = NOW
        self.account = account
        waiting = [Answer(200, {"token": "pass"}), *answers]
        self.http = FakeHttp(lambda _: waiting.pop(0))

    def __call__(self, later_s: float = 0.0) -> Any:
        self.now += timedelta(seconds=later_s)
        call = BLUESKY_SUBJECT.call(self.http, self.checkpoint, self.checkpoint.update)
        call.now = lambda: self.now
        call.account = self.account
        return PLATFORM.prepare(call, DRAFT)

    @property
    def asked(self) -> list[str]:
        return [request.path.rsplit(".", 1)[1] for request in self.http.sent]


def job(state: str | None = None, status: int = 200, **more: Any) -> Answer:
    return Answer(status, {"jobId": "j", **({"state": f"JOB_STATE_{state}"} if state else {}), **more})


# --- Jobs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ([job("CREATED")], Processing),
        ([Answer(200, {"jobStatus": {"jobId": "j", "state": "JOB_STATE_SOMETHING_NEW"}})], Processing),
        ([job("COMPLETED", 409, error="already_exists", blob=BLOB)], Ready),
        ([job(None, 409, error="already_exists")], Processing),
        ([job("CREATED"), Answer(200, {"jobStatus": {"jobId": "j", "state": "JOB_STATE_COMPLETED", "blob": BLOB}})],
         Ready),
        ([job("CREATED"), Answer(200, {"jobStatus": {"jobId": "j", "state": "JOB_STATE_FAILED"}})], Rejected),
        ([job("CREATED"), job("FAILED", failureCode="encoding_failure")], Rejected),
        ([job("CREATED"), job("FAILED", failureCode="pds_upload_failure")], NotSent),
        ([job("CREATED"), Answer(401, {"error": "AuthMissing"})], NotSent),
        ([job("CREATED"), Answer(503, b"")], NotSent),
        ([job("CREATED"), Answer(429, {})], RateLimited),
    ],
)  # fmt: skip
def test_what_a_job_comes_to(answers: list[Answer], kind: type) -> None:
    visit = Visits(*answers)
    outcomes = [visit() for _ in answers]
    assert isinstance(outcomes[-1], kind), outcomes


@pytest.mark.parametrize(
    "answer",
    [
        Answer(404, {"error": "NotFound", "message": "job not found"}),
        Answer(400, {"error": "InvalidRequest", "message": "job not found"}),
        Answer(404, b""),
    ],
)
def test_a_job_that_the_service_has_forgotten_is_begun_anew(answer: Answer) -> None:
    visit = Visits(job("CREATED"), answer, Answer(200, {"token": "pass"}), job("COMPLETED", blob=BLOB))
    assert isinstance(visit(), Processing)
    lost = visit()
    assert isinstance(lost, NotSent)
    assert lost.code == "upload_lost"
    assert isinstance(visit(), Ready)
    assert visit.asked == ["getServiceAuth", "uploadVideo", "getJobStatus", "getServiceAuth", "uploadVideo"]


@pytest.mark.parametrize("first", [job("CREATED"), job("COMPLETED", 409, error="already_exists")])
def test_a_video_that_is_done_but_has_no_address_goes_to_the_accounts_server(first: Answer) -> None:
    visit = Visits(first, *[job("COMPLETED")] * 3, Answer(200, {"blob": BLOB}))
    assert [type(visit()), type(visit(2)), type(visit(2))] == [Processing] * 3
    assert isinstance(visit(upload.UNNAMED.total_seconds() + 1), Ready)
    assert visit.asked[-2:] == ["getJobStatus", "uploadBlob"]
    last = visit.http.sent[-1]
    assert (last.url.startswith(PDS), last.headers["Content-Type"], len(last.content)) == (True, "video/mp4", CLIP.size)


def test_an_address_that_comes_a_little_later_is_taken() -> None:
    visit = Visits(job("COMPLETED", 409, error="already_exists"), job("COMPLETED", blob=BLOB))
    assert isinstance(visit(), Processing)
    assert isinstance(visit(30), Ready)


# --- What is not taken ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        (Answer(401, {"error": "Unauthorized", "message": "Confirm your email address to upload videos"}), Rejected,
         "email_unconfirmed"),
        (Answer(400, {"error": "unconfirmed_email"}), Rejected, "email_unconfirmed"),
        (Answer(401, {"error": "AuthMissing"}), NotSent, "video_pass_refused"),
        (Answer(400, {"error": "ExpiredToken", "message": "jwt expired"}), NotSent, "video_pass_refused"),
        (Answer(401, b""), NotSent, "video_pass_refused"),
        (Answer(403, {"error": "x", "message": "User is not allowed to upload videos"}), Rejected, "video_forbidden"),
        (Answer(403, {"error": "UploadForbidden", "message": "no"}), Rejected, "video_forbidden"),
        (Answer(400, {"error": "x", "message": "Uploading is disabled at the moment"}), NotSent, "video_busy"),
        (Answer(503, {"error": "ServiceOverloaded"}), NotSent, "video_busy"),
        (Answer(400, {"error": "VideoTooLong", "message": "too long"}), Rejected, "invalid_request"),
        (Answer(413, b""), Rejected, "too_large"),
        (Answer(403, b"<html>"), NotSent, "blocked"),
    ],
)  # fmt: skip
def test_why_a_video_is_not_taken(answer: Answer, kind: type, code: str) -> None:
    outcome = Visits(answer)()
    assert isinstance(outcome, kind), outcome
    assert outcome.code == code


def test_an_unconfirmed_address_is_told_whatever_the_service_calls_it() -> None:
    account = dataclasses.replace(BLUESKY_ACCOUNT, facts={"email_confirmed": False})
    outcome = Visits(Answer(401, {"error": "Unauthorized"}), account=account)()
    assert isinstance(outcome, Rejected)
    assert outcome.code == "email_unconfirmed"


@pytest.mark.parametrize(
    "said",
    [
        {"error": "DailyLimitExceeded", "message": "daily"},
        {"error": "x", "message": "User has exceeded daily upload bytes limit"},
    ],
)
def test_a_days_videos_are_no_limit_of_the_account(said: dict[str, str]) -> None:
    """What waits for the account otherwise is not held up by it."""
    outcome = Visits(Answer(400, said))()
    assert isinstance(outcome, RateLimited)
    assert outcome.scope == "post"


def test_the_session_that_a_pass_is_asked_with_may_have_run_out() -> None:
    http = FakeHttp(lambda _: Answer(400, {"error": "ExpiredToken"}))
    outcome = PLATFORM.prepare(BLUESKY_SUBJECT.call(http), DRAFT)
    assert isinstance(outcome, AuthExpired)
    assert not outcome.permanent


def test_the_pass_for_the_video_service_is_bound_and_short() -> None:
    http = FakeHttp(BlueskyWorld())
    PLATFORM.prepare(BLUESKY_SUBJECT.call(http), DRAFT)
    asked, sent = http.sent
    assert asked.params == {
        "aud": "did:web:morel.us-east.host.bsky.network",
        "lxm": "com.atproto.repo.uploadBlob",
        "exp": str(int(NOW.timestamp()) + 1800),
    }
    assert (sent.headers["Authorization"], sent.params["did"]) == ("Bearer pass", DID)
    assert sent.url.startswith("https://video.bsky.app/")


# --- Reading while sending --------------------------------------------------------------------------------------


class Tape(io.BytesIO):
    """A file that knows how much of it was asked for at once, and how long that takes."""

    def __init__(self, data: bytes, tick: Any) -> None:
        super().__init__(data)
        self.largest, self.tick = 0, tick

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        assert size >= 0
        self.largest = max(self.largest, size)
        self.tick()
        return super().read(size)


class Slow(FakeHttp):
    """Sends a body piece by piece, as the real client does."""

    def request(self, method: str, url: str, **more: Any) -> Any:
        content = more.pop("content", None)
        if content is not None:
            assert not isinstance(content, bytes)
            assert len(content) == 40 * 65_536
            content = b"".join(iter(lambda: content.read(65_536), b""))
        return super().request(method, url, content=content, **more)


@pytest.mark.parametrize("host", ["video", "server"])
def test_a_large_file_is_read_while_it_is_sent_and_says_that_it_is_alive(host: str) -> None:
    data = bytes(40 * 65_536)
    times = [NOW]

    def tick() -> None:
        times.append(times[-1] + timedelta(seconds=10))

    tape = Tape(data, tick)
    kind = MediaKind.VIDEO if host == "video" else MediaKind.GIF
    item = dataclasses.replace(CLIP, kind=kind, size=len(data), read=lambda: tape)
    saved: list[dict[str, Any]] = []
    call = BLUESKY_SUBJECT.call(Slow(BlueskyWorld()), {}, lambda values: saved.append(dict(values)))
    call.now = lambda: times[-1]
    outcome = PLATFORM.prepare(call, Draft("", BLUESKY_ACCOUNT, (item,)))
    assert isinstance(outcome, Processing if host == "video" else Ready)
    assert tape.largest <= 65_536
    assert tape.closed
    beats = [values for values in saved if "uploading_since" in values]
    assert len(beats) == 40 * 10 // 30
    # 400 seconds: longer than the lease of 300 that each of these renews.
    assert times[-1] - NOW == timedelta(seconds=400)


@pytest.mark.parametrize("kind", [MediaKind.VIDEO, MediaKind.GIF])
def test_a_file_is_fetched_before_its_request_begins(kind: MediaKind) -> None:
    """To fetch it may take minutes, or fail: a request whose head is out would wait, and break off."""
    steps: list[str] = []
    world = BlueskyWorld()

    def opened() -> io.BytesIO:
        steps.append("fetched")
        return io.BytesIO(bytes(40 * 65_536))

    class Watched(Slow):
        def request(self, method: str, url: str, **more: Any) -> Any:
            if more.get("content") is not None:
                steps.append("request")
            return super().request(method, url, **more)

    item = dataclasses.replace(CLIP, kind=kind, size=40 * 65_536, read=opened)
    PLATFORM.prepare(BLUESKY_SUBJECT.call(Watched(world)), Draft("", BLUESKY_ACCOUNT, (item,)))
    assert steps == ["fetched", "request"]


def test_a_file_that_ends_early_is_not_padded() -> None:
    item = dataclasses.replace(picture(100), size=101)
    with FileBody(item) as body, pytest.raises(OSError, match="ended before"):
        body.read()


def test_a_body_begins_anew_where_a_proof_is_asked_for_again() -> None:
    """The body was on its way when the server asked for a nonce: all of it is sent again."""
    refusals = [Answer(401, {"error": "use_dpop_nonce"}, {"DPoP-Nonce": "n"})]
    got: list[bytes] = []

    def server(sent: Sent) -> Answer:
        got.append(sent.content)
        return refusals.pop() if refusals else Answer(200, {"blob": BLOB}, {"DPoP-Nonce": "n"})

    call = BLUESKY_SUBJECT.call(FakeHttp(server))
    call.credentials = {"dpop_key": dpop.new_key(), "access_token": "at", "pds": PDS}
    opened: list[io.BytesIO] = []

    def once() -> io.BytesIO:
        assert not opened, "fetched twice"
        opened.append(io.BytesIO(bytes(range(100))))
        return opened[0]

    with FileBody(dataclasses.replace(picture(100), read=once)) as body:
        name = "com.atproto.repo.uploadBlob"
        reply = api.xrpc(call, "POST", name, effect=Effect.PREPARES, token="at", content=body, mime="image/png")
    assert reply.status == 200
    assert [len(one) for one in got] == [100, 100]
    assert got[0] == got[1] == bytes(range(100))
    assert opened[0].closed
