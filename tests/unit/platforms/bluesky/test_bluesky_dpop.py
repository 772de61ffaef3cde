"""Keys, proofs and nonces, against the examples of the standards and a verifier that shares no code with them."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from fake_http import NOW, Answer, FakeHttp

from platforms.base import Effect
from platforms.bluesky import dpop
from platforms.sandbox.oauth_bluesky import UntrueError, verified

# RFC 9449, 4.1 and 7.1.
EXAMPLE = {
    "kty": "EC", "crv": "P-256",
    "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs", "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
}  # fmt: skip
TOKEN = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"


def reply(status: int, body: Any = None, **headers: str) -> Any:
    http = FakeHttp(lambda _: Answer(status, body, {name.replace("_", "-"): value for name, value in headers.items()}))
    return http.request("GET", "https://pds.example/xrpc/x", effect=Effect.READ)


def test_the_thumbprint_and_the_tokens_hash_are_those_of_the_standard() -> None:
    assert dpop.thumbprint(EXAMPLE) == "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
    made = dpop.proof(dpop.new_key(), "GET", "https://a.b/c", now=NOW, nonce=None, token=TOKEN)
    assert verified(made)[1]["ath"] == "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"


def test_a_proof_says_what_the_request_is_and_holds_no_private_key() -> None:
    key = dpop.new_key()
    made = dpop.proof(key, "POST", "https://pds.example/xrpc/a.b?c=d#e", now=NOW, nonce="n", token="t")
    head, claims = verified(made)
    assert head == {"typ": "dpop+jwt", "alg": "ES256", "jwk": dpop.public_of(key)}
    assert "d" not in head["jwk"]
    assert (claims["htm"], claims["htu"], claims["nonce"]) == ("POST", "https://pds.example/xrpc/a.b", "n")
    assert claims["iat"] == int(NOW.timestamp())
    _, other = verified(dpop.proof(key, "POST", "https://pds.example/xrpc/a.b", now=NOW, nonce=None))
    assert other["jti"] != claims["jti"]
    assert {"nonce", "ath"}.isdisjoint(other)


def test_a_changed_proof_is_found_out() -> None:
    head, claims, signature = dpop.proof(dpop.new_key(), "GET", "https://a.b/c", now=NOW, nonce=None).split(".")
    changed = json.loads(dpop._bytes(claims)) | {"htm": "POST"}
    with pytest.raises(UntrueError):
        verified(".".join((head, dpop.b64(json.dumps(changed).encode()), signature)))


def test_signatures_have_one_length_whatever_the_numbers() -> None:
    """Numbers with leading zeros come up once in a few hundred signatures."""
    key = dpop.new_key()
    for number in range(300):
        made = dpop.sign(key, {}, {"n": number})
        assert len(dpop._bytes(made.rsplit(".", 1)[1])) == 64
        assert verified(made, dpop.public_of(key))[1] == {"n": number}


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"kty": "RSA"},
        {"crv": "P-384"},
        {"d": None},
        {"d": "AA"},
        {"d": "not base64!"},
        {"x": EXAMPLE["x"]},
    ],
)
def test_what_is_no_key_is_refused_without_repeating_it(wrong: dict[str, Any]) -> None:
    key = {**dpop.new_key(), **wrong} if wrong else {}
    with pytest.raises(dpop.KeyProblem) as caught:
        dpop.private_of(key)
    assert str(key.get("d") or "never") not in str(caught.value)


# --- Nonces -----------------------------------------------------------------------------------------------------


def test_nonces_are_kept_by_server_and_session_for_a_while() -> None:
    nonces, one, two = dpop.Nonces(), dpop.new_key(), dpop.new_key()
    url, other = "https://pds.example/xrpc/a", "https://issuer.example/token"
    assert nonces.keep(one, url, reply(401, {}, dpop_nonce="n1"), NOW)
    assert not nonces.keep(one, url, reply(200, {}), NOW)
    assert nonces.get(one, "https://pds.example/xrpc/b", NOW) == "n1"
    assert nonces.get(one, other, NOW) is None
    assert nonces.get(two, url, NOW) is None
    assert nonces.get(one, url, NOW + dpop.NONCE_LIFE) is None
    assert nonces.get(one, url, NOW + timedelta(seconds=61), younger_than=timedelta(seconds=60)) is None
    nonces.keep(one, url, reply(200, {}, dpop_nonce="n2"), NOW)
    assert nonces.get(one, url, NOW) == "n2"


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dpop, "_MOST_NONCES", 3)
    nonces, key = dpop.Nonces(), dpop.new_key()
    for number in range(5):
        nonces.keep(key, f"https://s{number}.example/", reply(200, {}, dpop_nonce="n"), NOW)
    assert [nonces.get(key, f"https://s{number}.example/", NOW) for number in range(5)] == [None, None, "n", "n", "n"]


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (reply(400, {"error": "use_dpop_nonce"}, dpop_nonce="n"), True),
        (reply(401, {"error": "x"}, dpop_nonce="n", www_authenticate='DPoP error="use_dpop_nonce"'), True),
        (reply(400, {"error": "use_dpop_nonce"}), False),
        (reply(200, {"error": "use_dpop_nonce"}, dpop_nonce="n"), False),
        (reply(500, {"error": "use_dpop_nonce"}, dpop_nonce="n"), False),
        (reply(400, {"error": "invalid_dpop_proof"}, dpop_nonce="n"), False),
    ],
)
def test_a_nonce_is_wanted_only_where_the_server_says_so_and_gives_one(answer: Any, wanted: bool) -> None:
    assert dpop.wants_nonce(answer) is wanted
