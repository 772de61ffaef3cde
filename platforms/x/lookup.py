"""Whether a post whose outcome is in doubt is on X: our own recent posts, compared by media, then by text."""

from __future__ import annotations

import enum
import html
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from platforms.base import (
    Absent,
    AuthExpired,
    Call,
    Doubt,
    Draft,
    Effect,
    Found,
    Inconclusive,
    Json,
    RateLimited,
    Reconciled,
    Reply,
)
from platforms.outcomes import mapping, objects, retry_after_s, utc
from platforms.x import api
from platforms.x.length import links, normalize

CLOCK_MARGIN = timedelta(seconds=60)
"""Our clock and X's may differ by as much."""
PAGE = 100
MAX_PAGES = 8
"""800 posts since the attempt; more than X lets anybody write in a day."""
FIELDS = "attachments,created_at,entities,referenced_tweets"
EXPANSIONS = "attachments.media_keys"
FIELDS_BY_THE_DOCUMENT = "attachments,created_at,entities"
EXPANSIONS_BY_THE_DOCUMENT = "attachments.media_keys,referenced_posts"
"""As OpenAPI 2.167 names them: what a post answers is an expansion there."""

_SHORT_LINK = re.compile(r"https?://t\.co/[A-Za-z0-9]+")
_ANY_LINK = "\0"
_MEDIA_PAGE = re.compile(r"/status/\d+/(?:photo|video)/\d+/?$")


class Likeness(enum.Enum):
    """How a post of the feed compares with the draft."""

    SAME = "same"
    OTHER = "other"
    UNDECIDED = "undecided"


def permalink(handle: str, remote_id: str) -> str:
    """Where people see the post."""
    return f"https://x.com/{handle or 'i'}/status/{remote_id}"


# --- Comparing --------------------------------------------------------------------------------------------


def _canonical(url: str) -> str:
    """One form for the links that X shows with a scheme and a slash although the author wrote neither."""
    rest = re.sub(r"^https?://", "", url, flags=re.IGNORECASE)
    host, slash, path = rest.partition("/")
    return (host.lower() + slash + path).rstrip("/")


def _tidy(text: str) -> str:
    return " ".join(normalize(text).split())


def written(text: str) -> tuple[str, str]:
    """The draft's text for comparing: with its links in one form, and with its links left open."""
    plain = blind = normalize(text)
    for link in reversed(links(plain)):
        blind = blind[: link.start] + _ANY_LINK + blind[link.end :]
        plain = plain[: link.start] + _canonical(link.url) + plain[link.end :]
    return _tidy(plain), _tidy(blind)


def shown(post: dict[str, Json]) -> tuple[str, str]:
    """The feed's text in the same two forms. Links to its own media, which X appends, are taken out."""
    plain = blind = html.unescape(str(post.get("text") or ""))
    for entity in objects(mapping(post.get("entities")).get("urls")):
        target, short = str(entity.get("expanded_url") or ""), str(entity.get("url") or "")
        if target and short:
            own = _MEDIA_PAGE.search(target) is not None
            plain = plain.replace(short, "" if own else _canonical(target))
            blind = blind.replace(short, "" if own else _ANY_LINK)
    return _tidy(plain), _tidy(_SHORT_LINK.sub(_ANY_LINK, blind))


@dataclass(frozen=True)
class Sought:
    """The draft, ready to be compared."""

    text: str
    blind: str
    media_ids: frozenset[str]
    media_count: int
    answers: str
    """The post it answers, for a part of a thread; else empty."""

    @classmethod
    def of(cls, call: Call, draft: Draft) -> Sought:
        ids: set[str] = set()
        # Also entries that have run out by now: they may have been attached in time.
        for entry in objects(call.checkpoint.get("media")):
            ids |= {str(entry[name]) for name in ("id", "media_key") if entry.get(name)}
        answers = draft.reply_to.remote_id if draft.reply_to else ""
        return cls(*written(draft.text), frozenset(ids), len(draft.media), answers)

    def compare(self, post: dict[str, Json]) -> Likeness:
        """What it answers has to be the same. Then media decide where there are any: their keys are ours alone.
        Else the text.
        """
        told = post.get("referenced_tweets", post.get("referenced_posts"))
        answered = [str(one.get("id")) for one in objects(told) if one.get("type") == "replied_to"]
        if told is not None and answered != ([self.answers] if self.answers else []):
            return Likeness.OTHER
        likeness = self._compare_content(post)
        if told is None and self.answers and likeness is Likeness.SAME:
            # A post that answers none has no such field; but one that does should have told.
            return Likeness.UNDECIDED
        return likeness

    def _compare_content(self, post: dict[str, Json]) -> Likeness:
        keys = [str(key) for key in mapping(post.get("attachments")).get("media_keys") or []]
        if keys and not self.media_count:
            return Likeness.OTHER
        if keys and self.media_ids:
            # A media key is "<type>_<media id>".
            names = {*keys, *(key.rpartition("_")[2] for key in keys)}
            return Likeness.SAME if names & self.media_ids else Likeness.OTHER
        text, blind = shown(post)
        if text == self.text:
            # Our media should be named here. Where they are not, the text alone is too little.
            return Likeness.SAME if len(keys) == self.media_count else Likeness.UNDECIDED
        # The same words around other links: X may write a link in another way than its author did.
        return Likeness.UNDECIDED if blind == self.blind else Likeness.OTHER


# --- Reading the feed -------------------------------------------------------------------------------------


def _page(call: Call, user: str, since: datetime, token: str | None) -> Reply:
    """One page of the account's own posts, newest first.

    The guides and all known clients say ``tweet.fields``; the OpenAPI document 2.167 says ``post.fields``.
    The second name is tried where X refuses the first.
    """
    params = {
        "start_time": since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "max_results": str(PAGE),
        "exclude": "retweets",
    }
    if token:
        params["pagination_token"] = token
    path = f"/2/users/{user}/tweets"
    asked = {"tweet.fields": FIELDS, "expansions": EXPANSIONS}
    reply = api.request(call, "GET", path, effect=Effect.READ, params={**params, **asked})
    if reply.status == 400 and b"tweet.fields" in reply.body:
        asked = {"post.fields": FIELDS_BY_THE_DOCUMENT, "expansions": EXPANSIONS_BY_THE_DOCUMENT}
        reply = api.request(call, "GET", path, effect=Effect.READ, params={**params, **asked})
    return reply


def _failure(call: Call, reply: Reply) -> Reconciled:
    refused = api.refusal(call, reply)
    if isinstance(refused, AuthExpired | RateLimited):
        return refused
    return Inconclusive(refused.message, retry_after_s(reply, call.now()))


def _own_id(call: Call) -> str | Reconciled:
    if call.account.remote_id:
        return call.account.remote_id
    reply = api.request(call, "GET", "/2/users/me", effect=Effect.READ)
    user = api.data(reply).get("id")
    return str(user) if user else _failure(call, reply)


def look_up(call: Call, draft: Draft, doubt: Doubt) -> Reconciled:
    """Reads the feed back to a minute before the attempt began, and no less: only then ``Absent`` counts."""
    user = _own_id(call)
    if not isinstance(user, str):
        return user
    since = doubt.started_at - CLOCK_MARGIN
    posts: list[dict[str, Json]] = []
    token: str | None = None
    for _ in range(MAX_PAGES):
        reply = _page(call, user, since, token)
        answer = mapping(reply.json())
        meta = mapping(answer.get("meta"))
        if reply.status != 200 or not ("data" in answer or "result_count" in meta):
            return _failure(call, reply)
        posts += objects(answer.get("data"))
        token = meta.get("next_token")
        if not token:
            return _decide(call, Sought.of(call, draft), posts, doubt, since)
    return Inconclusive(f"More than {MAX_PAGES * PAGE} posts since the attempt; not all were read.")


def _decide(call: Call, sought: Sought, posts: list[dict[str, Json]], doubt: Doubt, since: datetime) -> Reconciled:
    undecided = False
    same: list[Found] = []
    for post in posts:
        remote_id = str(post.get("id") or "")
        created = utc(post.get("created_at"))
        if not remote_id.isdecimal() or remote_id in doubt.taken_remote_ids or (created and created < since):
            continue
        likeness = sought.compare(post)
        undecided = undecided or likeness is Likeness.UNDECIDED
        if likeness is Likeness.SAME:
            same.append(Found(remote_id, permalink(call.account.handle, remote_id), created))
    if same:
        # The oldest attempt is asked about first and takes the oldest post; ids grow with time.
        return min(same, key=lambda found: int(found.remote_id or 0))
    if undecided:
        return Inconclusive("A post with this text is there, but its links or media could not be compared.")
    return Absent()
