"""What the processes under test do first, where their environment says so (it is put there as ``sitecustomize``):
another host's name, pictures that are fetched from this machine, and a family that does not wait longer each time
before it replaces the dead."""

import os
import socket

if "CRASH_HOST" in os.environ:
    socket.gethostname = lambda: os.environ["CRASH_HOST"]
if "CRASH_FETCHES_HERE" in os.environ:
    import functools

    from media import fetch

    # The parameter is the guard's own, for tests; nothing but loopback is let through.
    fetch.download = functools.partial(fetch.download, allow_loopback=True)
if "CRASH_FORKS_AT_ONCE" in os.environ:
    from stack import backoff

    backoff.backoff = lambda _deaths: 0.05
