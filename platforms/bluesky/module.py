"""The face of Bluesky as a platform module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from pydantic import BaseModel, ValidationError

from media.rules import rule
from platforms.base import (
    AuthExpired,
    Call,
    Capabilities,
    Doubt,
    Draft,
    Effect,
    Identity,
    Json,
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
    Transport,
    Violation,
)
from platforms.bluesky import api, connect, lookup, readiness, record, session, upload
from platforms.bluesky.models import Credentials, Options
from platforms.bluesky.text import LIMIT, MAX_BYTES, graphemes, handles
from platforms.outcomes import option_violations
from platforms.readiness import Looked, Waiting

_PLACEMENT = "post"
_RULE = rule("bluesky", _PLACEMENT)


class Bluesky:
    """Posts to Bluesky, by an app password. Each post is a record under a key of ours, so it cannot double."""

    name = "bluesky"
    api_hosts = api.API_HOSTS
    credentials_model: type[BaseModel] = Credentials
    options_model: type[BaseModel] = Options
    connector = connect.CONNECTOR
    capabilities = Capabilities(
        title="Bluesky",
        text_limit=LIMIT,
        text_unit="characters as people see them (grapheme clusters); at most 3,000 bytes as well",
        media={_PLACEMENT: _RULE},
        transport=Transport.BYTES,
        alt_text_limit=_RULE.alt_text_limit,
        threads=True,
        # Who may reply is told on a thread's first post; a card stands where its link does.
        head_only_options=frozenset({"replies", "card", "card_url", "card_title", "card_description"}),
        quotas=(
            # 5,000 and 35,000 points; a post counts 2 or 3, by whether the server takes it for new.
            Quota("bluesky-writes-1h", 1_666, 3_600, source="bsky-docs, rate limits, 2026-04"),
            Quota("bluesky-writes-24h", 11_666, 24 * 3_600, source="bsky-docs, rate limits, 2026-04"),
        ),
        source="atproto lexicons and reference PDS, 2026-08; bsky-docs, 2026-04",
        prepare_lead_s=600.0,
        lifetime_of_prepared_s=upload.LIFETIME.total_seconds(),
        url_pattern="https://bsky.app/profile/{handle}/post/{rkey}",
    )

    server_of = staticmethod(api.origin)

    def text_length(self, text: str) -> int:
        """The number of grapheme clusters."""
        return graphemes(text)

    def placement(self, draft: Draft) -> str:  # noqa: ARG002 - one placement, the Protocol asks for the draft
        """Always ``post``."""
        return _PLACEMENT

    # --- Rules ------------------------------------------------------------------------------------------------

    def validate(self, draft: Draft) -> list[Violation]:
        """Text, options, number and mix of media, alt texts. Formats and sizes are ``media.rules``."""
        return [
            *option_violations(Options, draft.options, self.name),
            *self._text_violations(draft),
            *self._media_violations(draft),
            *self._card_violations(draft),
        ]

    def _text_violations(self, draft: Draft) -> Iterator[Violation]:
        try:
            size = len(draft.text.encode())
        except UnicodeEncodeError:
            yield self._violation("invalid_character", "The text holds half of a surrogate pair.")
            return
        length = graphemes(draft.text)
        if length > LIMIT:
            message = (
                f"Bluesky counts {length} characters (as people see them: an emoji is one, a link all of its letters),"
                f" {length - LIMIT} more than the {LIMIT} allowed."
            )
            yield self._violation("text_too_long", message)
        if size > MAX_BYTES:
            message = (
                f"The text has {size:,} bytes in UTF-8, {size - MAX_BYTES:,} more than the {MAX_BYTES:,} that Bluesky"
                f" allows beside its {LIMIT} characters (a letter outside of English has 2 to 4, a family emoji 25)."
            )
            yield self._violation("text_too_many_bytes", message)
        if not draft.text.strip() and not draft.media and not self._options(draft).wants_card:
            yield self._violation("empty_post", "A post on Bluesky needs a text, media or a card.")

    def _media_violations(self, draft: Draft) -> Iterator[Violation]:
        # What moves is shown as a video, and a video stands alone.
        moving = [item for item in draft.media if item.kind is not MediaKind.IMAGE]
        if moving and len(draft.media) > 1:
            yield self._violation("video_not_alone", "On Bluesky a video (or animation) stands alone.", "media")
        elif len(draft.media) > _RULE.max_count:
            yield self._violation("too_many_media", f"Bluesky takes up to {_RULE.max_count} images.", "media")
        facts = draft.account.facts
        if moving and facts.get("email_confirmed") is False and api.is_bluesky(str(facts.get("server") or "")):
            message = "Bluesky takes videos only from accounts whose e-mail address is confirmed."
            yield self._violation("email_unconfirmed", message, "media", moving[0].name)
        limit = self.capabilities.alt_text_limit or 0
        for item in draft.media:
            if len(item.alt) > limit:
                message = f"The alt text has {len(item.alt)} characters; at most {limit} are sent to Bluesky."
                yield self._violation("alt_too_long", message, "alt", item.name)

    def _card_violations(self, draft: Draft) -> Iterator[Violation]:
        options = self._options(draft)
        if not options.wants_card:
            return
        if draft.media:
            message = "On Bluesky a post has either media or a card."
            yield self._violation("card_with_media", message, "options.card")
        elif record.card_link(draft.text, options) is None:
            message = "A card needs one link: one in the text, or options.card_url."
            yield self._violation("card_without_link", message, "options.card")

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
        """True where there are files to upload, handles to resolve, or rules for replies and quotes."""
        options = self._options(draft)
        gated = options.replies != "everyone" or not options.quotes
        return bool(draft.media) or gated or bool(handles(draft.text))

    def wants_url(self, draft: Draft) -> bool:  # noqa: ARG002 - the same for every draft
        """Never: Bluesky takes bytes."""
        return False

    def publishing_call(self, draft: Draft) -> PublishingCall:  # noqa: ARG002 - the same for every draft
        """``putRecord`` under a key of ours, for what is not there yet: sent again it makes the same record."""
        return PublishingCall("POST com.atproto.repo.putRecord", ReconcileKind.CLIENT_ID, budget_s=30.0)

    def prepare(self, call: Call, draft: Draft) -> PrepareOutcome:
        """Handles, rules, files; resumes from the checkpoint."""
        return upload.advance(call, draft)

    def poll(self, call: Call, draft: Draft) -> PollOutcome:
        """Asks whether the video service is done, and goes on."""
        return upload.advance(call, draft)

    def publish(self, call: Call, draft: Draft) -> PublishOutcome:
        """Writes the post. What ran out or was lost since ``prepare`` is brought there first."""
        if not upload.is_done(call, draft):
            outcome = upload.advance(call, draft)
            if not isinstance(outcome, Ready):
                return self._not_ready(outcome)
        token = api.access(call)
        if isinstance(token, AuthExpired):
            return token
        did = upload.own_did(call)
        reply_refs = lookup.references(call, draft)
        if not isinstance(reply_refs, dict):
            return reply_refs
        # Committed before the first byte: whatever happens from here on, the record can be asked for.
        fixed = record.fix(call, sending=True)
        rkey = str(fixed["rkey"])
        blobs = [entry["blob"] for entry in upload.entries(call, draft)]
        body = {
            "repo": did,
            "collection": record.POST,
            "rkey": rkey,
            "record": {
                **record.post(draft, created_at=str(fixed["created_at"]), dids=upload.resolved(call), blobs=blobs),
                **reply_refs,
            },
            "swapRecord": None,
        }
        reply = api.xrpc(call, "POST", "com.atproto.repo.putRecord", effect=Effect.PUBLISHES, token=token, json=body)
        if api.good(reply).get("uri"):
            name = session.shown_handle(call.account.handle, did)
            return Published(record.address(did, rkey), record.permalink(name, rkey))
        lost = api.error_of(reply) in {"BlobNotFound", "InvalidBlob"}
        if reply.status == 400 and (lost or api.message_of(reply).startswith("Could not find blob")):
            # The server has dropped what no record named for too long: the next try brings it again.
            call.save(media=[])
            return NotSent("blob_lost", "Bluesky has dropped the uploaded media.", 400, retry_after_s=1.0)
        return api.refusal_of_post(call, reply)

    @staticmethod
    def _not_ready(outcome: PrepareOutcome) -> PublishOutcome:
        """What it means for the publishing call that something is still missing: nothing was sent."""
        if isinstance(outcome, Rejected | AuthExpired | RateLimited | NotSent):
            return outcome
        return NotSent("media_not_ready", "Bluesky still works on the media.", retry_after_s=5.0)

    def reconcile(self, call: Call, draft: Draft, doubt: Doubt) -> Reconciled:  # noqa: ARG002 - our key says it all
        """Asks for the record under our key."""
        return lookup.look_up(call, draft)

    # --- Accounts ---------------------------------------------------------------------------------------------

    def identify(self, call: Call) -> Identity | AuthExpired | RateLimited | NotSent | Rejected:
        """Who the credentials belong to."""
        return session.identify(call)

    def refresh(self, call: Call) -> Refreshed | AuthExpired | RateLimited | NotSent | None:
        """A renewed session, or a new one by the app password."""
        return session.renew(call)

    def expires_at(self, credentials: Mapping[str, Json]) -> datetime | None:
        """When the access token runs out; long ago where the account has not signed in yet."""
        return session.expires_at(credentials)

    def access_ends_at(self, credentials: Mapping[str, Json]) -> datetime | None:
        """When nothing renews the access any more."""
        return readiness.access_ends_at(credentials)

    def ready_check(self, call: Call, waiting: Sequence[Waiting]) -> Looked:
        """Whether the account may still upload the videos among these posts."""
        return readiness.check(call, waiting)
