"""Who acts, where nobody is named."""

from __future__ import annotations

import getpass
import threading

import pytest

from scheduler import audit


def test_the_actor_is_the_named_one_else_the_user_of_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "ada")

    def elsewhere() -> None:
        seen.append(audit.actor())

    seen: list[str] = []
    with audit.acting_as("person:bob"):
        assert audit.actor() == "person:bob"
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert seen == ["script:ada"], "one request's person is not another's"


def test_a_machine_without_user_names_has_an_actor(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr(getpass, "getuser", nobody)
    seen: list[str] = []
    thread = threading.Thread(target=lambda: seen.append(audit.actor()))
    thread.start()
    thread.join()
    assert seen == ["script"]


def test_entries_are_cleaned_before_they_are_kept() -> None:
    kept = audit._plain({"token": "abc", "note": "Bearer abcdefghijkl", "count": 3, "nul": "a\x00b"})
    assert kept == {"token": "[hidden]", "note": "Bearer [hidden]", "count": 3, "nul": "ab"}
