"""Which modules there are, and that threads of one worker may ask for them all at once."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from platforms import registry
from platforms.errors import UnknownPlatform

SIGNS = """
import threading
package_begun, words_begun = threading.Event(), threading.Event()
"""
# The shape of two platforms of which one counts links by a module of the other's package: the first import holds the
# package and waits for the module, the second holds the module and waits for the package.
FILES = {
    "race_signs.py": SIGNS,
    "race_shared/__init__.py": """
from race_signs import package_begun, words_begun
package_begun.set()
words_begun.wait(0.3)
from race_shared.words import LINKS
""",
    "race_shared/endings.py": "ENDINGS = ()",
    "race_shared/words.py": """
from race_signs import words_begun
words_begun.set()
from race_shared.endings import ENDINGS
LINKS = ()
""",
    "race_left.py": """
from race_shared.endings import ENDINGS
from platforms.bluesky import PLATFORM
""",
    "race_right.py": """
from race_signs import package_begun
package_begun.wait(0.3)
from race_shared.words import LINKS
from platforms.bluesky import PLATFORM
""",
    "race-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: race\nVersion: 1.0\n",
    "race-1.0.dist-info/entry_points.txt": (
        f"[{registry.GROUP}]\nrace-left = race_left:PLATFORM\nrace-right = race_right:PLATFORM\n"
    ),
}


@pytest.fixture
def entangled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two installed modules that share a package."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    registry.get("bluesky")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in [name for name in sys.modules if name.startswith("race_")]:
        del sys.modules[name]
    registry.get.cache_clear()


@pytest.mark.usefixtures("entangled")
def test_threads_may_ask_at_once_for_modules_that_share_parts() -> None:
    begin = threading.Barrier(2)

    def load(name: str) -> str:
        begin.wait(10)
        return registry.get(name).name

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(load, ["race-left", "race-right"])) == ["bluesky", "bluesky"]


def test_names_are_sorted_and_each_is_there_once() -> None:
    names = registry.names()
    assert list(names) == sorted(set(names))
    assert {"bluesky", "instagram", "mastodon", "pinterest", "tiktok", "x"} <= set(names)


def test_an_unknown_name_is_told_with_the_known() -> None:
    with pytest.raises(UnknownPlatform, match="there are: bluesky"):
        registry.get("myspace")
