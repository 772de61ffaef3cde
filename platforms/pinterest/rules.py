"""What a pin's media and the options about them have to be, beyond what each file alone has to be."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import ValidationError

from platforms.base import Draft, MediaKind, Violation
from platforms.pinterest.kinds import MAX_SLIDES, Kind, alt_of, kind_of, pictures_of
from platforms.pinterest.models import Options


def violations(draft: Draft, alt_limit: int) -> Iterator[Violation]:
    """Every rule that the draft's media break."""
    yield from _number(draft)
    yield from _alt_texts(draft, alt_limit)
    try:
        options = Options.model_validate(dict(draft.options))
    except ValidationError:
        return  # named already
    yield from _options(draft, options)


def _number(draft: Draft) -> Iterator[Violation]:
    videos = sum(item.kind is MediaKind.VIDEO for item in draft.media)
    if not draft.media:
        yield _wrong("media_required", "A pin needs an image or a video.")
    elif videos > 1 or (videos and len(draft.media) > 2):
        yield _wrong("too_many_media", "A video pin has one video, and at most one picture: its cover.")
    elif len(draft.media) > MAX_SLIDES:
        yield _wrong("too_many_media", f"A carousel has up to {MAX_SLIDES} pictures.")
    # As they will be sent; before that those of one ratio are brought to one size.
    sizes = {(item.width, item.height) for item in draft.media if item.read is not None}
    if kind_of(draft) is Kind.CAROUSEL and len(sizes) > 1:
        yield _wrong("unequal_size", "All pictures of a carousel must have the same width and height.")


def _alt_texts(draft: Draft, limit: int) -> Iterator[Violation]:
    for item in draft.media:
        if len(item.alt) > limit:
            message = f"The alt text has {len(item.alt)} characters; Pinterest allows {limit}."
            yield _wrong("alt_too_long", message, "alt", item.name)
    together = len(alt_of(draft))
    if together > limit >= max((len(item.alt) for item in draft.media), default=0):
        message = f"A pin has one alt text; those of its pictures have {together} characters together, {limit} at most."
        yield _wrong("alt_too_long", message, "alt")


def _options(draft: Draft, options: Options) -> Iterator[Violation]:
    kind = kind_of(draft)
    useless = dict.fromkeys(("slides", "first_slide") if kind is not Kind.CAROUSEL else (), "carousels")
    useless |= dict.fromkeys(("cover_time_s",) if kind is not Kind.VIDEO else (), "videos")
    for name, where in useless.items():
        if draft.media and getattr(options, name) != Options.model_fields[name].get_default(call_default_factory=True):
            yield _wrong("option_without_effect", f"{name} is for {where}.", f"options.{name}")
    if kind is Kind.CAROUSEL and len(options.slides) > len(draft.media):
        yield _wrong("too_many_slides", "There are words for more slides than there are pictures.", "options.slides")
    if kind is Kind.CAROUSEL and options.first_slide >= len(draft.media):
        yield _wrong("first_slide", "The first slide is none of the pictures.", "options.first_slide")
    if kind is Kind.VIDEO and pictures_of(draft) and options.cover_time_s is not None:
        message = "The cover is a picture of yours or a moment of the video, not both."
        yield _wrong("two_covers", message, "options.cover_time_s")
    if kind is Kind.VIDEO and options.media == "url" and not pictures_of(draft):
        yield _wrong("option_without_effect", "Pinterest takes a video as bytes only.", "options.media")


def _wrong(code: str, message: str, field: str = "media", file: str | None = None) -> Violation:
    return Violation(code, message, field, file or None, "pinterest")
