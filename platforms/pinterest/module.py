"""The face of Pinterest as a platform module."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
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
    Transport,
    Violation,
)
from platforms.outcomes import objects, option_violations
from platforms.pinterest import api, lookup
from platforms.pinterest.models import Credentials, Options, board_id, section_id

DESCRIPTION_LIMIT = 800
BYTES_MIMES = ("image/jpeg", "image/png")
"""What ``image_base64`` takes. Source: Pinterest API v5, OpenAPI 5.23.0 (2025-12)."""
BOARD_PAGE = 250
MAX_BOARD_PAGES = 20


class Pinterest:
    """Makes image pins. The text of a post is the pin's description."""

    name = "pinterest"
    api_hosts = frozenset({api.HOST})
    credentials_model: type[BaseModel] = Credentials
    options_model: type[BaseModel] = Options
    capabilities = Capabilities(
        title="Pinterest",
        text_limit=DESCRIPTION_LIMIT,
        text_unit="characters of the description",
        media={"pin": rule("pinterest", "pin")},
        transport=Transport.EITHER,
        alt_text_limit=500,
        threads=False,
        quotas=(Quota("pinterest-writes-1min", 100, 60, source="Pinterest API v5 rate limits (org_write), 2026"),),
        source="Pinterest API v5: OpenAPI 5.23.0, 2025-12; rate limits page, 2026",
        prepare_lead_s=0.0,
        url_pattern="https://www.pinterest.com/pin/{remote_id}",
    )

    def text_length(self, text: str) -> int:
        """The number of code points."""
        return len(text)

    def placement(self, draft: Draft) -> str:  # noqa: ARG002 - there is one placement, the Protocol asks for the draft
        """Always ``pin``."""
        return "pin"

    # --- Rules --------------------------------------------------------------------------------------------

    def validate(self, draft: Draft) -> list[Violation]:
        """Text, options, board, number of images, alt texts. Formats and sizes are ``media.rules``."""
        return [
            *option_violations(Options, draft.options, self.name),
            *self._board_violations(draft),
            *self._text_violations(draft),
            *self._media_violations(draft),
        ]

    def _board_violations(self, draft: Draft) -> Iterator[Violation]:
        try:
            options = Options.model_validate(dict(draft.options))
        except ValidationError:
            return  # option_violations has named it
        board = board_id(options.board, draft.account.facts)
        if isinstance(board, Violation):
            yield board
        elif options.board_section is not None:
            section = section_id(options.board_section, board, draft.account.facts)
            if isinstance(section, Violation):
                yield section

    def _text_violations(self, draft: Draft) -> Iterator[Violation]:
        if len(draft.text) > DESCRIPTION_LIMIT:
            message = f"The description has {len(draft.text)} characters; Pinterest allows {DESCRIPTION_LIMIT}."
            yield self._violation("text_too_long", message)

    def _media_violations(self, draft: Draft) -> Iterator[Violation]:
        if not draft.media:
            yield self._violation("media_required", "A pin needs an image.", "media")
        if len(draft.media) > 1:
            yield self._violation("too_many_media", "A pin has one image.", "media")
        alt_limit = self.capabilities.alt_text_limit or 0
        for item in draft.media:
            if item.kind is MediaKind.VIDEO:
                yield self._violation("video_unsupported", "Video pins are not offered.", "media", item.name)
            if len(item.alt) > alt_limit:
                message = f"The alt text has {len(item.alt)} characters; Pinterest allows {alt_limit}."
                yield self._violation("alt_too_long", message, "alt", item.name)

    def _violation(self, code: str, message: str, field: str = "text", file: str | None = None) -> Violation:
        return Violation(code, message, field, file or None, self.name)

    # --- Publishing ---------------------------------------------------------------------------------------

    def needs_prepare(self, draft: Draft) -> bool:  # noqa: ARG002 - the same for every draft
        """Never: an image pin is one request."""
        return False

    def wants_url(self, draft: Draft) -> bool:
        """True where the author asked for it; otherwise bytes do as well."""
        return draft.options.get("media") == "url"

    def publishing_call(self, draft: Draft) -> PublishingCall:  # noqa: ARG002 - the same for every draft
        """``POST /v5/pins``: no idempotency key, so doubt is settled by reading the board's pins."""
        return PublishingCall("POST /v5/pins", ReconcileKind.LOOKUP, budget_s=30.0, read_lag_s=10.0)

    def prepare(self, call: Call, draft: Draft) -> PrepareOutcome:  # noqa: ARG002 - nothing to do
        """Nothing to do."""
        return Ready()

    def poll(self, call: Call, draft: Draft) -> PollOutcome:  # noqa: ARG002 - nothing to wait for
        """Nothing to wait for."""
        return Ready()

    def publish(self, call: Call, draft: Draft) -> PublishOutcome:
        """Makes the pin."""
        where = self._where(draft)
        if isinstance(where, Violation):
            return Rejected(where.code, where.message)
        if not draft.media:
            return Rejected("media_required", "A pin needs an image.")
        source = self._source(call, draft.media[0], draft)
        if isinstance(source, Rejected | NotSent):
            return source
        body = {**self._words(draft), "board_id": where[0], "media_source": source}
        if where[1] is not None:
            body["board_section_id"] = where[1]
        reply = api.request(call, "POST", "/v5/pins", effect=Effect.PUBLISHES, json=body)
        remote_id = api.good(reply).get("id")
        if remote_id:
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
        """All of the pin's body but board and image; what is empty is left out."""
        options = Options.model_validate(dict(draft.options))
        words = {
            "title": options.title,
            "description": draft.text,
            "link": options.link,
            "alt_text": draft.media[0].alt if draft.media else "",
            "dominant_color": options.dominant_color,
        }
        return {name: value for name, value in words.items() if value}

    def _source(self, call: Call, item: MediaItem, draft: Draft) -> dict[str, Json] | Rejected | NotSent:
        wanted = Options.model_validate(dict(draft.options)).media
        bytes_possible = item.read is not None and item.mime in BYTES_MIMES
        by_url = item.url is not None and wanted != "bytes"
        if by_url and wanted == "auto" and bytes_possible and call.checkpoint.get("url_unreachable"):
            by_url = False
        if by_url:
            return {"source_type": "image_url", "url": item.url}
        if wanted == "url":
            return NotSent("no_url", "The image has no address that Pinterest could fetch it from.")
        if item.read is None:
            return NotSent("no_bytes", "The image cannot be read.")
        if item.mime not in BYTES_MIMES:
            return Rejected("media_type", f"Pinterest takes {item.mime} by URL only.")
        with item.read() as source:
            data = base64.b64encode(source.read()).decode("ascii")
        return {"source_type": "image_base64", "content_type": item.mime, "data": data}

    def reconcile(self, call: Call, draft: Draft, doubt: Doubt) -> Reconciled:
        """Compares the board's pins since the attempt with the draft."""
        where = self._where(draft)
        if isinstance(where, Violation):
            # The board was there when the pin was sent; without it nothing can be read.
            return Inconclusive(where.message)
        return lookup.look_up(call, where[0], where[1], self._words(draft), doubt)

    # --- Accounts -----------------------------------------------------------------------------------------

    def identify(self, call: Call) -> Identity | AuthExpired | RateLimited | NotSent | Rejected:
        """Who the credentials belong to, and the boards (``facts["boards"]``: id, name, privacy)."""
        reply = api.request(call, "GET", "/v5/user_account", effect=Effect.READ)
        user = api.good(reply)
        if not (user.get("id") or user.get("username")):
            return api.refusal(call, reply)
        boards = self._boards(call)
        if not isinstance(boards, list):
            return boards
        granted = tuple(str(call.credentials.get("scope") or "").replace(",", " ").split())
        return Identity(
            remote_id=str(user.get("id") or user["username"]),
            handle=str(user.get("username") or ""),
            facts={"boards": boards, "account_type": user.get("account_type")},
            scopes=granted,
            missing_scopes=tuple(scope for scope in api.SCOPES if scope not in granted) if granted else (),
        )

    def _boards(self, call: Call) -> list[dict[str, Json]] | AuthExpired | RateLimited | NotSent | Rejected:
        boards: list[dict[str, Json]] = []
        bookmark: str | None = None
        for _ in range(MAX_BOARD_PAGES):
            params = {"page_size": str(BOARD_PAGE)} | ({"bookmark": bookmark} if bookmark else {})
            reply = api.request(call, "GET", "/v5/boards", effect=Effect.READ, params=params)
            answer = api.good(reply)
            if not isinstance(answer.get("items"), list):
                return api.refusal(call, reply)
            boards += [
                {"id": str(board["id"]), "name": board.get("name"), "privacy": board.get("privacy")}
                for board in objects(answer["items"])
                if board.get("id")
            ]
            bookmark = answer.get("bookmark")
            if not bookmark:
                break
        return boards

    def refresh(self, call: Call) -> Refreshed | AuthExpired | RateLimited | NotSent | None:
        """New tokens, by HTTP Basic of the app."""
        return oauth.refresh(call, url=api.TOKEN_URL)

    def expires_at(self, credentials: Mapping[str, Json]) -> datetime | None:
        """When the access token runs out."""
        return oauth.expires_at(credentials)
