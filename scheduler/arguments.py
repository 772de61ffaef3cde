"""What a caller hands over, looked at before anything is done with it: types, and characters that no table holds.

Callers are scripts and shells: types are hoped for, not known, and a command line may bring bytes that are no text.
``schedule()``, ``edit()`` and ``check`` read their arguments here, so that what one of them refuses all refuse;
media are read by ``scheduler.intake``, times by ``scheduler.when``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from platforms.base import Violation
from scheduler.errors import InvalidPost, Refused, UnknownAccount
from scheduler.options import POST

UNSTORABLE = "characters that cannot be stored (NUL, lone surrogates)"
KEY_LIMIT = 200


def unstorable(said: Any) -> bool:
    """Whether any text in it has characters that Postgres does not hold."""
    if isinstance(said, str):
        return "\x00" in said or any("\ud800" <= letter <= "\udfff" for letter in said)
    if isinstance(said, Mapping):
        return any(unstorable(one) for pair in said.items() for one in pair)
    return isinstance(said, list | tuple) and any(unstorable(one) for one in said)


def listed(given: object) -> list[Any] | None:
    """What was given as a list; None: it is none. A text, bytes or a mapping would be taken apart into what nobody
    meant."""
    if isinstance(given, str | bytes | bytearray | Mapping) or not isinstance(given, Iterable):
        return None
    return list(given)


def first_part(text: str | Sequence[str], options: dict[str, Any]) -> str:
    """The first part's text; the further parts of a list go into ``options["post"]["thread"]``.

    :raises Refused: no text, an empty list, or the options name a thread as well.
    """
    given: object = text
    if not isinstance(given, str | list | tuple):
        raise Refused(f"text must be a str, or a list of them, not {type(given).__name__}")
    if not given and not isinstance(given, str):
        raise Refused("text is an empty list: give at least one part")
    if unstorable(given):
        raise InvalidPost([Violation("bad_text", f"the text has {UNSTORABLE}")])
    if isinstance(given, str):
        return given
    first: object = given[0]
    if not isinstance(first, str):
        raise Refused(f"text must be a list of str; its first part is {type(first).__name__}")
    if len(given) > 1:
        of_post = options.get(POST, {})
        if not isinstance(of_post, Mapping) or of_post.get("thread"):
            raise Refused('give the parts of a thread once: as a list of texts, or in options["post"]["thread"]')
        options[POST] = {**of_post, "thread": list(given[1:])}
    return first


def options_given(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """The options, in a mapping of our own. :raises Refused: they are no mapping of plain JSON values."""
    given: object = options
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise Refused(
            'options must be a mapping of mappings, such as {"pinterest": {"board": "Recipes"}},'
            f" not {type(given).__name__}"
        )
    odd = [key for key in given if not isinstance(key, str)]
    if odd:
        raise Refused(f"options go by a platform, an account or 'post', not by {odd[0]!r}")
    chosen = dict(given)
    try:
        # Postgres knows no NaN in JSON.
        json.dumps(chosen, sort_keys=True, allow_nan=False)
        bad = unstorable(chosen)
    except (TypeError, ValueError) as error:
        raise Refused(f"options must hold plain JSON values: {error}") from None
    except RecursionError:
        raise Refused("options must hold plain JSON values, not so deep inside each other") from None
    if bad:
        raise InvalidPost([Violation("bad_text", f"the options have {UNSTORABLE}", "options")])
    return chosen


def accounts_named(to: str | Sequence[str]) -> list[str]:
    """The accounts as they were written. :raises Refused: none, or no text."""
    given: object = to
    named = [given] if isinstance(given, str) else listed(given)
    if named is None:
        raise Refused(f"to must be an account such as x:acme, or a list of them, not {type(given).__name__}")
    if not named:
        raise Refused("to is empty: name at least one account, such as x:acme")
    for place, one in enumerate(named):
        if not isinstance(one, str):
            raise Refused(f"to[{place}] must name an account, such as x:acme; it is {type(one).__name__}")
        if unstorable(one):
            raise UnknownAccount(f"{one!r} does not name an account: it has {UNSTORABLE}")
    return named


def key_given(key: str | None) -> str | None:
    """The idempotency key. :raises Refused: it cannot be one."""
    given: object = key
    if given is None:
        return None
    if not isinstance(given, str):
        raise Refused(f"An idempotency key is a str, not {type(given).__name__}")
    if not given:
        raise Refused(f"An idempotency key has 1 to {KEY_LIMIT} characters; leave it out for none")
    if len(given) > KEY_LIMIT:
        raise Refused(
            f"An idempotency key has 1 to {KEY_LIMIT} characters; this one has {len(given)},"
            f" {len(given) - KEY_LIMIT} more"
        )
    if unstorable(given):
        raise Refused(f"The idempotency key {given!r} has {UNSTORABLE}")
    return given
