#!/bin/sh
# Makes the virtual environment and installs what requirements.lock pins, then this project, editable.
# Safe to run twice, at once, and after an interrupted run.
set -eu
venv=$1
python=${PYTHON:-python3}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "Python 3.11 or newer is needed; $("$python" --version) was found. Use: make PYTHON=python3.12 ..." >&2
    exit 1
}

# One installer at a time. The kernel holds the lock (on the folder of the environment) for as long as the installer
# lives, or a pip that it left behind: whenever one is killed, the next has nothing to wait for. sh alone has no flock.
if [ "${2:-}" != locked ]; then
    exec "$python" -c '
import fcntl, os, sys, time
script, venv = sys.argv[1:]
lock = os.open(os.path.dirname(os.path.abspath(venv)), os.O_RDONLY)
end = time.monotonic() + 600
while True:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        break
    except BlockingIOError:
        if time.monotonic() > end:
            sys.exit("another installation into " + venv + " has been running for ten minutes")
        time.sleep(0.2)
    except OSError:
        break  # a file system without locks: whoever installs there twice at once has to know
os.set_inheritable(lock, True)
os.execvp("sh", ["sh", script, venv, "locked"])
' "$0" "$venv"
fi

if [ "$venv/.installed" -nt requirements.lock ] && [ "$venv/.installed" -nt pyproject.toml ]; then
    exit 0  # the other one did it meanwhile
fi

echo "Installing into $venv (a minute or two, more on a slow machine or line) ..."
# A venv that was moved or broken off is made anew.
"$venv/bin/python" -c '' 2>/dev/null || "$python" -m venv --clear "$venv"
"$venv/bin/python" -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
"$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
touch "$venv/.installed"
