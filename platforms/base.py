"""What a platform module is: the Protocol, what it declares, what it is given, what it answers.

A module knows no database, no Celery, no settings and no sleep. It gets a ``Call`` (HTTP client, account,
credentials, clock, checkpoint) and a ``Draft``, and answers with an ``Outcome``: a value that decides what
happens next. It never retries by itself and never swallows a ``TransportError``: whether a request may have
reached the platform is known to the transport alone.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pydantic import BaseModel

    from media.rules import MediaRule

Json = Any
"""A value that JSON can hold."""


class Effect(enum.Enum):
    """What a request does on the platform; every request declares it."""

    READ = "read"
    """Changes nothing there."""
    PREPARES = "prepares"
    """Changes something that nobody sees and that may be repeated (an upload, a container, a token)."""
    PUBLISHES = "publishes"
    """Makes a post public, or may. Sent at most once for each committed attempt, on a fresh connection."""


@dataclass(frozen=True)
class Reply:
    """An HTTP answer that was read in full. ``headers`` has lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str
    """Without its query: a query may hold a secret."""

    def json(self) -> Json:
        """The body as JSON, or None where it is not JSON (an HTML error page, an empty 413)."""
        import json

        try:
            return json.loads(self.body)
        except ValueError:
            return None


class Streamed(Protocol):
    """A body of known length that is read while it is sent, so that a large file is never held in memory."""

    def __len__(self) -> int:
        """Bytes in all."""
        ...

    def __iter__(self) -> Iterator[bytes]:
        """The same bytes, piece by piece."""
        ...

    def read(self, size: int = -1, /) -> bytes:
        """The next ``size`` bytes; empty at the end."""
        ...


class Http(Protocol):
    """The one client that modules send through (``platforms.http.Client``)."""

    def request(
        self,
        method: str,
        url: str,
        *,
        effect: Effect,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
        json: Json = None,
        form: Mapping[str, str] | None = None,
        files: Mapping[str, tuple[str, bytes, str]] | None = None,
        content: bytes | Streamed | None = None,
        timeout_s: float | None = None,
    ) -> Reply:
        """The answer, whatever its status.

        :param files: field name -> (file name, bytes, content type), as multipart/form-data after ``form``.
        :param timeout_s: total for the call, seconds; the client's default otherwise.
        :raises platforms.errors.TransportError: no whole answer came; ``.sent`` says whether it may have arrived.
        """
        ...


class MediaKind(enum.Enum):
    IMAGE = "image"
    GIF = "gif"
    """An animated GIF."""
    VIDEO = "video"


@dataclass(frozen=True)
class MediaItem:
    """One file of a draft, as the platform shall get it (the rendition), or as probed at scheduling."""

    kind: MediaKind
    mime: str
    size: int
    """Bytes."""
    width: int
    height: int
    sha256: str
    alt: str = ""
    duration_s: float | None = None
    name: str = ""
    """How the author named it; for messages only."""
    url: str | None = None
    """Where the platform can fetch it; None while drafting, or where our store is not public."""
    read: Callable[[], BinaryIO] | None = None
    """Opens the bytes; the caller closes. None while drafting."""
    read_range: Callable[[int, int], bytes] | None = None
    """(offset, length) -> these bytes, for uploads that resume in the middle. None while drafting."""


@dataclass(frozen=True)
class AccountRef:
    """The account as a module may know it: no id of ours, no secret."""

    platform: str
    name: str
    handle: str = ""
    remote_id: str = ""
    """The platform's id of the user; from ``identify``."""
    facts: Mapping[str, Json] = field(default_factory=dict)
    """What ``identify`` found and we keep: boards, tier, own server, limits of an instance."""


@dataclass(frozen=True)
class ReplyTo:
    """The parts of a thread that are public already, as the next one has to name them."""

    remote_id: str
    """Of the part right before."""
    root_id: str
    """Of the first part."""
    url: str | None = None


@dataclass(frozen=True)
class Draft:
    """What shall be published on one account by one call: a post, or one part of a thread.

    ``options`` were validated by ``Platform.options_model``. A thread comes part by part: each has its text,
    its media and its own checkpoint, and all but the first answer the one before.
    """

    text: str
    account: AccountRef
    media: tuple[MediaItem, ...] = ()
    options: Mapping[str, Json] = field(default_factory=dict)
    part: int = 0
    """Which part of the thread, from 0."""
    parts: int = 1
    reply_to: ReplyTo | None = None
    """Set for a part that is about to be sent, or looked for, and has another before it."""


@dataclass(frozen=True)
class Violation:
    """One rule that a draft breaks. ``code`` is for machines and stable, ``message`` for people."""

    code: str
    message: str
    field: str = "text"
    file: str | None = None
    platform: str | None = None


# --- What a module is given -------------------------------------------------------------------------------


@dataclass
class Call:
    """The surroundings of one visit to a platform."""

    http: Http
    account: AccountRef
    credentials: Mapping[str, Json]
    now: Callable[[], datetime]
    """UTC, from the database's clock."""
    checkpoint: dict[str, Json] = field(default_factory=dict)
    """What the platform gave us so far (media ids, containers); survives crashes. Read it; write by ``save``."""
    store: Callable[[Mapping[str, Json]], None] = lambda _values: None
    platform_key: str = ""
    """hash(scheduled post, version): the same at each try of one content. For idempotency keys."""
    learn: Callable[[Mapping[str, Json]], None] = lambda _facts: None
    """Told what the platform just said about the account itself, to be kept beside the facts of ``identify``."""

    def save(self, **values: Json) -> None:
        """Commits ``values`` into the checkpoint, at once, before the next request is sent."""
        self.store(values)
        self.checkpoint.update(values)


# --- What a module answers --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Published:
    """It is public. ``remote_id`` may be absent (TikTok gives none for private posts)."""

    remote_id: str | None
    url: str | None = None


@dataclass(frozen=True)
class Ready:
    """``prepare`` is done: only the publishing call is left, until ``expires_at`` (UTC; None: no end)."""

    expires_at: datetime | None = None


@dataclass(frozen=True)
class Processing:
    """The platform accepted and still works; look again in ``poll_after_s`` seconds."""

    poll_after_s: float
    checkpoint: Mapping[str, Any] | None = None
    """From ``publish``: what the platform gave, for the checkpoint (None: nothing new). It is stored with the outcome,
    and waits with it while the database is away; ``Call.save`` gives up after some tries."""


@dataclass(frozen=True)
class Rejected:
    """The platform will never take this as it is, and has not published it."""

    code: str
    message: str
    http_status: int | None = None
    operator_alert: bool = False
    """True where no author can mend it (out of credits, app suspended)."""


@dataclass(frozen=True)
class AuthExpired:
    """The credentials were refused; nothing was published. ``permanent``: refreshing cannot help."""

    code: str
    message: str
    http_status: int | None = None
    permanent: bool = False


@dataclass(frozen=True)
class RateLimited:
    """Not published; not before ``until`` (UTC). Waiting spends no attempt."""

    until: datetime
    message: str
    http_status: int | None = None
    scope: str = "account"
    """Who has to wait: ``account`` (all of its posts), ``app`` (all of its accounts), or ``post`` (this one alone: a
    limit that others of the account do not meet, such as the day's videos)."""


@dataclass(frozen=True)
class NotSent:
    """Provably not published; may be tried again."""

    code: str
    message: str
    http_status: int | None = None
    retry_after_s: float | None = None


@dataclass(frozen=True)
class Unknown:
    """It may be public or not; reconcile decides."""

    code: str
    message: str
    http_status: int | None = None
    if_absent: Rejected | None = None
    """What it was, should the look-ups find nothing: a refusal that another try would meet again ("a duplicate", which
    may have meant this very post, or an older one). None: then it is tried again."""
    retry_after_s: float | None = None
    """Not to be tried again before, should the look-ups find nothing."""


@dataclass(frozen=True)
class NotPublished:
    """From ``poll``: the platform has ended its work on the post and has not published it, for this reason.

    The reason decides as if ``publish`` had been answered with it: a ``RateLimited`` post waits, an ``AuthExpired``
    account is renewed or connected again. By itself such an outcome of a poll speaks of the question alone. The
    module first drops from the checkpoint what the next try must not go on with.
    """

    why: Rejected | AuthExpired | RateLimited | NotSent


PrepareOutcome = Ready | Processing | Rejected | AuthExpired | RateLimited | NotSent
PublishOutcome = Published | Processing | Rejected | AuthExpired | RateLimited | NotSent | Unknown
PollOutcome = PublishOutcome | Ready | NotPublished
"""``Ready`` from ``poll``: processing is done and ``publish`` has a last step to send."""


# --- Reconcile --------------------------------------------------------------------------------------------


class ReconcileKind(enum.Enum):
    """How a doubtful publishing call can be settled."""

    CLIENT_ID = "client_id"
    """The record's id is ours: repeating gives the same object."""
    TWO_STEP = "two_step"
    """The last step names an object made before; ask it, or repeat the step: the same object."""
    KEYED = "keyed"
    """An idempotency key that the platform honours for a while; look up first, then resend with the key."""
    LOOKUP = "lookup"
    """Our own recent posts can be read and compared."""
    NONE = "none"
    """Nothing can tell: a person decides."""


@dataclass(frozen=True)
class PublishingCall:
    """What ``publish`` will send for a draft that makes it public."""

    name: str
    reconcile: ReconcileKind
    budget_s: float = 30.0
    """Total time for the call, seconds; the lease is longer."""
    read_lag_s: float = 0.0
    """How long after a write the platform's reads may not show it, seconds."""
    key_lifetime_s: float | None = None
    """KEYED: how long the platform honours the key, seconds."""
    absence_provable: bool = True
    """False: what a look-up does not find may still appear (moderation): doubt ends in ``Found`` or with a person."""


@dataclass(frozen=True)
class Found:
    """It is public. ``remote_id`` may be absent where the platform says no more than that."""

    remote_id: str | None
    url: str | None = None
    published_at: datetime | None = None


@dataclass(frozen=True)
class Absent:
    """The look-up saw all it had to see, and the post is not there."""


@dataclass(frozen=True)
class Inconclusive:
    """The look-up could not decide (an error, a page too few)."""

    message: str
    retry_after_s: float | None = None


@dataclass(frozen=True)
class Repeatable:
    """Sending again makes the same object: safe."""


Reconciled = Found | Absent | Inconclusive | Repeatable | Processing | AuthExpired | RateLimited
"""``Processing``: the platform has it and works on it; ``poll`` goes on from there."""


@dataclass(frozen=True)
class Doubt:
    """What is known of the attempt whose outcome is not."""

    started_at: datetime
    """UTC, the database's clock when the intent was written: of the first try at this content, also if that was
    believed absent."""
    ended_at: datetime | None
    taken_remote_ids: frozenset[str]
    """Ids that other scheduled posts of the account hold: never a match."""
    doubtful_since: datetime | None = None
    """UTC: when the first try began whose outcome is still not known. None: ``started_at``."""


# --- Accounts ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Identity:
    """Who the credentials belong to."""

    remote_id: str
    handle: str
    facts: Mapping[str, Json] = field(default_factory=dict)
    scopes: tuple[str, ...] = ()
    missing_scopes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refreshed:
    """The whole new credentials (what was not renewed is carried over by the module)."""

    credentials: Mapping[str, Json]
    expires_at: datetime | None


# --- Declarations -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Quota:
    """At most ``count`` publishing calls in any ``per_s`` seconds, counted from our attempts."""

    name: str
    count: int
    per_s: int
    scope: str = "account"
    source: str = ""
    call: str = ""
    """The name of the only publishing call that counts and is limited; empty: all of them."""


class Transport(enum.Enum):
    """How a platform takes media."""

    BYTES = "bytes"
    URL = "url"
    EITHER = "either"


@dataclass(frozen=True)
class Capabilities:
    """What a platform can do, as data. Each limit names its source."""

    title: str
    text_limit: int
    text_unit: str
    """How the limit is counted, in words."""
    media: Mapping[str, MediaRule]
    """Placement -> rule (``media.rules``); the first is the default."""
    transport: Transport
    alt_text_limit: int | None
    threads: bool
    quotas: tuple[Quota, ...]
    source: str
    """Document and date that the limits were read from."""
    head_only_options: frozenset[str] = frozenset()
    """Options that belong to the first part of a thread alone (a poll, who may reply)."""
    prepare_lead_s: float = 900.0
    """How long before it is due ``prepare`` shall start, seconds."""
    lifetime_of_prepared_s: float | None = None
    """How long what ``prepare`` made stays good on the platform, seconds."""
    refresh_ahead_s: float = 600.0
    """How long before their end credentials shall be renewed, seconds."""
    url_pattern: str = ""


@runtime_checkable
class HasSequels(Protocol):
    """A module whose posts may have something that follows them by a call of its own (a first comment)."""

    def sequels(self, draft: Draft) -> tuple[Draft, ...]:
        """What follows this draft once it is public, in order: each gets an attempt and a checkpoint of its own."""
        ...


@runtime_checkable
class HasOwnServers(Protocol):
    """A module whose accounts may name a server of their own, which no override of the platform's address replaces."""

    def server_of(self, credentials: Mapping[str, Json]) -> str:
        """The origin that the account's posts go to; replaced by an override if its host is in ``api_hosts``."""
        ...


@runtime_checkable
class HasOwnMediaRules(Protocol):
    """A module whose accounts' servers have limits of their own for media (the instances of one platform)."""

    def media_rule(self, rule: MediaRule, account: AccountRef) -> MediaRule:
        """The rule of a placement as the account's server has it; pure, from the account's facts."""
        ...


@runtime_checkable
class Platform(Protocol):
    """A platform module's face. Third parties add theirs by the entry point ``schedulerx.platforms``."""

    name: str
    """Lower case, as in ``x:acme``."""
    api_hosts: frozenset[str]
    """Hosts whose origin ``SCHEDULERX_<PLATFORM>_API_URL`` replaces; ``.example.net``: all below it."""
    capabilities: Capabilities
    credentials_model: type[BaseModel]
    """Describes what ``accounts add`` reads; secrets are ``SecretStr``-free plain fields, encrypted by us."""
    options_model: type[BaseModel]
    """The ``options`` of this platform; unknown keys are refused."""

    def text_length(self, text: str) -> int:
        """How long the platform counts ``text``."""
        ...

    def placement(self, draft: Draft) -> str:
        """The key of ``capabilities.media`` that the draft's media must satisfy."""
        ...

    def validate(self, draft: Draft) -> list[Violation]:
        """Every rule the draft breaks; pure. Called at scheduling and again before publishing."""
        ...

    def needs_prepare(self, draft: Draft) -> bool:
        """Whether ``prepare`` has anything to do for this draft."""
        ...

    def wants_url(self, draft: Draft) -> bool:
        """Whether the platform will fetch this draft's media from our store (then it has to be public)."""
        ...

    def publishing_call(self, draft: Draft) -> PublishingCall:
        """The call that makes the draft public, and how doubt about it is settled."""
        ...

    def prepare(self, call: Call, draft: Draft) -> PrepareOutcome:
        """Uploads and the like, ahead of time; resumes from the checkpoint; never publishes."""
        ...

    def publish(self, call: Call, draft: Draft) -> PublishOutcome:
        """Sends the publishing call, with ``Effect.PUBLISHES``."""
        ...

    def poll(self, call: Call, draft: Draft) -> PollOutcome:
        """How far the platform is, after ``Processing``."""
        ...

    def reconcile(self, call: Call, draft: Draft, doubt: Doubt) -> Reconciled:
        """Whether a doubtful publishing call took effect. Only reads."""
        ...

    def identify(self, call: Call) -> Identity | AuthExpired | RateLimited | NotSent | Rejected:
        """Who the credentials belong to, and the facts to keep (boards, tier)."""
        ...

    def refresh(self, call: Call) -> Refreshed | AuthExpired | RateLimited | NotSent | None:
        """New credentials; None where they do not expire. ``AuthExpired(permanent)``: must be reconnected."""
        ...

    def expires_at(self, credentials: Mapping[str, Json]) -> datetime | None:
        """When the credentials stop working (UTC), as far as they say."""
        ...
