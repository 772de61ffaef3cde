"""The platforms that the sandbox emulates; a further one is a line here."""

from __future__ import annotations

from platforms.sandbox.emulator import Emulator
from platforms.sandbox.pinterest import Pinterest
from platforms.sandbox.x import X

EMULATORS: tuple[type[Emulator], ...] = (X, Pinterest)
