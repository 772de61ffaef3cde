"""What one account gets of a post: the drafts of its parts, in order. A plain post has one part.

The same for checking, for scheduling and for the workers: the parts follow from the version alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from platforms.base import AccountRef, Draft, HasSequels, MediaItem, Platform, Violation
from scheduler.options import content_for, for_target, post_options


@dataclass(frozen=True)
class Parts:
    """One account's share of a post."""

    drafts: tuple[Draft, ...]
    """At least one; more for a thread, or where something follows the post (a first comment)."""
    files: tuple[tuple[int, ...], ...]
    """For each draft: which of the post's media it carries, by place."""
    threaded: int
    """How many of the drafts the author wrote; what follows was made by the module of those."""
    violations: tuple[Violation, ...]
    """Of the content and the options; not yet of the platform's rules."""

    @property
    def uses(self) -> tuple[int, ...]:
        """The places of all media that this account needs, in the order of the parts."""
        return tuple(place for files in self.files for place in files)

    def part_with(self, place: int) -> int:
        """The part that carries the post's medium at ``place``."""
        return next(index for index, files in enumerate(self.files) if place in files)


def parts_of(
    text: str,
    items: Mapping[int, MediaItem],
    count: int,
    options: Mapping[str, Any],
    module: Platform,
    account: AccountRef,
) -> Parts:
    """The parts of a post for one account.

    :param items: the post's media by place; places the account does not use may be missing.
    :param count: how many media the post has.
    """
    own, wrong = content_for(options, account.platform, account.name)
    post, _ = post_options(options)
    further = post.thread if own.thread is None else own.thread
    chosen, bad = for_target(options, account.platform, account.name)
    wrong = bad + wrong
    named = [part.files for part in further]
    taken = {place for files in named for place in files}
    first = own.files if own.files is not None else tuple(place for place in range(count) if place not in taken)
    files = [first, *named]
    wrong += _misplaced(files, count, account)
    if wrong and any(one.code in {"no_such_file", "file_twice"} for one in wrong):
        files = [tuple(dict.fromkeys(place for place in one if 0 <= place < count)) for one in files]
    if further and not module.capabilities.threads:
        wrong.append(
            Violation(
                "no_threads",
                f"{account.platform} has no threads; give it a text of its own and no further parts:"
                f' options={{"{account.platform}": {{"text": "...", "thread": []}}}}',
                "thread",
                None,
                account.platform,
            )
        )
        further, files = (), files[:1]
    words = [text if own.text is None else own.text, *(part.text for part in further)]
    rest = {name: value for name, value in chosen.items() if name not in module.capabilities.head_only_options}
    if further and not bad:
        rest = module.options_model.model_validate(rest).model_dump(mode="json")
    drafts = tuple(
        Draft(
            text=one,
            account=account,
            media=tuple(items[place] for place in files[index] if place in items),
            options=chosen if index == 0 else rest,
            part=index,
            parts=len(words),
        )
        for index, one in enumerate(words)
    )
    threaded = len(drafts)
    if isinstance(module, HasSequels) and not wrong:
        more = module.sequels(drafts[0])
        drafts = tuple(replace(one, parts=threaded + len(more)) for one in drafts) + tuple(
            replace(one, part=threaded + index, parts=threaded + len(more)) for index, one in enumerate(more)
        )
        files += [()] * len(more)
    return Parts(drafts, tuple(files[: len(drafts)]), threaded, tuple(wrong))


def _misplaced(files: list[tuple[int, ...]], count: int, account: AccountRef) -> list[Violation]:
    """Places that name no medium, or one medium twice."""
    wrong = []
    seen: set[int] = set()
    for part, places in enumerate(files):
        where = "files" if part == 0 else f"thread[{part}].files"
        for place in places:
            if not 0 <= place < count:
                told = f"there is no medium at place {place}: the post has {count}, counted from 0"
                wrong.append(Violation("no_such_file", told, where, None, account.platform))
            elif place in seen:
                told = f"the medium at place {place} is named twice"
                wrong.append(Violation("file_twice", told, where, None, account.platform))
            seen.add(place)
    return wrong
