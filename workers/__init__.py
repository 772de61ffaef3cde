"""Celery: hints become work. Each task commits a state; leases heal what died."""

from __future__ import annotations

import sys

# structlog loads rich wherever it is installed, for tracebacks in colour that nothing here prints: 5 MB in every
# worker. Only its import is spared; whoever wants rich afterwards gets it.
if "rich" not in sys.modules and "structlog" not in sys.modules:
    sys.modules["rich"] = None  # type: ignore[assignment]  # Python's own word for "do not import"
    try:
        import structlog  # noqa: F401 - loaded here, used everywhere
    finally:
        del sys.modules["rich"]
