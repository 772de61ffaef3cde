"""Makes the helpers of this folder and the conformance suite importable by their plain names."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "platforms"))
