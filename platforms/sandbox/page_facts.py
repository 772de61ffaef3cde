"""What a post's readers see beside its text and pictures: who may see it, warnings, polls, what kind it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from platforms.sandbox.ledger import Post

FACTS_STYLE = """
.chips{display:flex;gap:.3rem;flex-wrap:wrap;margin:0 0 .4rem}
.chips span{border:1px solid var(--line);border-radius:99px;padding:0 .55rem;font-size:.75rem;color:var(--soft)}
.chips .warn{color:#c62828;border-color:currentColor}
ul.poll{list-style:none;margin:0 0 .5rem;padding:0}
ul.poll li{border:1px solid var(--line);border-radius:8px;padding:.2rem .6rem;margin:.25rem 0}
.strip{display:flex;gap:.4rem;flex-wrap:wrap;padding:.5rem 1.25rem 0}
.strip .none{opacity:.45}
"""

_PRIVACY = {
    "PUBLIC_TO_EVERYONE": "everyone",
    "MUTUAL_FOLLOW_FRIENDS": "friends only",
    "FOLLOWER_OF_CREATOR": "followers only",
    "SELF_ONLY": "only the creator",
    "inbox": "in the creator's inbox",
}
_PRODUCTS = {"FEED": "", "REELS": "reel", "CAROUSEL": "carousel", "STORY": "story", "COMMENT": "comment"}
_VISIBILITY = {"public": "", "unlisted": "unlisted", "private": "followers only", "direct": "mentioned only"}

Told = Callable[[Any], str]
_CHIPS: Mapping[str, Told] = {
    "privacy": lambda value: _PRIVACY.get(value, str(value)),
    "product": lambda value: _PRODUCTS.get(value, str(value).lower()),
    "visibility": lambda value: _VISIBILITY.get(value, str(value)),
    "card": lambda value: f"card: {value}",
    "quotes": lambda value: f"quotes {value}",
    "collaborators": lambda value: f"with {value}",
    "location_id": lambda value: f"at place {value}",
    "slides": lambda value: f"{len(value)} slides",
}


def facts(post: Post) -> str:
    """As HTML; empty where there is nothing to tell."""
    told = [f"<span>{escape(words)}</span>" for words in _words(post.fields)]
    if warning := post.fields.get("warning"):
        told.insert(0, f'<span class="warn">CW: {escape(str(warning))}</span>')
    if any(picture.mime.startswith("video/") for picture in post.pictures):
        told.append("<span>video</span>")
    elif len(post.pictures) > 1:
        told.append(f"<span>{len(post.pictures)} pictures</span>")
    chips = f'<div class="chips">{"".join(told)}</div>' if told else ""
    choices = post.fields.get("poll") or ()
    poll = "".join(f"<li>{escape(_choice(one))}</li>" for one in choices)
    return chips + (f'<ul class="poll">{poll}</ul>' if poll else "")


def _words(fields: Mapping[str, Any]) -> list[str]:
    return [words for name, told in _CHIPS.items() if fields.get(name) and (words := told(fields[name]))]


def _choice(one: Any) -> str:
    """A choice of a poll: text, or an object with its label."""
    return str(one.get("label", one)) if isinstance(one, Mapping) else str(one)
