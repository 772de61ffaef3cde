"""What the processes under test do first, where their environment says so (it is put there as ``sitecustomize``):
a wall clock that is wrong, another host's name, and pictures that are fetched from this machine."""

import os
import socket
import time

if "CRASH_CLOCK_S" in os.environ:
    _real_time = time.time
    time.time = lambda: _real_time() + float(os.environ["CRASH_CLOCK_S"])
if "CRASH_HOST" in os.environ:
    socket.gethostname = lambda: os.environ["CRASH_HOST"]
if "CRASH_FETCHES_HERE" in os.environ:
    import functools

    from media import fetch

    # The parameter is the guard's own, for tests; nothing but loopback is let through.
    fetch.download = functools.partial(fetch.download, allow_loopback=True)
