"""The data folder: permissions, the lock, the description and the key."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from stack.home import (
    HomeBusyError,
    HomeLock,
    ObjectStore,
    ProcessRecord,
    StackError,
    StackInfo,
    StackRefusedError,
    default_home,
    ensure_secret_key,
    home_of,
    killed_holder,
    load_stack,
    prepare_home,
    read_secret_key,
    recorded_pids,
    save_stack,
)

INFO = StackInfo(
    database_url="postgresql+psycopg2://u:hidden@127.0.0.1:1/d",
    redis_url="redis://:hidden@127.0.0.1:2/0",
    r2=ObjectStore("http://127.0.0.1:3", "key", "hidden", "bucket"),
    flower_url="http://127.0.0.1:4",
    pids={"beat": ProcessRecord(17, 1234.5)},
)


PASSED = 0o011 if os.geteuid() == 0 else 0
"""Postgres's own user has to get through root's home."""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_home_is_tight(tmp_path: Path) -> None:
    home = prepare_home(tmp_path / "a" / "home")
    assert mode(home) == (0o711 if os.geteuid() == 0 else 0o700)
    assert mode(home / "log") == 0o700


@pytest.mark.parametrize("before", [0o700, 0o711, 0o755])
def test_a_folder_that_is_there_keeps_its_mode_and_what_is_in_it_is_private(tmp_path: Path, before: int) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(before)
    for _ in range(2):  # nor when it is known as ours
        prepare_home(home)
        ensure_secret_key(home)
        assert mode(home) == before | PASSED
    assert {mode(home / name) for name in ("log", "beat")} == {0o700}
    assert mode(home / "secret.key") == 0o600


@pytest.mark.parametrize(("before", "after"), [(0o775, 0o755), (0o757, 0o755), (0o777, 0o755), (0o770, 0o750)])
def test_nobody_else_may_write_into_a_folder_that_is_there(tmp_path: Path, before: int, after: int) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(before)
    prepare_home(home)
    assert mode(home) == after | PASSED


def test_a_folder_with_somebodys_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(StackRefusedError, match=rf"other files in it \(notes.txt\); .* {tmp_path}/schedulerx"):
        prepare_home(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("ours", ["supervisor.lock", "credentials.json", "stack.json", "secret.key"])
def test_a_file_beside_our_own_is_no_obstacle(tmp_path: Path, ours: str) -> None:
    for name in (ours, "notes.txt"):
        (tmp_path / name).write_text("")
    assert prepare_home(tmp_path) == tmp_path


@pytest.mark.parametrize("name", ["lost+found", "runtime", "spool"])
def test_an_empty_volume_and_what_other_commands_make_are_no_obstacle(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    assert prepare_home(tmp_path) == tmp_path


@pytest.mark.parametrize("words", ["/proc/nope", "file/home", "x" * 300, "loop/home"])
def test_a_home_that_cannot_be_made_is_refused_in_words(tmp_path: Path, words: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(StackRefusedError, match=r"cannot be created \([A-Z].*\); set SCHEDULERX_HOME"):
        prepare_home(tmp_path / words)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_home_that_is_read_only_is_refused_and_stays_so(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(StackRefusedError, match=r"cannot be used \(Permission denied\)"):
        prepare_home(tmp_path)
    assert mode(tmp_path) == 0o555
    tmp_path.chmod(0o755)


def test_a_file_in_place_of_the_home_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(StackError, match="is a file; set SCHEDULERX_HOME"):
        prepare_home(tmp_path / "home")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder that belongs to somebody else")
def test_somebody_elses_home_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    os.chown(tmp_path / "home", 65534, 65534)
    with pytest.raises(StackError, match="belongs to another user"):
        prepare_home(tmp_path / "home")


def test_the_variable_names_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SCHEDULERX_HOME", str(tmp_path))
    assert default_home() == tmp_path


def test_without_the_variable_root_and_users_have_their_usual_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SCHEDULERX_HOME", raising=False)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert default_home() == Path("/var/lib/schedulerx")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert default_home().name == "schedulerx"
    assert default_home() != Path("/var/lib/schedulerx")


def test_the_description_comes_back_as_it_was(tmp_path: Path) -> None:
    save_stack(tmp_path, INFO)
    assert load_stack(tmp_path) == INFO
    assert mode(tmp_path / "stack.json") == 0o600
    assert json.loads((tmp_path / "stack.json").read_text())["version"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["stack.json"]  # nothing temporary is left


def test_no_description_is_none(tmp_path: Path) -> None:
    assert load_stack(tmp_path) is None
    assert load_stack(tmp_path / "missing") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "damaged"),
        ("[]", "damaged"),
        ("null", "damaged"),
        ("{}", "damaged"),
        ('{"version": 1, "r2": {"endpoint": "x"}}', "damaged"),
        ('{"version": 1, "database_url": 5}', "damaged"),
        ('{"version": 1, "pids": {"beat": [1, 2]}}', "damaged"),
        ('{"version": 99}', "another version"),
    ],
)
def test_a_description_that_cannot_be_read_says_so(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "stack.json").write_text(text)
    with pytest.raises(StackError, match=words):
        load_stack(tmp_path)


def test_a_folder_in_place_of_the_description_says_so(tmp_path: Path) -> None:
    (tmp_path / "stack.json").mkdir()
    with pytest.raises(StackError, match="damaged"):
        load_stack(tmp_path)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"version": 99, "pids": {"beat": {"pid": 17, "create_time": 3.5, "more": 1}}}', {"beat": (17, 3.5)}),
        ('{"pids": {"beat": {"pid": "many"}}}', {}),
        ("{", {}),
        ("[]", {}),
        ("null", {}),
    ],
)
def test_processes_are_found_in_whatever_can_be_read(
    tmp_path: Path, text: str, found: dict[str, tuple[int, float]]
) -> None:
    (tmp_path / "stack.json").write_text(text)
    assert recorded_pids(tmp_path) == {name: ProcessRecord(*record) for name, record in found.items()}
    assert recorded_pids(tmp_path / "missing") == {}


@pytest.mark.parametrize(
    ("words", "home"), [("~/x", "{home}/x"), (" ~/x ", "{home}/x"), ("rel", "{here}/rel"), ("/a", "/a")]
)
def test_a_named_home_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: str, home: str) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path / "here")
    assert home_of(words) == Path(home.format(home=tmp_path, here=tmp_path / "here"))


def test_a_blank_home_is_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SCHEDULERX_HOME", raising=False)
    usual = default_home()
    monkeypatch.setenv("SCHEDULERX_HOME", " ")
    assert default_home() == usual == home_of("")


def test_printing_the_description_shows_no_password() -> None:
    assert "hidden" not in repr(INFO)
    assert "hidden" not in repr(INFO.r2)


def test_the_key_is_a_fernet_key_made_once(tmp_path: Path) -> None:
    assert read_secret_key(tmp_path) is None
    key = ensure_secret_key(tmp_path)
    assert Fernet(key).decrypt(Fernet(key).encrypt(b"x")) == b"x"
    assert ensure_secret_key(tmp_path) == read_secret_key(tmp_path) == key
    assert mode(tmp_path / "secret.key") == 0o600


def test_a_damaged_key_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_text("half")
    with pytest.raises(StackError, match="backup"):
        ensure_secret_key(tmp_path)
    assert (tmp_path / "secret.key").read_text() == "half"


def test_a_second_lock_is_refused_and_names_the_holder(tmp_path: Path) -> None:
    first, second = HomeLock(tmp_path), HomeLock(tmp_path)
    first.acquire()
    with pytest.raises(HomeBusyError, match=f"process {os.getpid()};"):
        second.acquire()
    first.release()
    second.acquire()
    second.release()
    second.release()  # letting go twice is harmless


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from stack.home import HomeLock;"
        "HomeLock(Path(sys.argv[1])).acquire(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == -9
    assert killed_holder(tmp_path)
    lock = HomeLock(tmp_path)
    lock.acquire()
    assert killed_holder(tmp_path) is None, "somebody runs it again"
    lock.release()
    assert killed_holder(tmp_path) is None, "ended in order"
    assert killed_holder(tmp_path / "missing") is None


def test_reading_the_description_imports_nothing_heavy() -> None:
    code = (
        "import sys; from stack.home import load_stack;"
        "heavy = ('psutil', 'psycopg2', 'redis', 'cryptography', 'platformdirs');"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
