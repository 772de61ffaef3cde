"""The rules, applied to one post and all its targets: the same in ``check``, in ``schedule()`` and in workers.

Every violation of every target is reported at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from media import recipe, rules, sets
from media.errors import MediaRefused
from media.probe import Probe
from media.rules import MediaRule
from platforms import registry
from platforms.base import AccountRef, Capabilities, Draft, HasOwnMediaRules, Platform, Transport, Violation
from scheduler.content import Parts, parts_of
from scheduler.intake import Arrived
from scheduler.options import PostOptions
from scheduler.settings import Settings


@dataclass(frozen=True)
class Target:
    """One account a post shall go to, with everything that was decided about it."""

    account: AccountRef
    module: Platform
    parts: Parts
    recipes: tuple[Any, ...] = ()
    """One for each medium it uses, in the order of ``uses``; empty where a file is not fetched yet."""
    violations: tuple[Violation, ...] = field(default=())

    @property
    def draft(self) -> Draft:
        """The first part; of a plain post the only one."""
        return self.parts.drafts[0]

    @property
    def uses(self) -> tuple[int, ...]:
        """The places of the post's media that go to this account, in the order of its parts."""
        return self.parts.uses

    @property
    def needs_prepare(self) -> bool:
        """Whether the platform has something to be prepared for any of the parts."""
        return any(self.module.needs_prepare(draft) for draft in self.parts.drafts)


def check(
    text: str,
    accounts: Sequence[AccountRef],
    arrived: Sequence[Arrived],
    options: Mapping[str, Any],
    post: PostOptions,
    settings: Settings,
) -> list[Target]:
    """Applies all rules; one result for each account, with its violations."""
    return [check_one(text, account, arrived, options, post, settings) for account in accounts]


def check_one(
    text: str,
    account: AccountRef,
    arrived: Sequence[Arrived],
    options: Mapping[str, Any],
    post: PostOptions,
    settings: Settings,
) -> Target:
    """The rules of one account's platform, applied to each part that it gets."""
    module = registry.get(account.platform)
    items = {place: one.item(still=post.animation == "first_frame") for place, one in enumerate(arrived)}
    parts = parts_of(text, items, len(arrived), options, module, account)
    wrong = list(parts.violations)
    # With options that cannot be read, the module's own checks would mostly report the consequences.
    unread = bool(wrong)
    recipes: list[Any] = []
    for draft, files in zip(parts.drafts[: parts.threaded], parts.files, strict=False):
        own = [arrived[place] for place in files]
        found, made = _check_part(draft, own, module, post, unread=unread)
        recipes += made
        wrong += [_in_part(one, draft) for one in found]
    if (
        arrived
        and not wrong
        and any(draft.media and must_pull(module.capabilities, draft, module) for draft in parts.drafts)
        and not reachable(settings, account.platform)
    ):
        wrong.append(
            Violation(
                "store_not_public",
                f"{account.platform} fetches media from our store, and {host_of(settings)} cannot be reached from"
                " outside; set R2_PUBLIC_URL to a public address of the bucket",
                "media",
                None,
                account.platform,
            )
        )
    told = tuple(
        one if one.platform else Violation(one.code, one.message, one.field, one.file, account.platform)
        for one in wrong
    )
    known = len(recipes) == len(parts.uses)
    return Target(account, module, parts, tuple(recipes) if known and not told else (), told)


def _check_part(
    draft: Draft, arrived: Sequence[Arrived], module: Platform, post: PostOptions, *, unread: bool
) -> tuple[list[Violation], list[Any]]:
    """What is wrong with one part, and the recipes that make its files fit."""
    wrong = too_long(draft.text, module) if unread else list(module.validate(draft))
    rule = placement_rule(module, draft)
    if rule is None:
        return wrong, []
    probes = [(one.probe, one.name) for one in arrived if one.probe is not None]
    found, recipes = fit(probes, rule, post, draft.account.platform, count=len(arrived))
    said = {bad.code for bad in wrong}
    found = [one for one in found if one.file or one.code not in said]
    if again := _number_told_twice(wrong, found, len(arrived), rule):
        found.remove(again)
    return wrong + found, recipes


def _number_told_twice(
    wrong: Sequence[Violation], found: Sequence[Violation], count: int, rule: MediaRule
) -> Violation | None:
    """What the rule says of the number of files, where the module has said it of the same limit."""
    if count > rule.max_count:
        code, limit = "too_many_media", rf"\b({rule.max_count}{'|one' if rule.max_count == 1 else ''})\b"
    elif count == 0 and rule.min_count == 1:
        code, limit = "media_required", ""
    else:
        return None
    if not any(one.code == code and not one.file and re.search(limit, one.message) for one in wrong):
        return None
    # The number of files comes before that of videos among them, which is another fault of the same code.
    return next((one for one in found if one.code == "count" and not one.file), None)


def _in_part(one: Violation, draft: Draft) -> Violation:
    """A violation that says which part of the thread it speaks of."""
    if draft.part == 0:
        return one
    message = f"part {draft.part + 1} of the thread: {one.message}"
    return Violation(one.code, message, f"thread[{draft.part}].{one.field}", one.file, one.platform)


def too_long(text: str, module: Platform) -> list[Violation]:
    """Whether a text exceeds the platform's limit, by the platform's own count."""
    length, limit = module.text_length(text), module.capabilities.text_limit
    if length <= limit:
        return []
    unit = module.capabilities.text_unit
    message = f"the text counts {length}, {length - limit} more than the {limit} that {module.name} takes ({unit})"
    return [Violation("text_too_long", message, "text", None, module.name)]


def fit(
    probes: Sequence[tuple[Probe, str]], rule: MediaRule, post: PostOptions, platform: str, *, count: int
) -> tuple[list[Violation], list[recipe.Recipe]]:
    """What is wrong with one part's files for a rule, and the recipes that make them fit.

    :param count: how many files the part has. Those that are not known yet are left aside, and with them what is asked
        of all together; no recipes then where one file's hangs on the others (``sets.depends``).
    """
    chosen = recipe.Options(fit=post.fit, background=post.background, animation=post.animation)
    wrong = [
        Violation(one.code, one.message, one.field, one.file or name, platform)
        for found, name in probes
        for one in rules.violations(found, rule, name=name, fit=post.fit, still=chosen.still)
    ]
    files = [found for found, _ in probes]
    whole = len(files) == count
    if whole:
        wrong += [
            Violation(one.code, one.message, one.field, one.file, platform)
            for one in sets.violations_of_set(files, rule, still=chosen.still, fit=post.fit)
        ]
    if wrong or (sets.depends(rule) and not whole):
        return wrong, []
    try:
        return [], sets.plan_set(files, rule, [name for _, name in probes], options=chosen, count=count)
    except MediaRefused as error:
        # Only planning finds that a long video in few bytes would not be worth seeing.
        return [Violation(error.code, error.message, "media", error.file, platform)], []


def placement_rule(module: Platform, draft: Draft) -> MediaRule | None:
    """The media rule of the draft's placement for its account; None where the module takes no media there."""
    rule = module.capabilities.media.get(module.placement(draft))
    if rule is not None and isinstance(module, HasOwnMediaRules):
        return module.media_rule(rule, draft.account)
    return rule


def must_pull(capabilities: Capabilities, draft: Draft, module: Platform) -> bool:
    """Whether the platform has to fetch this draft's media by URL."""
    return capabilities.transport is Transport.URL or module.wants_url(draft)


def reachable(settings: Settings, platform: str) -> bool:
    """Whether the platform's servers can be expected to reach our store.

    True for a public store; also where the platform's API itself is pointed at this machine (a sandbox),
    which then reaches what this machine reaches.
    """
    from media.storage import Store

    override = settings.api_url(platform)
    if override and (urlsplit(override).hostname or "") in {"127.0.0.1", "localhost", "::1"}:
        return True
    return bool(settings.r2_endpoint_url) and Store(settings.store()).is_public()


def host_of(settings: Settings) -> str:
    """The store's host, for messages."""
    return urlsplit(settings.r2_public_url or settings.r2_endpoint_url or "").netloc or "no store"
