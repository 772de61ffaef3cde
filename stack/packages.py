"""Where a wheel's files are, without importing it: some of these packages do work when imported."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from .home import StackError


def package_folder(name: str) -> Path:
    """The folder of an installed top-level package."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise StackError(
            f"the package {name} is not installed, so the embedded stack cannot run; install it again "
            f"(`pip install schedulerx`), or set DATABASE_URL, REDIS_URL and R2_ENDPOINT_URL to your own"
        )
    return Path(next(iter(spec.submodule_search_locations)))
