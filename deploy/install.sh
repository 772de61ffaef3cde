#!/bin/sh
# Makes the virtual environment and installs what requirements.lock pins, then this project, editable.
# Safe to run twice, at once, and after an interrupted run.
set -eu
venv=$1
lock="$venv.lock"
python=${PYTHON:-python3}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "Python 3.11 or newer is needed; $("$python" --version) was found. Use: make PYTHON=python3.12 ..." >&2
    exit 1
}

# One installer at a time: mkdir is atomic. A lock whose owner is gone is taken over.
tries=0
until mkdir "$lock" 2>/dev/null; do
    owner=$(cat "$lock/pid" 2>/dev/null || echo "")
    if [ -n "$owner" ] && ! kill -0 "$owner" 2>/dev/null; then
        rm -rf "$lock"
        continue
    fi
    tries=$((tries + 1))
    [ "$tries" -gt 600 ] && { echo "another installation holds $lock for ten minutes" >&2; exit 1; }
    sleep 1
done
echo $$ > "$lock/pid"
trap 'rm -rf "$lock"' EXIT INT TERM

if [ "$venv/.installed" -nt requirements.lock ] && [ "$venv/.installed" -nt pyproject.toml ]; then
    exit 0  # the other one did it meanwhile
fi

echo "Installing into $venv (a minute or so) ..."
# A venv that was moved or broken off is made anew.
"$venv/bin/python" -c '' 2>/dev/null || "$python" -m venv --clear "$venv"
"$venv/bin/python" -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
"$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
touch "$venv/.installed"
