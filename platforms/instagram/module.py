"""The face of Instagram as a platform module."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from pydantic import BaseModel

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
    NotSent,
    PollOutcome,
    PrepareOutcome,
    Published,
    PublishingCall,
    PublishOutcome,
    Quota,
    RateLimited,
    Reconciled,
    ReconcileKind,
    Refreshed,
    Rejected,
    Transport,
    Violation,
)
from platforms.connect import granted_scopes
from platforms.instagram import api, comments, connect, containers, lookup, readiness, sending, tokens
from platforms.instagram.kinds import KINDS
from platforms.instagram.models import (
    ALT_LIMIT,
    CAPTION_LIMIT,
    MAX_CHILDREN,
    MAX_HASHTAGS,
    MAX_MENTIONS,
    Credentials,
    Kind,
    Options,
    by_upload,
    kind_of,
    moves,
    options_of,
)
from platforms.outcomes import option_violations
from platforms.readiness import Looked, Waiting

BUDGET_S = 60.0
LINK_TRIES = 3
"""How often the page of a post that is out is asked for."""
_HASHTAG = re.compile(r"(?<![\w&])#\w+")
_MENTION = re.compile(r"(?<![\w.])@[A-Za-z0-9._]+")
_REEL_ONLY = ("share_to_feed", "cover_url", "thumb_offset_ms", "audio_name", "trial")
_NOT_FOR_STORIES = ("location_id", "collaborators", "user_tags", "first_comment")
PUBLISH = "POST /{ig-user}/media_publish"


class Instagram:
    """Posts to professional Instagram accounts, by either of Meta's two logins.

    ``media_publish`` is the request that publishes. It names a container, and a container publishes once: what is in
    doubt is settled by the container's status, and sending it again with the same container is the same post. Another
    container is made only where the first is known never to have been published.
    """

    name = "instagram"
    api_hosts = frozenset({*api.HOSTS.values(), api.UPLOAD_HOST, api.TOKEN_HOST})
    credentials_model: type[BaseModel] = Credentials
    options_model: type[BaseModel] = Options
    connector = connect.CONNECTOR
    kinds_of_post = KINDS
    capabilities = Capabilities(
        title="Instagram",
        text_limit=CAPTION_LIMIT,
        text_unit="characters of the caption",
        media={kind.value: rule("instagram", kind.value) for kind in Kind},
        transport=Transport.EITHER,
        alt_text_limit=ALT_LIMIT,
        threads=False,
        quotas=(
            Quota(
                "instagram-posts-24h",
                100,
                24 * 3600,
                source="Content publishing guide, 2026-06; its endpoint decides",
                call=PUBLISH,
            ),
        ),
        source="Instagram Graph API v26.0: IG User Media reference 2026-09, publishing guide and error codes 2026-06",
        prepare_lead_s=1800.0,
        lifetime_of_prepared_s=(containers.LIFETIME - containers.MARGIN).total_seconds(),
        refresh_ahead_s=tokens.AHEAD.total_seconds(),
    )

    def text_length(self, text: str) -> int:
        """The number of code points."""
        return len(text)

    def placement(self, draft: Draft) -> str:
        """``feed``, ``carousel``, ``reel`` or ``story``: by the option and the media."""
        return kind_of(draft).value

    # --- Rules ----------------------------------------------------------------------------------------------

    def validate(self, draft: Draft) -> list[Violation]:
        """Options, caption, number and mix of media, alt texts. Formats and sizes are ``media.rules``."""
        wrong = list(option_violations(Options, draft.options, self.name))
        if comments.is_comment(draft):
            return wrong  # its length is the option's
        if wrong:
            # What else is wrong hangs on options that cannot be read.
            return wrong
        options, kind = options_of(draft), kind_of(draft)
        return [
            *self._text_violations(draft, kind),
            *self._media_violations(draft, options, kind),
            *self._option_violations(draft, options, kind),
            *comments.violations(draft, options),
        ]

    def _text_violations(self, draft: Draft, kind: Kind) -> Iterator[Violation]:
        text = draft.text
        if len(text) > CAPTION_LIMIT:
            message = f"The caption has {len(text)} characters; Instagram allows {CAPTION_LIMIT}."
            yield self._violation("text_too_long", message)
        if len(_HASHTAG.findall(text)) > MAX_HASHTAGS:
            yield self._violation("too_many_hashtags", f"Instagram allows {MAX_HASHTAGS} hashtags.")
        if len(_MENTION.findall(text)) > MAX_MENTIONS:
            yield self._violation("too_many_mentions", f"Instagram allows {MAX_MENTIONS} mentions.")
        if kind is Kind.STORY and text.strip():
            message = (
                "Instagram shows no caption with a story; put the words into the picture and leave the text empty."
            )
            yield self._violation("text_without_effect", message)

    def _media_violations(self, draft: Draft, options: Options, kind: Kind) -> Iterator[Violation]:
        if not draft.media:
            yield self._violation("media_required", "A post on Instagram needs a picture or a video.", "media")
        if kind is Kind.STORY and len(draft.media) > 1:
            yield self._violation("too_many_media", "A story is one picture or one video.", "media")
        if options.placement == "reel" and (len(draft.media) > 1 or not all(map(moves, draft.media))):
            yield self._violation("reel_needs_video", "A reel is one video.", "media")
        if kind is Kind.CAROUSEL and len(draft.media) > MAX_CHILDREN:
            yield self._violation("too_many_media", f"A carousel has up to {MAX_CHILDREN} items.", "media")
        for item in draft.media:
            if len(item.alt) > ALT_LIMIT:
                message = f"The alt text has {len(item.alt)} characters; Instagram allows {ALT_LIMIT}."
                yield self._violation("alt_too_long", message, "alt", item.name)

    def _option_violations(self, draft: Draft, options: Options, kind: Kind) -> Iterator[Violation]:
        useless = [] if kind is Kind.REEL else [*_REEL_ONLY]
        if kind is Kind.STORY:
            useless += _NOT_FOR_STORIES
        for name in useless:
            if getattr(options, name) != Options.model_fields[name].get_default(call_default_factory=True):
                yield self._violation(
                    "option_without_effect", f"Instagram takes no {name} for a {kind.value}.", f"options.{name}"
                )
        own = draft.account.handle.casefold()
        if own and own in {name.casefold() for name in options.collaborators}:
            yield self._violation(
                "own_collaborator", "The account cannot be its own collaborator.", "options.collaborators"
            )
        for tag in options.user_tags:
            if draft.media and tag.item >= len(draft.media):
                yield self._violation("tag_without_item", f"There is no file {tag.item} to tag.", "options.user_tags")
            elif draft.media and (tag.x is None) is not moves(draft.media[tag.item]):
                message = "In a picture a tag has a place (x and y); in a video it has none."
                yield self._violation("tag_place", message, "options.user_tags")
        if options.media == "bytes" and draft.media and not by_upload(draft, draft.account):
            message = (
                "Only a single video is uploaded, and only with Facebook Login; Instagram fetches the rest by URL."
            )
            yield self._violation("upload_unsupported", message, "options.media")

    def _violation(self, code: str, message: str, field: str = "text", file: str | None = None) -> Violation:
        return Violation(code, message, field, file or None, self.name)

    # --- Publishing -----------------------------------------------------------------------------------------

    def sequels(self, draft: Draft) -> tuple[Draft, ...]:
        """The first comment, where one was asked for."""
        return comments.of(draft)

    def needs_prepare(self, draft: Draft) -> bool:
        """There is no post without a container; a comment needs nothing."""
        return not comments.is_comment(draft)

    def wants_url(self, draft: Draft) -> bool:
        """True but for a video that is uploaded."""
        return not comments.is_comment(draft) and not by_upload(draft, draft.account)

    def publishing_call(self, draft: Draft) -> PublishingCall:
        """``media_publish``: the container tells whether it was published, and publishes once. Or the comment."""
        if comments.is_comment(draft):
            return comments.CALL
        return PublishingCall(PUBLISH, ReconcileKind.TWO_STEP, budget_s=BUDGET_S)

    def prepare(self, call: Call, draft: Draft) -> PrepareOutcome:
        """Reads the day's limit, makes the containers, waits for them; resumes from the checkpoint."""
        return containers.advance(call, draft)

    def publish(self, call: Call, draft: Draft) -> PublishOutcome:
        """Publishes the container. ``Processing`` where its page is still to be asked for, or a new one is made."""
        if comments.is_comment(draft):
            return comments.send(call, draft)
        return sending.publish(call, draft)

    def poll(self, call: Call, draft: Draft) -> PollOutcome:
        """The page of a post that is out; or how far the containers are."""
        media_id = call.checkpoint.get("media_id")
        if not media_id:
            return containers.advance(call, draft)
        tries = int(call.checkpoint.get("link_tries") or 0) + 1
        if tries > LINK_TRIES:
            return Published(str(media_id))
        call.save(link_tries=tries)
        return Published(str(media_id), lookup.permalink(call, str(media_id)))

    def reconcile(self, call: Call, draft: Draft, doubt: Doubt) -> Reconciled:
        """By the container's status; the id of what was published from the recent media. A comment by its words."""
        if comments.is_comment(draft):
            return comments.look_up(call, draft, doubt)
        return lookup.look_up(call, draft, doubt)

    # --- Accounts -------------------------------------------------------------------------------------------

    def identify(self, call: Call) -> Identity | AuthExpired | RateLimited | NotSent | Rejected:
        """Who the credentials belong to, and which login they are of (``facts["login"]``)."""
        login = api.login_of(call.credentials)
        known = call.credentials.get("ig_user_id")
        path = f"/{known}" if login == "facebook" else "/me"
        fields = "id,username,name" if login == "facebook" else "user_id,username,name,account_type"
        reply = api.request(call, "GET", path, effect=Effect.READ, params={"fields": fields})
        user = api.good(reply)
        remote_id = user.get("id") if login == "facebook" else user.get("user_id")
        if not remote_id:
            return api.refusal(call, reply)
        granted = granted_scopes(call.credentials)
        return Identity(
            remote_id=str(remote_id),
            handle=str(user.get("username") or ""),
            facts={
                "login": login,
                **{name: user[name] for name in ("name", "account_type") if name in user},
                **({"scopes": list(granted)} if granted else {}),
                **({"notice": comments.NOT_ALLOWED} if granted and not comments.allowed(login, granted) else {}),
            },
            scopes=granted,
            missing_scopes=tuple(scope for scope in api.SCOPES[login] if scope not in granted) if granted else (),
        )

    def refresh(self, call: Call) -> Refreshed | AuthExpired | RateLimited | NotSent | None:
        """The same access for longer (Instagram Login); None for a Page's token, which has no end."""
        return tokens.refresh(call)

    def expires_at(self, credentials: Mapping[str, Json]) -> datetime | None:
        """When the token runs out; where nobody said it, such a time that it is renewed in a day."""
        return tokens.ends_at(credentials, datetime.now(UTC))

    def ready_check(self, call: Call, waiting: Sequence[Waiting]) -> Looked:
        """Whether the account's day has a place left."""
        return readiness.check(call, waiting)

    def access_ends_at(self, credentials: Mapping[str, Json]) -> datetime | None:
        """When nothing renews the access any more."""
        return readiness.access_ends_at(credentials)
