"""Commands that are loaded when they are wanted: ``--help`` and a health check must not import all the others.

Whole, the command line is a second of CPU to import; a health check that runs each minute would pay for it.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

WRONG_USAGE: type[Any] = next(one for one in typer.BadParameter.__mro__ if one.__name__ == "ClickException")
"""What every slip on the command line is. By name, since typer says of its own kinds of error only some."""


class Deferred(TyperCommand):
    """A command by its place (``module:name``) and the line that the help shows for it.

    What the place holds is a function, which becomes a command, or a ``typer.Typer``, which becomes a group.
    """

    def __init__(self, name: str, place: str, words: str) -> None:
        super().__init__(name=name, help=words)
        self._place = place

    def load(self) -> Any:
        """The command itself."""
        module, _, attribute = self._place.partition(":")
        found = getattr(importlib.import_module(module), attribute)
        if isinstance(found, typer.Typer):
            group = typer.main.get_group(found)
            group.name = self.name
            return group
        alone = typer.Typer(add_completion=False)
        alone.command(self.name)(found)
        return typer.main.get_command(alone)

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Typer's step from a name to something that runs: from here on it is the command itself."""
        return self.load().make_context(info_name, args, parent=parent, **extra)


def group_of(commands: Mapping[str, tuple[str, str]]) -> type[TyperGroup]:
    """The class of a group of such commands: name -> (place, words)."""

    class Group(TyperGroup):
        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes)
            for name, (place, words) in commands.items():
                self.add_command(Deferred(name, place, words))

        def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> Any:
            """Runs a command line. Whoever asked for JSON gets wrong usage as JSON, too."""
            words = list(sys.argv[1:] if args is None else args)
            if not _wants_json(words) or not extra.get("standalone_mode", True):
                return super().main(args, *rest, **extra)
            try:
                done = super().main(args, *rest, **{**extra, "standalone_mode": False})
            except typer.Abort:
                sys.exit(1)
            except WRONG_USAGE as error:
                told = {"ok": False, "error": {"code": "usage", "message": error.format_message()}}
                sys.stdout.write(json.dumps(told, indent=2, ensure_ascii=False) + "\n")
                sys.exit(error.exit_code)
            sys.exit(done if isinstance(done, int) else 0)

        def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
            """Before anything is made of the words: they are text. What the system hands over need not be."""
            for word in args:
                if any("\ud800" <= letter <= "\udfff" for letter in word):
                    shown = os.fsencode(word).decode("utf-8", "backslashreplace")[:200]
                    raise typer.BadParameter(f"{shown} is not text in UTF-8; write it in UTF-8, or rename the file")
            return super().make_context(info_name, args, parent=parent, **extra)

    return Group


def _wants_json(words: Sequence[str]) -> bool:
    """Whether ``--json`` is among the options."""
    return "--json" in (words[: words.index("--")] if "--" in words else words)
