"""The face of Pinterest as a platform module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from pydantic import BaseModel, ValidationError

from media.rules import rule
from platforms import oauth
from platforms.base import (
    AuthExpired,
    Call,
    Capabilities,
    Doubt,
    Draft,
    Effect,
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
    Transport,
    Violation,
)
from platforms.connect import granted_scopes
from platforms.outcomes import option_violations
from platforms.pinterest import api, boards, connect, lookup, pictures, readiness, rules, upload
from platforms.pinterest.kinds import KINDS, MEDIA_TYPES, Kind, alt_of, kind_of, pictures_of
from platforms.pinterest.models import Credentials, Options, board_id, secret_violations, section_id
from platforms.pinterest.source import body_size, fetch_ahead, must_be_bytes, source_of
from platforms.readiness import Looked, Waiting

DESCRIPTION_LIMIT = 800
ALT_LIMIT = 500
TRIAL = "The app has trial access: what it pins is visible to this account alone."
"""Source: Pinterest's access tiers, 2026-10."""
CALL = "POST /v5/pins"
TRIAL_CALL = f"{CALL} (trial)"
"""The same call by an app on trial access, under a name of its own: it has a limit of its own."""
BUDGET_S = 30.0
SLOWEST = 400_000
"""Bytes of a body in a second that are reckoned with."""
LONGEST_BUDGET_S = 120.0
"""Enough for a carousel of five times 5 MB at that speed; no call of any platform has longer."""
READ_LAG_S = 10.0
VIDEO_READ_LAG_S = 60.0
"""Video pins are known to appear late; how late is not documented."""


class Pinterest:
    """Makes image, carousel and video pins. The text of a post is the pin's description.

    What publishes is ``POST /v5/pins`` alone; a video is uploaded before, which nobody sees. On the trial tier what
    is made is visible to the account alone: ``identify`` says so in ``facts["notice"]``.
    """

    name = "pinterest"
    api_hosts = frozenset({api.HOST})
    credentials_model: type[BaseModel] = Credentials
    options_model: type[BaseModel] = Options
    connector = connect.CONNECTOR
    kinds_of_post = KINDS
    capabilities = Capabilities(
        title="Pinterest",
        text_limit=DESCRIPTION_LIMIT,
        text_unit="characters of the description",
        media={kind.value: rule("pinterest", kind.value) for kind in Kind},
        transport=Transport.EITHER,
        alt_text_limit=ALT_LIMIT,
        threads=False,
        quotas=(
            Quota("pinterest-writes-1min", 100, 60, source="Pinterest API v5 rate limits (org_write), 2026"),
            # The trial tier's limit is the app's: all of its accounts share it.
            Quota(
                "pinterest-trial-writes-24h",
                300,
                86_400,
                scope="app",
                source="Pinterest API v5 rate limits (org_write, trial), 2026",
                call=TRIAL_CALL,
            ),
        ),
        source="Pinterest API v5: OpenAPI 5.23.0, 2025-12; rate limits page, 2026",
        # Up to a gigabyte to be sent, and Pinterest's own work on it.
        prepare_lead_s=1_800.0,
        lifetime_of_prepared_s=upload.LIFETIME.total_seconds(),
        # An access token lives for 30 days and its refresh token for 60.
        refresh_ahead_s=86_400.0,
        url_pattern="https://www.pinterest.com/pin/{remote_id}",
    )

    def text_length(self, text: str) -> int:
        """The number of code points."""
        return len(text)

    def placement(self, draft: Draft) -> str:
        """``pin``, ``carousel`` or ``video``, by the media."""
        return kind_of(draft).value

    # --- Rules --------------------------------------------------------------------------------------------

    def validate(self, draft: Draft) -> list[Violation]:
        """Text, options, board, number and mix of media, alt texts. Formats and sizes are ``media.rules``."""
        return [
            *option_violations(Options, draft.options, self.name),
            *self._board_violations(draft),
            *self._text_violations(draft),
            *rules.violations(draft, ALT_LIMIT),
        ]

    def _board_violations(self, draft: Draft) -> Iterator[Violation]:
        try:
            options = Options.model_validate(dict(draft.options))
        except ValidationError:
            return  # option_violations has named it
        board = board_id(options.board, draft.account.facts)
        if isinstance(board, Violation):
            yield board
            return
        yield from secret_violations(board, draft.account.facts)
        if options.board_section is not None:
            section = section_id(options.board_section, board, draft.account.facts)
            if isinstance(section, Violation):
                yield section

    def _text_violations(self, draft: Draft) -> Iterator[Violation]:
        if len(draft.text) > DESCRIPTION_LIMIT:
            message = f"The description has {len(draft.text)} characters; Pinterest allows {DESCRIPTION_LIMIT}."
            yield Violation("text_too_long", message, "text", None, self.name)

    # --- Publishing ---------------------------------------------------------------------------------------

    def needs_prepare(self, draft: Draft) -> bool:
        """True for a video, which has to be on Pinterest first, and for pictures that travel inside the request."""
        return kind_of(draft) is Kind.VIDEO or must_be_bytes(draft)

    def wants_url(self, draft: Draft) -> bool:
        """True where the author asked for it and there is a picture; otherwise bytes do as well."""
        return draft.options.get("media") == "url" and bool(pictures_of(draft))

    def publishing_call(self, draft: Draft) -> PublishingCall:
        """``POST /v5/pins``: no idempotency key, so doubt is settled by reading the board's pins."""
        lag = VIDEO_READ_LAG_S if kind_of(draft) is Kind.VIDEO else READ_LAG_S
        budget_s = min(BUDGET_S + body_size(draft) / SLOWEST, LONGEST_BUDGET_S)
        name = TRIAL_CALL if draft.account.facts.get("tier") == "trial" else CALL
        return PublishingCall(name, ReconcileKind.LOOKUP, budget_s=budget_s, read_lag_s=lag)

    def prepare(self, call: Call, draft: Draft) -> PrepareOutcome:
        """Uploads a video, and waits until Pinterest has processed it; has pictures at hand that go by bytes."""
        outcome = upload.advance(call, draft) if kind_of(draft) is Kind.VIDEO else Ready()
        if isinstance(outcome, Ready):
            fetch_ahead(call, draft)
        return outcome

    def poll(self, call: Call, draft: Draft) -> PollOutcome:
        """How far Pinterest is with the video."""
        return self.prepare(call, draft)

    def publish(self, call: Call, draft: Draft) -> PublishOutcome:
        """Makes the pin."""
        where = self._where(draft)
        if isinstance(where, Violation):
            return Rejected(where.code, where.message)
        if not draft.media:
            return Rejected("media_required", "A pin needs an image or a video.")
        source = source_of(call, draft, Options.model_validate(dict(draft.options)))
        if isinstance(source, Rejected | NotSent):
            return source
        body = {**self._words(draft), "board_id": where[0], "media_source": source}
        if where[1] is not None:
            body["board_section_id"] = where[1]
        reply = api.request(call, "POST", "/v5/pins", effect=Effect.PUBLISHES, json=body)
        remote_id = api.good(reply).get("id")
        if remote_id:
            pictures.forget(pictures_of(draft))
            return Published(str(remote_id), lookup.permalink(str(remote_id)))
        if api.is_unreachable(reply):
            # The next try sends the bytes, where the author left the choice to us.
            call.save(url_unreachable=True)
        return api.refusal_of_pin(call, reply)

    def _where(self, draft: Draft) -> tuple[str, str | None] | Violation:
        """Ids of the board and of its section."""
        options = Options.model_validate(dict(draft.options))
        board = board_id(options.board, draft.account.facts)
        if isinstance(board, Violation) or options.board_section is None:
            return board if isinstance(board, Violation) else (board, None)
        section = section_id(options.board_section, board, draft.account.facts)
        return section if isinstance(section, Violation) else (board, section)

    def _words(self, draft: Draft) -> dict[str, Json]:
        """All of the pin's body but board and media; what is empty is left out."""
        options = Options.model_validate(dict(draft.options))
        words = {
            "title": options.title,
            "description": draft.text,
            "link": options.link,
            "alt_text": alt_of(draft),
            "dominant_color": options.dominant_color,
            "ai_disclosures": {"values": ["AI_MODIFIED"]} if options.ai_modified else None,
        }
        return {name: value for name, value in words.items() if value}

    def reconcile(self, call: Call, draft: Draft, doubt: Doubt) -> Reconciled:
        """Compares the board's pins since the attempt with the draft."""
        where = self._where(draft)
        if isinstance(where, Violation):
            # The board was there when the pin was sent; without it nothing can be read.
            return Inconclusive(where.message)
        slides = [slide.model_dump() for slide in Options.model_validate(dict(draft.options)).slides]
        kind = kind_of(draft)
        count = len(draft.media) if kind is Kind.CAROUSEL else 0
        sought = lookup.Sought.of(self._words(draft), MEDIA_TYPES[kind], slides, count)
        budget_s = self.publishing_call(draft).budget_s
        return lookup.look_up(call, where[0], where[1], sought, doubt, budget_s=budget_s)

    # --- Accounts -----------------------------------------------------------------------------------------

    def identify(self, call: Call) -> Identity | AuthExpired | RateLimited | NotSent | Rejected:
        """Who the credentials belong to, the boards and sections (``facts["boards"]``), and the app's tier
        (``facts["tier"]``, ``facts["notice"]``).
        """
        reply = api.request(call, "GET", "/v5/user_account", effect=Effect.READ)
        user = api.good(reply)
        if not (user.get("id") or user.get("username")):
            return api.refusal(call, reply)
        found = boards.read_boards(call)
        if not isinstance(found, list):
            return found
        tier = api.tier(call, reply)
        granted = granted_scopes(call.credentials)
        return Identity(
            remote_id=str(user.get("id") or user["username"]),
            handle=str(user.get("username") or ""),
            facts={
                "boards": found,
                "account_type": user.get("account_type"),
                "tier": tier,
                **({"scopes": list(granted)} if granted else {}),
                **({"notice": TRIAL} if tier == "trial" else {}),
            },
            scopes=granted,
            missing_scopes=tuple(scope for scope in api.SCOPES if scope not in granted) if granted else (),
        )

    def refresh(self, call: Call) -> Refreshed | AuthExpired | RateLimited | NotSent | None:
        """New tokens, by HTTP Basic of the app."""
        return oauth.refresh(call, url=api.TOKEN_URL)

    def expires_at(self, credentials: Mapping[str, Json]) -> datetime | None:
        """When the access token runs out."""
        return oauth.expires_at(credentials)

    def ready_check(self, call: Call, waiting: Sequence[Waiting]) -> Looked:
        """Whether the sections that posts name exist."""
        return readiness.check(call, waiting)

    def access_ends_at(self, credentials: Mapping[str, Json]) -> datetime | None:
        """When nothing renews the access any more."""
        return readiness.access_ends_at(credentials)
