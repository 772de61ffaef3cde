"""The face of Noticeboard as a platform module.

Its contract (imaginary; a real module names document and date):

- ``POST /v1/files``: the bytes of a picture; answers with an id. A file that no notice names is dropped after a day.
- ``PUT /v1/notices/{key}``: makes a notice under a key of ours, at once public. The same key again is the same notice.
- ``GET /v1/notices/{key}``, ``GET /v1/me``: read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict, Field

from media.rules import MediaRule
from platforms.base import (
    Absent,
    AuthExpired,
    Call,
    Capabilities,
    Doubt,
    Draft,
    Effect,
    Found,
    Identity,
    Inconclusive,
    Json,
    NotSent,
    PollOutcome,
    PrepareOutcome,
    Published,
    PublishingCall,
    PublishOutcome,
    Quota,
    RateLimited,
    Ready,
    Reconciled,
    ReconcileKind,
    Refreshed,
    Rejected,
    Reply,
    Transport,
    Unknown,
    Violation,
)
from platforms.outcomes import mapping, moment, objects, option_violations

HOST = "api.noticeboard.example"
SOURCE = "Noticeboard API reference, 2026-11"
TEXT_LIMIT = 500
ALT_LIMIT = 300
LIFETIME = timedelta(hours=20)
"""How long an uploaded file is relied on; Noticeboard drops it after 24 hours."""
WAIT = timedelta(minutes=5)
"""After a 429 that does not say when to come back."""


class Options(BaseModel):
    """The options of a notice. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pinned: bool = False
    """Keeps the notice on top of the board."""
    topic: str | None = Field(default=None, max_length=40)
    """The heading that it stands under."""


class Credentials(BaseModel):
    """A token from noticeboard.example, Settings, Developers. It does not run out."""

    model_config = ConfigDict(extra="forbid")

    access_token: str = Field(min_length=1)


class Noticeboard:
    """Puts notices with up to four pictures onto a board."""

    name = "noticeboard"
    api_hosts = frozenset({HOST})
    credentials_model: type[BaseModel] = Credentials
    options_model: type[BaseModel] = Options
    capabilities = Capabilities(
        title="Noticeboard",
        text_limit=TEXT_LIMIT,
        text_unit="characters",
        media={
            "notice": MediaRule(
                platform="noticeboard",
                placement="notice",
                min_count=0,
                max_count=4,
                image_mimes=("image/jpeg", "image/png"),
                max_image_bytes=5_000_000,
                max_width=4_096,
                max_height=4_096,
                min_width=16,
                min_height=16,
                min_ratio=1 / 4,
                max_ratio=4.0,
                alt_text_limit=ALT_LIMIT,
                source=SOURCE,
            )
        },
        transport=Transport.BYTES,
        alt_text_limit=ALT_LIMIT,
        threads=False,
        quotas=(Quota("noticeboard-notices-1h", 60, 3_600, source=SOURCE),),
        source=SOURCE,
        prepare_lead_s=600.0,
        lifetime_of_prepared_s=LIFETIME.total_seconds(),
        url_pattern="https://noticeboard.example/n/{remote_id}",
    )

    def text_length(self, text: str) -> int:
        """The number of code points."""
        return len(text)

    def placement(self, draft: Draft) -> str:  # noqa: ARG002 - one placement, the Protocol asks for the draft
        """Always ``notice``."""
        return "notice"

    # --- Rules: pure, all violations at once; formats and sizes of media are the media rule's ---

    def validate(self, draft: Draft) -> list[Violation]:
        """Every rule the draft breaks."""
        return [*option_violations(Options, draft.options, self.name), *self._content_violations(draft)]

    def _content_violations(self, draft: Draft) -> Iterator[Violation]:
        if len(draft.text) > TEXT_LIMIT:
            message = f"The text has {len(draft.text)} characters; Noticeboard allows {TEXT_LIMIT}."
            yield Violation("text_too_long", message, "text", None, self.name)
        if not draft.text.strip() and not draft.media:
            yield Violation("empty_post", "A notice needs a text or a picture.", "text", None, self.name)
        for item in draft.media:
            if len(item.alt) > ALT_LIMIT:
                message = f"The alt text has {len(item.alt)} characters; Noticeboard allows {ALT_LIMIT}."
                yield Violation("alt_too_long", message, "alt", item.name or None, self.name)

    # --- Ahead of time: upload, save each id at once, resume from the checkpoint, never publish ---

    def needs_prepare(self, draft: Draft) -> bool:
        """True where there are pictures to upload."""
        return bool(draft.media)

    def wants_url(self, draft: Draft) -> bool:  # noqa: ARG002 - the same for every draft
        """Never: Noticeboard takes bytes."""
        return False

    def prepare(self, call: Call, draft: Draft) -> PrepareOutcome:
        """Uploads what is not there yet."""
        known = objects(call.checkpoint.get("files"))
        for index, item in enumerate(draft.media):
            if index < len(known) and known[index].get("sha256") == item.sha256:
                continue
            if item.read is None:
                raise ValueError("Noticeboard takes bytes, and this draft's media cannot be read.")
            with item.read() as source:
                data = source.read()
            headers = {"Content-Type": item.mime, "X-Alt": item.alt.encode().hex()}
            reply = self._request(call, "POST", "/v1/files", Effect.PREPARES, headers=headers, content=data)
            file_id = mapping(reply.json()).get("file")
            if not file_id:
                return self._refusal(call, reply)
            known = [*known[:index], {"id": str(file_id), "sha256": item.sha256}]
            call.save(files=known, files_until=(call.now() + LIFETIME).isoformat())
        return Ready(datetime.fromisoformat(str(call.checkpoint["files_until"])))

    # --- Publishing: one request, no second try, no sleep; a TransportError goes through as it is ---

    def publishing_call(self, draft: Draft) -> PublishingCall:  # noqa: ARG002 - the same for every draft
        """``PUT`` under a key of ours: sent again it is the same notice."""
        return PublishingCall("PUT /v1/notices/{key}", ReconcileKind.CLIENT_ID, budget_s=20.0)

    def publish(self, call: Call, draft: Draft) -> PublishOutcome:
        """Puts the notice onto the board."""
        files = objects(call.checkpoint.get("files"))
        if len(files) != len(draft.media):
            return NotSent("media_not_ready", "The pictures are not on Noticeboard.")
        body = {"text": draft.text, "files": [file["id"] for file in files], **draft.options}
        reply = self._request(call, "PUT", f"/v1/notices/{self._key(call)}", Effect.PUBLISHES, json=body)
        notice = mapping(reply.json())
        if reply.status in {200, 201} and notice.get("id"):
            return self._published(notice)
        if reply.status == 422 and notice.get("error") == "no_such_file":
            call.save(files=[])
            return NotSent("files_lost", "Noticeboard has dropped the pictures; they are uploaded anew.", 422, 1.0)
        # Only what the contract names as "nothing was made" is a refusal; the rest may have taken effect.
        refused = self._refusal(call, reply)
        return Unknown(refused.code, refused.message, reply.status) if isinstance(refused, NotSent) else refused

    def poll(self, call: Call, draft: Draft) -> PollOutcome:
        """Noticeboard has nothing to wait for: whoever asks goes on with what is missing."""
        return self.prepare(call, draft) if draft.media else Ready()

    def reconcile(self, call: Call, draft: Draft, doubt: Doubt) -> Reconciled:  # noqa: ARG002 - our key says it all
        """Asks for the notice under our key; only reads."""
        reply = self._request(call, "GET", f"/v1/notices/{self._key(call)}", Effect.READ)
        notice = mapping(reply.json())
        if reply.status == 200 and notice.get("id"):
            published = self._published(notice)
            return Found(published.remote_id, published.url)
        if reply.status == 404 and notice.get("error") == "no_such_notice":
            return Absent()
        refused = self._refusal(call, reply)
        if isinstance(refused, AuthExpired | RateLimited):
            return refused
        return Inconclusive(refused.message, 5.0)

    # --- Accounts ---

    def identify(self, call: Call) -> Identity | AuthExpired | RateLimited | NotSent | Rejected:
        """Who the token belongs to."""
        reply = self._request(call, "GET", "/v1/me", Effect.READ)
        user = mapping(reply.json())
        if reply.status == 200 and user.get("id"):
            return Identity(str(user["id"]), str(user.get("name") or ""))
        return self._refusal(call, reply)

    def refresh(self, call: Call) -> Refreshed | AuthExpired | RateLimited | NotSent | None:  # noqa: ARG002
        """None: the tokens do not run out."""
        return None

    def expires_at(self, credentials: Mapping[str, Json]) -> datetime | None:  # noqa: ARG002
        """None: they do not."""
        return None

    # --- The API ---

    @staticmethod
    def _key(call: Call) -> str:
        """Ours for this content: the same at each try, another after an edit."""
        return hashlib.sha256(call.platform_key.encode()).hexdigest()[:32]

    @staticmethod
    def _request(
        call: Call,
        method: str,
        path: str,
        effect: Effect,
        *,
        headers: Mapping[str, str] | None = None,
        json: Json = None,
        content: bytes | None = None,
    ) -> Reply:
        token = {"Authorization": f"Bearer {call.credentials['access_token']}"}
        url = f"https://{HOST}{path}"
        return call.http.request(
            method, url, effect=effect, headers={**token, **(headers or {})}, json=json, content=content
        )

    @staticmethod
    def _published(notice: Mapping[str, Json]) -> Published:
        return Published(str(notice["id"]), str(notice["url"]) if notice.get("url") else None)

    @staticmethod
    def _refusal(call: Call, reply: Reply) -> AuthExpired | RateLimited | Rejected | NotSent:
        """What an answer means that is not the wanted one."""
        said = mapping(reply.json())
        code = str(said.get("error") or f"http_{reply.status}")
        message = f"Noticeboard: {said.get('message') or code}"
        match reply.status:
            case 401:
                return AuthExpired(code, message, 401, permanent=True)
            case 403 | 422:
                return Rejected(code, message, reply.status)
            case 429:
                until = moment(reply.headers.get("retry-after"), call.now()) or call.now() + WAIT
                return RateLimited(max(until, call.now() + timedelta(seconds=1)), message, 429)
        return NotSent(code, message, reply.status)
