"""What a terminal is asked for when an account is added: which fields are needed, and in what form."""

from __future__ import annotations

import getpass

import pytest

from scheduler.cli import accounts


@pytest.mark.parametrize(
    ("platform", "asked", "said"),
    [
        ("x", ["expires_at (may be empty; 2026-12-24T18:00+01:00, or seconds since 1970)"],
         "Either OAuth 2.0 (access_token;"),
        ("pinterest", ["access_token (needed)", "access_tier (may be empty; one of trial, standard)"], "OAuth 2.0."),
        ("instagram", ["login (may be empty; one of instagram, facebook)"], "A token of Instagram Login"),
        ("mastodon", ["server (needed, but for a sandbox; such as https://mastodon.social)"], "server"),
        ("bluesky", ["identifier (needed: handle, DID or e-mail address)", "password (needed: an app password)",
                     "server (may be empty)"], "app password"),
    ],
)  # fmt: skip
def test_a_person_is_told_what_is_needed(
    platform: str, asked: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts: list[str] = []
    monkeypatch.setattr(getpass, "getpass", lambda prompt: prompts.append(prompt) or "")
    assert accounts._ask(platform) == {}
    assert set(asked) <= {prompt.removesuffix(": ") for prompt in prompts}
    if platform == "bluesky":
        assert len(prompts) == len(asked), "the session is nobody's to type"
    told = capsys.readouterr()
    assert said in told.err
    assert not told.out
