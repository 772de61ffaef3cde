"""Every kind of fault: what the client sees, and whether the post was taken."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import requests
from sandbox_client import Client

from platforms.sandbox import Sandbox
from platforms.sandbox.faults import KINDS

Clients = Callable[[str], Client]


def post(x: Client, text: str = "hello", timeout: float = 20.0) -> requests.Response:
    url = f"{x.box.url}/2/tweets"
    return requests.post(url, json={"text": text}, headers=x.headers, timeout=timeout)


@pytest.mark.parametrize(
    ("kind", "status", "stored"),
    [
        ("rate_limited", 429, 0),
        ("server_error", 503, 0),
        ("server_error_after", 503, 1),
        ("expired_token", 401, 0),
        ("payment_required", 402, 0),
        ("forbidden", 403, 0),
        ("too_large", 413, 0),
        ("html_error_page", 502, 0),
    ],
)
def test_faults_that_answer(box: Sandbox, x: Client, kind: str, status: int, stored: int) -> None:
    box.set_faults([{"step": "x.create", "kind": kind, "count": 1}])
    assert post(x).status_code == status
    assert len(box.accepted()) == stored
    assert post(x).status_code == 201
    assert len(box.accepted()) == stored + 1
    assert box.summary()["faults"][0]["struck"] == 1


@pytest.mark.parametrize(
    ("kind", "stored"), [("reset_early", 0), ("reset_before", 0), ("reset_after", 1), ("cut_answer", 1)]
)
def test_faults_that_cut_the_connection(box: Sandbox, x: Client, kind: str, stored: int) -> None:
    box.set_faults([{"step": "*.publish", "kind": kind, "count": 1}])
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        post(x)
    assert len(box.accepted()) == stored
    assert post(x).status_code == 201


def test_a_status_and_the_headers_can_be_chosen(box: Sandbox, x: Client, pinterest: Client) -> None:
    box.set_faults(
        [
            {"step": "x.create", "kind": "server_error", "status": 500},
            {"step": "x.me", "kind": "rate_limited", "retry_after_s": 30},
            {"step": "pinterest.*", "kind": "rate_limited", "retry_after_s": 30},
        ]
    )
    assert post(x).status_code == 500
    limited = x("GET", "/2/users/me")
    assert 28 < int(limited.headers["x-rate-limit-reset"]) - time.time() <= 31
    assert limited.headers["x-rate-limit-remaining"] == "0"
    other = pinterest("GET", "/v5/boards")
    assert (other.status_code, other.headers["x-ratelimit-reset"]) == (429, "30")


def test_slow_takes_effect_although_the_client_left(box: Sandbox, x: Client) -> None:
    box.set_faults([{"step": "x.create", "kind": "slow", "delay_ms": 400}])
    with pytest.raises(requests.ReadTimeout):
        post(x, timeout=0.1)
    assert box.accepted() == []
    deadline = time.monotonic() + 5
    while not box.accepted() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(box.accepted()) == 1


def test_slow_answer_has_taken_effect_before_the_wait(box: Sandbox, x: Client) -> None:
    box.set_faults([{"step": "x.create", "kind": "slow_answer", "delay_ms": 400}])
    with pytest.raises(requests.ReadTimeout):
        post(x, timeout=0.15)
    assert len(box.accepted()) == 1


def test_drip_outlasts_a_timeout_per_read(box: Sandbox, x: Client) -> None:
    box.set_faults([{"step": "x.create", "kind": "drip", "delay_ms": 4}])
    begun = time.monotonic()
    assert post(x, timeout=0.3).status_code == 201
    assert time.monotonic() - begun > 0.6
    assert len(box.accepted()) == 1


def test_an_expired_token_stays_dead_until_it_is_refreshed(box: Sandbox, client: Clients) -> None:
    made = box.account("x", "acme")
    x = client(made["token"])
    box.set_faults([{"step": "x.create", "kind": "expired_token", "count": 1}])
    assert [post(x).status_code for _ in range(2)] == [401, 401]
    form = {"grant_type": "refresh_token", "refresh_token": made["refresh_token"], "client_id": "app"}
    renewed = requests.post(f"{box.url}/2/oauth2/token", data=form, timeout=10).json()
    assert post(client(renewed["access_token"])).status_code == 201


def test_read_lag_hides_young_posts_from_every_read(box: Sandbox, x: Client, pinterest: Client, board: str) -> None:
    post_id = post(x).json()["data"]["id"]
    user = x("GET", "/2/users/me").json()["data"]["id"]
    box.set_faults([{"step": "*.read", "kind": "read_lag", "lag_s": 0.5}])
    assert x("GET", f"/2/users/{user}/tweets").json()["meta"]["result_count"] == 0
    assert "data" not in x("GET", f"/2/tweets/{post_id}").json()
    assert pinterest("GET", f"/v5/boards/{board}/pins").json()["items"] == []
    time.sleep(0.55)
    assert x("GET", f"/2/users/{user}/tweets").json()["meta"]["result_count"] == 1
    assert len(box.accepted()) == 1


def test_faults_strike_one_account_and_after_some_calls(box: Sandbox, x: Client, client: Clients) -> None:
    other = client("sandbox-x-other")
    box.set_faults([{"step": "x.create", "kind": "forbidden", "account": "other", "skip": 1, "count": 2}])
    assert post(x).status_code == 201
    assert [post(other, str(n)).status_code for n in range(4)] == [201, 403, 403, 201]


def test_probability_is_drawn_from_the_seed(x: Client, box: Sandbox) -> None:
    rules = [{"step": "x.create", "kind": "server_error", "probability": 0.5}]

    def run() -> list[int]:
        box.set_faults(rules)
        return [post(x, str(n)).status_code for n in range(20)]

    first = run()
    assert first == run()
    assert set(first) == {201, 503}


@pytest.mark.parametrize(
    "rules",
    [
        {"kind": "slow"},
        ["slow"],
        [{"kind": "melt"}],
        [{"step": "*"}],
        [{"kind": "slow", "colour": 1}],
        [{"kind": "slow", "probability": 2}],
    ],
)
def test_wrong_faults_are_refused_and_the_old_ones_stay(box: Sandbox, rules: Any) -> None:
    url = f"{box.url}/_sandbox/faults"
    good = [{"kind": "forbidden", "step": "pinterest.*"}]
    assert requests.post(url, json=good, timeout=10).status_code == 200
    answer = requests.post(url, json=rules, timeout=10)
    assert answer.status_code == 400
    assert answer.json()["error"]
    shown = requests.get(url, timeout=10).json()
    assert [rule["step"] for rule in shown["faults"]] == ["pinterest.*"]
    assert set(shown["kinds"]) == set(KINDS)


def test_latency_is_injected_without_holding_others_up(box: Sandbox, x: Client) -> None:
    box.set_latency(300)
    box.set_latency(0, "x.me")
    begun = time.monotonic()
    x("GET", "/2/users/me")
    assert time.monotonic() - begun < 0.25
    begun = time.monotonic()
    post(x)
    assert time.monotonic() - begun >= 0.3
