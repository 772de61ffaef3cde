"""An HTTP server that behaves as the platforms' contracts say, with faults on demand, and counts its posts.

For ``make demo``, tests, crash runs and dry runs: nothing leaves this machine, and every double is found.
"""

from platforms.sandbox.box import Sandbox
from platforms.sandbox.emulator import Settings

__all__ = ["Sandbox", "Settings"]
