"""What each platform can do, as data: what ``schedulerx platforms show NAME --json`` prints.

Everything comes from the module itself: its capabilities, its media rules, its models, and what it answers for an
example of each kind of post. Sizes are bytes, lengths pixels, times seconds, ratios width / height.
"""

from __future__ import annotations

from typing import Any

from media.rules import MediaRule, VideoRule
from platforms import registry
from platforms.base import HasSequels, Platform, PublishingCall, Quota
from platforms.connect import Connectable
from platforms.errors import UnknownPlatform
from platforms.kinds import KindOfPost, kinds_of
from scheduler.capabilities_models import credentials_of, options_of, schema_of, source_of
from scheduler.capabilities_words import promise
from scheduler.costs import charge
from scheduler.errors import Refused


def find(name: str) -> Platform:
    """The module of that name. :raises Refused: there is none; names those there are."""
    try:
        return registry.get(name)
    except UnknownPlatform:
        if name in registry.names():
            raise Refused(f"What is registered for {name!r} does not have the face of a platform module") from None
        raise Refused(f"There is no platform {name!r}; there are: {', '.join(registry.names())}") from None


def describe(module: Platform) -> dict[str, Any]:
    """Everything that can be told about a platform without an account, as plain JSON values."""
    has = module.capabilities
    options = options_of(module.options_model)
    return {
        "name": module.name,
        "title": has.title,
        "source": has.source,
        "text": {"limit": has.text_limit, "counted": has.text_unit},
        "alt_text_limit": has.alt_text_limit,
        "threads": has.threads,
        "polls": any(option["name"] == "poll" for option in options),
        "first_comment": isinstance(module, HasSequels),
        "transport": has.transport.value,
        "kinds": [_kind(module, kind) for kind in kinds_of(module)],
        "media": [_rule(placement, rule) for placement, rule in has.media.items()],
        "prices": _prices(module),
        "quotas": [_quota(quota) for quota in has.quotas],
        "options": options,
        "options_source": source_of(module.options_model),
        "options_schema": schema_of(module.options_model),
        "credentials": credentials_of(module.credentials_model),
        "credentials_help": " ".join((module.credentials_model.__doc__ or "").split()),
        "sign_in": _sign_in(module),
        "prepare_lead_s": has.prepare_lead_s,
        "lifetime_of_prepared_s": has.lifetime_of_prepared_s,
        "refresh_ahead_s": has.refresh_ahead_s,
        "api_hosts": sorted(module.api_hosts),
        "url_pattern": has.url_pattern,
    }


def _kind(module: Platform, kind: KindOfPost) -> dict[str, Any]:
    draft = kind.example
    price = charge(module, [draft])
    return {
        "name": kind.name,
        # What follows a post, such as a comment, stands in no placement of its own.
        "placement": module.placement(draft) if draft.part == 0 else None,
        "media_by": ("url" if module.wants_url(draft) else "bytes") if draft.media else None,
        "prepared": module.needs_prepare(draft),
        "publishing_call": _call(module.publishing_call(draft)),
        "cost": price.as_json() if price else None,
    }


def _prices(module: Platform) -> list[dict[str, str]]:
    """What the kinds of post cost, each price once, the lowest first; empty: nothing."""
    found = {price.words: price for kind in kinds_of(module) if (price := charge(module, [kind.example]))}
    return [price.as_json() for price in sorted(found.values(), key=lambda price: price.amount)]


def _call(call: PublishingCall) -> dict[str, Any]:
    told = promise(call)
    return {
        "name": call.name,
        "reconcile": call.reconcile.value,
        "budget_s": call.budget_s,
        "read_lag_s": call.read_lag_s,
        "key_lifetime_s": call.key_lifetime_s,
        "absence_provable": call.absence_provable,
        "doubles": told.short,
        "doubles_explained": told.long,
    }


def _sign_in(module: Platform) -> list[dict[str, Any]]:
    """The ways to sign in through the platform's own page, with the scopes that are asked for; empty: there is none."""
    if not isinstance(module, Connectable):
        return []
    choice = next((one for one in module.connector.questions if one.choices), None)
    told = [{choice.name: value} for value in choice.choices] if choice else [{}]
    ways = [(" ".join(one.values()) or "oauth", module.connector.facts(one)) for one in told]
    return [
        {
            "way": way,
            "scopes": list(facts.scopes),
            "authorize_url": facts.authorize_url,
            "source": facts.source,
        }
        for way, facts in ways
    ]


def _quota(quota: Quota) -> dict[str, Any]:
    return {
        "name": quota.name,
        "count": quota.count,
        "per_s": quota.per_s,
        "scope": quota.scope,
        "source": quota.source,
    }


def _rule(placement: str, rule: MediaRule) -> dict[str, Any]:
    return {
        "placement": placement,
        "source": rule.source,
        "ours": rule.ours,
        "min_count": rule.min_count,
        "max_count": rule.max_count,
        "pictures": _pictures(rule) if rule.image_mimes else None,
        "animations": _animations(rule),
        "video": None if rule.video is None else _video(rule.video, rule.max_videos),
        "mixed": rule.mixed,
        "same_size": rule.same_size,
        "same_ratio": rule.same_ratio,
        "max_total_bytes": rule.max_total_bytes,
        "alt_text_limit": rule.alt_text_limit,
    }


def _pictures(rule: MediaRule) -> dict[str, Any]:
    return {
        "types": list(rule.image_mimes),
        "max_bytes": rule.max_image_bytes,
        "min_width": rule.min_width,
        "min_height": rule.min_height,
        "max_width": rule.max_width,
        "max_height": rule.max_height,
        "max_pixels": rule.max_image_pixels,
        "max_width_and_height": rule.max_image_sides,
        "min_ratio": round(rule.min_ratio, 4),
        "max_ratio": round(rule.max_ratio, 4),
    }


def _animations(rule: MediaRule) -> dict[str, Any] | None:
    """How an animated picture is taken: as such, as a video, or not at all (None)."""
    if rule.max_gif_bytes is not None:
        return {
            "as": "gif",
            "max_bytes": rule.max_gif_bytes,
            "max_frames": rule.max_gif_frames,
            "max_pixels_of_all_frames": rule.max_gif_pixels,
            "max_width": rule.max_gif_width or rule.max_width,
            "max_height": rule.max_gif_height or rule.max_height,
            "max_pixels": rule.max_gif_area,
            "alone": rule.exclusive_gif,
        }
    return {"as": "video"} if rule.gif_to_video and rule.video is not None else None


def _video(video: VideoRule, most: int) -> dict[str, Any]:
    return {
        "max_count": most,
        "types": list(video.containers),
        "codecs": list(video.codecs),
        "audio_codecs": list(video.audio_codecs),
        "max_bytes": video.max_bytes,
        "min_duration_s": video.min_duration_s,
        "max_duration_s": video.max_duration_s,
        "min_width": video.min_width,
        "min_height": video.min_height,
        "max_width": video.max_width,
        "max_height": video.max_height,
        "max_pixels": video.max_pixels,
        "min_ratio": round(video.min_ratio, 4),
        "max_ratio": round(video.max_ratio, 4),
        "min_fps": video.min_fps,
        "max_fps": video.max_fps,
        "max_bitrate": video.max_bitrate,
        "max_audio_channels": video.max_audio_channels,
        "max_audio_rate": video.max_audio_rate,
        "source": video.source,
    }
