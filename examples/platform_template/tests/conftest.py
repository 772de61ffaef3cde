"""The conformance suite is installed code, not a test file: pytest has to be told to explain its assertions."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("platforms.conformance")
