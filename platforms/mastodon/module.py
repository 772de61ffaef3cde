"""The face of Mastodon as a platform module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError

from media.rules import rule
from platforms.base import (
    AccountRef,
    AuthExpired,
    Call,
    Capabilities,
    Doubt,
    Draft,
    Effect,
    Identity,
    Json,
    MediaItem,
    MediaKind,
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
from platforms.errors import FenceExpired, TransportError
from platforms.kinds import ANIMATION, PICTURE, VIDEO, KindOfPost
from platforms.mastodon import api, connect, files, lookup, upload
from platforms.mastodon.limits import FACT, Limits
from platforms.mastodon.models import NO_SERVER, Credentials, Options
from platforms.outcomes import mapping, option_violations

_PLACEMENT = "post"
_RULE = rule("mastodon", _PLACEMENT)
_EXAMPLE = AccountRef("mastodon", "")
KINDS = (
    KindOfPost("text", Draft("text", _EXAMPLE)),
    KindOfPost("pictures", Draft("text", _EXAMPLE, (PICTURE,))),
    KindOfPost("animated GIF", Draft("text", _EXAMPLE, (ANIMATION,))),
    KindOfPost("video", Draft("text", _EXAMPLE, (VIDEO,))),
    KindOfPost("poll", Draft("text", _EXAMPLE, options={"poll": {"options": ["a", "b"], "expires_in": 3_600}})),
    # Each part of it is such a post.
    KindOfPost("thread", Draft("text", _EXAMPLE, parts=2)),
)
KEY_LIFETIME_S = 3_600.0
"""How long a server keeps an Idempotency-Key. Source: Mastodon documentation, 2026-07."""
READ_LAG_S = 2.0
"""An account's statuses come from the server's own database; some have a replica behind it."""
GIF_MATRIX_LIMIT = 921_600
"""Pixels (1280 x 720) of an animated GIF. Source: server source, 2026; no instance tells it."""


class Mastodon:
    """Posts to Mastodon and to what speaks its API. Limits are those of the account's own instance."""

    name = "mastodon"
    api_hosts = api.API_HOSTS
    credentials_model: type[BaseModel] = Credentials
    options_model: type[BaseModel] = Options
    connector = connect.CONNECTOR
    kinds_of_post = KINDS
    capabilities = Capabilities(
        title="Mastodon",
        text_limit=Limits.max_characters,
        text_unit="characters with the content warning; a link counts 23, a mention without its server;"
        " 500 by default, the instance's own limit where it was read",
        media={_PLACEMENT: _RULE},
        transport=Transport.BYTES,
        alt_text_limit=_RULE.alt_text_limit,
        threads=True,
        head_only_options=frozenset({"poll"}),
        quotas=(Quota("mastodon-requests-5min", 250, 300, source="Mastodon documentation, rate limits, 2026-07"),),
        source="Mastodon API documentation, 2026-07; OpenAPI 4.7.0, 2026-08",
        prepare_lead_s=900.0,
        lifetime_of_prepared_s=upload.LIFETIME.total_seconds(),
        url_pattern="https://{server}/@{handle}/{remote_id}",
    )

    media_rule = staticmethod(files.media_rule)

    server_of = staticmethod(api.origin)

    def text_length(self, text: str) -> int:
        """As a server with default settings counts it."""
        return Limits().length(text)

    def placement(self, draft: Draft) -> str:  # noqa: ARG002 - one placement, the Protocol asks for the draft
        """Always ``post``."""
        return _PLACEMENT

    # --- Rules ------------------------------------------------------------------------------------------------

    def validate(self, draft: Draft) -> list[Violation]:
        """Text, options, media and poll, by the limits of the account's instance."""
        limits = Limits.of(draft.account.facts)
        options = self._options(draft)
        return [
            *option_violations(Options, draft.options, self.name),
            *self._text_violations(draft, options, limits),
            *self._media_violations(draft, limits),
            *self._poll_violations(draft, options, limits),
        ]

    def _text_violations(self, draft: Draft, options: Options, limits: Limits) -> Iterator[Violation]:
        # The warning is counted as it is, and the text after it.
        length = limits.count(options.spoiler_text) + limits.length(draft.text)
        if length > limits.max_characters:
            warned = " with its content warning" if options.spoiler_text else ""
            message = (
                f"The text{warned} counts {length} characters, {length - limits.max_characters} more than the"
                f" {limits.max_characters} that the instance allows"
            )
            yield self._violation("text_too_long", f"{message}{limits.why(draft.text)}.")
        if not draft.text.strip() and not draft.media:
            yield self._violation("empty_post", "A status needs a text or media.")

    def _media_violations(self, draft: Draft, limits: Limits) -> Iterator[Violation]:
        most = min(_RULE.max_count, limits.max_media_attachments)
        if len(draft.media) > most:
            yield self._violation("too_many_media", f"The instance takes up to {most} files.", "media")
        moving = [item for item in draft.media if item.kind is not MediaKind.IMAGE]
        if moving and len(draft.media) > 1:
            message = "On Mastodon a video or an animated GIF stands alone."
            yield self._violation("video_not_alone", message, "media")
        for item in draft.media:
            yield from self._file_violations(item, limits)

    def _file_violations(self, item: MediaItem, limits: Limits) -> Iterator[Violation]:
        if len(item.alt) > limits.description_limit:
            message = f"The alt text has {len(item.alt)} characters; the instance allows {limits.description_limit}."
            yield self._violation("alt_too_long", message, "alt", item.name)
        pixels = item.width * item.height
        if item.kind is MediaKind.GIF and pixels > GIF_MATRIX_LIMIT:
            message = f"An animated GIF may have {GIF_MATRIX_LIMIT} pixels; this one has {pixels}."
            yield self._violation("gif_dimensions", message, "media", item.name)
        if item.kind is MediaKind.VIDEO and not limits.takes("video/mp4"):
            yield self._violation("video_unsupported", "The instance takes no videos.", "media", item.name)
        # Before it is normalized a file may be larger; as it will be sent (with bytes) it may not.
        most = limits.video_size_limit if item.kind is MediaKind.VIDEO else limits.image_size_limit
        if item.read is not None and item.size > most:
            message = f"The file has {item.size} bytes; the instance allows {most}."
            yield self._violation("file_too_large", message, "media", item.name)
        if item.read is not None and not limits.takes(item.mime):
            yield self._violation("media_type", f"The instance does not take {item.mime}.", "media", item.name)

    def _poll_violations(self, draft: Draft, options: Options, limits: Limits) -> Iterator[Violation]:
        poll = options.poll
        if poll is None:
            return
        if draft.media:
            yield self._violation("poll_with_media", "On Mastodon a poll has no media.", "options.poll")
        if not draft.text.strip():
            yield self._violation("poll_without_text", "A poll needs a text.", "options.poll")
        if len(poll.options) > limits.max_options:
            message = f"A poll has {len(poll.options)} options; the instance allows {limits.max_options}."
            yield self._violation("poll_options", message, "options.poll")
        if len(set(poll.options)) != len(poll.options):
            yield self._violation("poll_options", "Two options of the poll are the same.", "options.poll")
        longest = max(limits.count(choice) for choice in poll.options)
        if longest > limits.max_characters_per_option:
            message = f"An option has {longest} characters; the instance allows {limits.max_characters_per_option}."
            yield self._violation("poll_option_too_long", message, "options.poll")
        if not limits.min_expiration <= poll.expires_in <= limits.max_expiration:
            message = (
                f"A poll lasts {poll.expires_in} seconds; the instance allows {limits.min_expiration}"
                f" to {limits.max_expiration}."
            )
            yield self._violation("poll_duration", message, "options.poll")

    @staticmethod
    def _options(draft: Draft) -> Options:
        """The draft's options; the defaults where they are wrong, which is told elsewhere."""
        try:
            return Options.model_validate(dict(draft.options))
        except ValidationError:
            return Options()

    def _violation(self, code: str, message: str, field: str = "text", file: str | None = None) -> Violation:
        return Violation(code, message, field, file or None, self.name)

    # --- Publishing -------------------------------------------------------------------------------------------

    def needs_prepare(self, draft: Draft) -> bool:
        """True where there are files to upload."""
        return bool(draft.media)

    def wants_url(self, draft: Draft) -> bool:  # noqa: ARG002 - the same for every draft
        """Never: Mastodon takes bytes."""
        return False

    def publishing_call(self, draft: Draft) -> PublishingCall:  # noqa: ARG002 - the same for every draft
        """``POST /api/v1/statuses`` with an Idempotency-Key; looked up before it is sent again."""
        return PublishingCall(
            "POST /api/v1/statuses",
            ReconcileKind.KEYED,
            budget_s=30.0,
            read_lag_s=READ_LAG_S,
            key_lifetime_s=KEY_LIFETIME_S,
        )

    def prepare(self, call: Call, draft: Draft) -> PrepareOutcome:
        """Uploads the files with their alt texts; resumes from the checkpoint."""
        return upload.advance(call, draft)

    def poll(self, call: Call, draft: Draft) -> PollOutcome:
        """Asks whether the server is done with the files, and goes on."""
        return upload.advance(call, draft)

    def publish(self, call: Call, draft: Draft) -> PublishOutcome:
        """Posts. What has run out since ``prepare`` is uploaded first."""
        if upload.are_lost(upload.entries(call, draft)):
            # After that answer the account's statuses were read, and none has these files: they are gone.
            upload.forget(call)
            return NotSent("media_not_ready", "The server has dropped the uploaded files.")
        if not all(upload.is_ready(entry) for entry in upload.entries(call, draft)):
            outcome = upload.advance(call, draft)
            if not isinstance(outcome, Ready):
                return self._not_ready(outcome)
        entries = upload.entries(call, draft)
        # Committed before the first byte: a server that then says the files are taken may have our own post.
        in_doubt = upload.note_sending(call, entries)
        try:
            reply = self._send(call, draft, entries)
        except (TransportError, FenceExpired) as error:
            if not (in_doubt or getattr(error, "sent", False)):
                upload.note_refused(call, entries)
            raise
        status = api.good(reply)
        remote_id = status.get("id")
        if remote_id:
            url = status.get("url") or status.get("uri")
            return Published(str(remote_id), str(url) if url else None)
        if draft.media and api.has_lost_media(reply):
            return self._without_media(call, entries, reply, in_doubt=in_doubt)
        refused = api.refusal_of_post(call, reply)
        if not (in_doubt or isinstance(refused, Unknown)):
            upload.note_refused(call, entries)
        return refused

    def _send(self, call: Call, draft: Draft, entries: list[upload.Entry]) -> Reply:
        return api.request(
            call,
            "POST",
            "/api/v1/statuses",
            effect=Effect.PUBLISHES,
            headers={"Idempotency-Key": call.platform_key},
            json=self._body(draft, [str(entry["id"]) for entry in entries]),
        )

    @staticmethod
    def _without_media(call: Call, entries: list[upload.Entry], reply: Reply, *, in_doubt: bool) -> PublishOutcome:
        """What it means that the server does not know the files, or has attached them; it does not say which."""
        if in_doubt:
            # An earlier try of ours may have got through after all.
            upload.note_lost(call, entries)
            return Unknown("media_attached", f"The server: {api.message_of(reply)}", reply.status)
        upload.forget(call)
        return NotSent("media_not_ready", "The server has dropped the uploaded files.", reply.status, 1.0)

    @staticmethod
    def _not_ready(outcome: PrepareOutcome) -> PublishOutcome:
        """What it means for the publishing call that something is still missing: nothing was sent."""
        if isinstance(outcome, Rejected | AuthExpired | RateLimited | NotSent):
            return outcome
        return NotSent("media_not_ready", "The server still works on the files.", retry_after_s=5.0)

    @staticmethod
    def _body(draft: Draft, media_ids: list[str]) -> dict[str, Json]:
        options = Options.model_validate(dict(draft.options))
        body: dict[str, Json] = options.model_dump(exclude_defaults=True, exclude={"poll"})
        if draft.text:
            body["status"] = draft.text
        if draft.reply_to is not None:
            body["in_reply_to_id"] = draft.reply_to.remote_id
        if media_ids:
            body["media_ids"] = media_ids
        if options.poll is not None:
            body["poll"] = options.poll.model_dump(exclude_defaults=True)
        return body

    def reconcile(self, call: Call, draft: Draft, doubt: Doubt) -> Reconciled:
        """Compares the account's statuses since the attempt with the draft."""
        return lookup.look_up(call, draft, doubt)

    # --- Accounts ---------------------------------------------------------------------------------------------

    def identify(self, call: Call) -> Identity | AuthExpired | RateLimited | NotSent | Rejected:
        """Who the token belongs to, and what the instance allows (``facts["limits"]``)."""
        reply = api.request(call, "GET", "/api/v1/accounts/verify_credentials", effect=Effect.READ)
        user = api.good(reply)
        if not user.get("id"):
            return api.refusal(call, reply)
        reply = api.request(call, "GET", "/api/v2/instance", effect=Effect.READ)
        if reply.status in {404, 410}:
            # Servers before 4.0, and some that only speak like one.
            reply = api.request(call, "GET", "/api/v1/instance", effect=Effect.READ)
        instance = api.good(reply)
        if not instance:
            return api.refusal(call, reply)
        server = api.origin(call.credentials)
        domain = str(instance.get("domain") or instance.get("uri") or urlsplit(server).netloc)
        domain = domain.removeprefix("https://").removeprefix("http://").rstrip("/")
        granted = tuple(str(call.credentials.get("scope") or "").split())
        return Identity(
            remote_id=str(user["id"]),
            handle=f"{user.get('username') or user.get('acct') or ''}@{domain}",
            facts={
                "server": server if server != NO_SERVER else None,
                "software": str(instance.get("version") or ""),
                "api_version": mapping(instance.get("api_versions")).get("mastodon"),
                "default_visibility": mapping(user.get("source")).get("privacy"),
                FACT: Limits.read(instance).as_facts(),
            },
            scopes=granted,
            missing_scopes=tuple(scope for scope in api.SCOPES if not _covered(scope, granted)) if granted else (),
        )

    def refresh(self, call: Call) -> Refreshed | AuthExpired | RateLimited | NotSent | None:  # noqa: ARG002 - nothing to ask
        """None: tokens of Mastodon do not run out."""
        return None

    def expires_at(self, credentials: Mapping[str, Json]) -> datetime | None:  # noqa: ARG002 - the same for every token
        """None: they do not."""
        return None


def _covered(scope: str, granted: tuple[str, ...]) -> bool:
    """Whether a scope was granted, by itself or by the wider one that it is part of."""
    return scope in granted or scope.partition(":")[0] in granted
