"""Sends one message by apprise, in a process of its own: ``python -m scheduler.alert_channel`` with JSON on stdin.

apprise loads more than a hundred plugins (45 MB and a second of work, measured), and a plugin may hang or crash:
neither shall a worker. Nothing of what apprise says is passed on, for it may repeat the URL, which is a secret.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys

TIMEOUT_S = 60.0
SENT, NOT_SENT, BAD_URL = 0, 1, 3


def send(url: str, title: str, body: str, *, timeout_s: float = TIMEOUT_S) -> str:
    """Sends a message to a channel; empty: it was taken; else why not, in words without a secret."""
    told = json.dumps({"url": url, "title": title, "body": body})
    # The child needs none of our secrets, only what leads it to its libraries and the network.
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SCHEDULERX_", "R2_")) and name not in {"DATABASE_URL", "REDIS_URL"}
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "scheduler.alert_channel"],
            input=told,
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=timeout_s,
            check=False,
            env=kept,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {timeout_s:.0f} s"
    except OSError as error:
        return f"could not be started ({type(error).__name__})"
    if done.returncode == BAD_URL:
        return "this is no URL that apprise knows; see its list of services"
    return "" if done.returncode == SENT else "the service did not take it"


def main() -> int:
    """The child's part; its exit code is the answer."""
    told = json.load(sys.stdin)
    import apprise

    logging.disable(logging.CRITICAL)
    channel = apprise.Apprise()
    if not channel.add(told["url"]):
        return BAD_URL
    return SENT if channel.notify(title=told["title"], body=told["body"]) else NOT_SENT


if __name__ == "__main__":
    raise SystemExit(main())
