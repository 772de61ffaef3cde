"""What becomes of an animation on each platform, judged as ``check`` does: the placement and the recipe agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from media.probe import Probe
from platforms.base import AccountRef
from scheduler import checking
from scheduler.intake import Arrived
from scheduler.options import post_options

STILL = {"post": {"animation": "first_frame"}}
TIKTOK = {"tiktok": {"privacy": "SELF_ONLY"}}
PIN = {"pinterest": {"board": "123456"}}


def picture(name: str) -> Arrived:
    """A file of 640 x 640 as its name says: ``anim.gif`` moves, ``still.png`` does not."""
    form = {"gif": "GIF", "webp": "WEBP", "png": "PNG", "avif": "AVIF"}[name.rpartition(".")[2]]
    moves = name.startswith("anim")
    found = Probe(
        kind="gif" if form == "GIF" and moves else "image",
        format=form,
        mime=f"image/{form.lower()}",
        size=90_000,
        sha256=name.encode().hex().ljust(64, "0"),
        width=640,
        height=640,
        orientation=1,
        mode="RGB",
        icc=None,
        has_alpha=False,
        animated=moves,
        frames=10 if moves else 1,
        duration_s=1.0 if moves else None,
    )
    return Arrived(name=name, alt="", path=Path(name), probe=found)


@pytest.mark.parametrize(
    ("platform", "names", "options", "expected"),
    [
        ("instagram", "anim.gif", {}, "reel video"),
        *(("instagram", f"anim.{kind}", {}, "reel video") for kind in ("webp", "png", "avif")),
        *(("instagram", f"anim.{kind}", STILL, "feed draw") for kind in ("gif", "webp", "png", "avif")),
        ("instagram", "anim.webp", {"instagram": {"placement": "story"}}, "story video"),
        ("instagram", "anim.gif still.png", {}, "carousel video draw"),
        ("instagram", "anim.webp still.png", {}, "carousel video draw"),
        ("instagram", "anim.gif still.png", STILL, "carousel draw draw"),
        *(("tiktok", f"anim.{kind}", TIKTOK, "video video") for kind in ("gif", "webp", "png", "avif")),
        *(("tiktok", f"anim.{kind}", {**TIKTOK, **STILL}, "photo draw") for kind in ("gif", "webp", "png")),
        ("tiktok", "anim.gif still.webp", {**TIKTOK, **STILL}, "photo draw keep"),
        ("x", "anim.gif", {}, "post keep"),
        ("x", "anim.webp", {}, "post animate"),
        ("x", "anim.gif still.png", STILL, "post draw keep"),
        ("x", "anim.webp still.png", {}, "mixed"),
        ("bluesky", "anim.webp", {}, "post video"),
        ("bluesky", "anim.gif still.png", STILL, "post draw keep"),
        ("bluesky", "anim.webp still.png", {}, "mixed"),
        ("mastodon", "anim.gif", {}, "post keep"),
        ("mastodon", "anim.png", {}, "post animate"),
        ("mastodon", "anim.gif still.png", STILL, "post draw keep"),
        ("mastodon", "anim.webp still.png", {}, "mixed"),
        ("pinterest", "anim.gif", PIN, "animated"),
        ("pinterest", "anim.gif", {**PIN, **STILL}, "pin draw"),
        ("pinterest", "anim.webp", {**PIN, **STILL}, "pin draw"),
    ],
)
def test_an_animation(bare_environment: Any, platform: str, names: str, options: dict[str, Any], expected: str) -> None:
    settings = bare_environment.change(
        R2_ENDPOINT_URL="https://r2.example.com", R2_PUBLIC_URL="https://1.1.1.1", R2_BUCKET="b",
        R2_ACCESS_KEY_ID="k", R2_SECRET_ACCESS_KEY="s",
    )  # fmt: skip
    account = AccountRef(platform, "acme", "acme", "1", {"email_confirmed": True})
    post, _ = post_options(options)
    text = "" if "story" in str(options) else "Hello"
    told = checking.check_one(text, account, [picture(one) for one in names.split()], options, post, settings)
    if told.violations:
        assert expected in [one.code for one in told.violations], told.violations
        return
    placement = told.module.placement(told.draft)
    assert " ".join([placement, *(one.method for one in told.recipes)]) == expected
