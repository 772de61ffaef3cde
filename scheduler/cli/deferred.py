"""Commands that are loaded when they are wanted: ``--help`` and a health check must not import all the others.

Whole, the command line is a second of CPU to import; a health check that runs each minute would pay for it.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


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

    return Group
