"""Verification of tokens: valid tokens pass, all others raise a TokenError."""

from __future__ import annotations

import base64
import json
import os
import random
from typing import Any

import jwt
import pytest

from streamlit_crdt_server import (
    Claims,
    KeyRing,
    Role,
    TokenError,
    TokenExpiredError,
    TokenForgedError,
    TokenKeyUnknownError,
    TokenMalformedError,
    mint,
    verify,
)

NOW = 1_800_000_000.0
RING = KeyRing.from_secret("a secret of this test")


def minted(ring: KeyRing = RING, **changes: Any) -> str:
    options: dict[str, Any] = {
        "rooms": {"plan": Role.EDITOR, "notes": Role.VIEWER},
        "user": "ada",
        "name": "Ada Lovelace",
        "session": "s1",
        "ttl_s": 600.0,
        "now": NOW,
    }
    return mint(ring, **(options | changes))


def signed(payload: dict[str, Any], *, algorithm: str = "HS256", **header: Any) -> str:
    """Return a token with a valid signature over any payload."""
    return jwt.encode(payload, RING.keys[RING.current], algorithm, headers={"kid": RING.current} | header)


def payload(**changes: Any) -> dict[str, Any]:
    claims = {
        "aud": "streamlit-crdt",
        "sub": "ada",
        "name": "Ada",
        "sid": "s1",
        "rooms": {"plan": "editor"},
        "exp": NOW + 600,
    } | changes
    return {name: value for name, value in claims.items() if value is not ...}


def test_A2_verified_claims_equal_minted_claims() -> None:
    assert verify(RING, minted(), now=NOW) == Claims(
        rooms={"plan": Role.EDITOR, "notes": Role.VIEWER},
        user="ada",
        name="Ada Lovelace",
        session="s1",
        expires_at=NOW + 600,
        key_id=RING.current,
    )


def test_A2_role_applies_to_its_room_only() -> None:
    claims = verify(RING, minted(), now=NOW)
    assert [claims.role_in(room) for room in ("plan", "notes", "other", "*")] == [
        Role.EDITOR,
        Role.VIEWER,
        None,
        None,
    ]


def test_named_room_overrides_role_of_any_room() -> None:
    claims = verify(RING, minted(rooms={"*": Role.EDITOR, "plan": Role.VIEWER}), now=NOW)
    assert (claims.role_in("plan"), claims.role_in("other")) == (Role.VIEWER, Role.EDITOR)


def test_A2_token_expires_after_its_ttl() -> None:
    text = minted(ttl_s=10)
    verify(RING, text, now=NOW + 9.9)
    for late in (NOW + 10, NOW + 1e6):
        with pytest.raises(TokenExpiredError) as caught:
            verify(RING, text, now=late)
        assert caught.value.expired_at == NOW + 10


def test_ring_of_two_keys_verifies_old_and_new_tokens() -> None:
    old = minted(KeyRing.from_secret("the old secret"))
    both = KeyRing.from_secret("the new secret", "the old secret")
    assert verify(both, old, now=NOW).user == "ada"
    new = minted(both)
    assert verify(KeyRing.from_secret("the new secret"), new, now=NOW).user == "ada"
    with pytest.raises(TokenKeyUnknownError):
        verify(KeyRing.from_secret("the new secret"), old, now=NOW)


def test_one_secret_with_two_labels_gives_two_keys() -> None:
    other = KeyRing.from_secret("a secret of this test", label="cookie secret")
    assert other.current != RING.current
    with pytest.raises(TokenKeyUnknownError):
        verify(RING, minted(other), now=NOW)


def test_signature_by_other_key_with_same_id_is_forged() -> None:
    forged = KeyRing({RING.current: b"\1" * 32}, RING.current)
    with pytest.raises(TokenForgedError):
        verify(RING, minted(forged), now=NOW)


def test_repr_of_key_ring_hides_keys() -> None:
    assert "keys" not in repr(RING)
    assert str(RING.keys[RING.current]) not in repr(RING)


def test_token_with_any_changed_character_is_rejected() -> None:
    text = minted()
    for at, letter in enumerate(text):
        edited = text[:at] + ("A" if letter != "A" else "B") + text[at + 1 :]
        with pytest.raises(TokenError):
            verify(RING, edited, now=NOW)
    spellings = [text + end for end in ("=", "\n", " ", "A", ".")] + ["\n" + text, text.replace(".", "..", 1)]
    for spelling in spellings:
        with pytest.raises(TokenMalformedError):
            verify(RING, spelling, now=NOW)


def test_non_canonical_base64_signature_is_malformed() -> None:
    text = minted()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    same_bits = alphabet[alphabet.index(text[-1]) ^ 1]
    with pytest.raises(TokenMalformedError):
        verify(RING, text[:-1] + same_bits, now=NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": ...},
        {"aud": "another-service"},
        {"exp": ...},
        {"exp": "tomorrow"},
        {"exp": True},
        {"exp": 10**400},
        {"exp": None},
        {"sub": ...},
        {"sub": ""},
        {"sub": 7},
        {"name": None},
        {"sid": ["s1"]},
        {"rooms": ...},
        {"rooms": {}},
        {"rooms": ["plan"]},
        {"rooms": "plan"},
        {"rooms": {"plan": "owner"}},
        {"rooms": {"plan": None}},
        {"rooms": {"..": "editor"}},
        {"rooms": {"": "editor"}},
        {"rooms": {"a/../b": "editor"}},
        {"rooms": {"plan\n": "editor"}},
        {"rooms": {"x" * 257: "editor"}},
        {"sub": "\ud800"},
        {"exp": 1e15},
        {"exp": -1e15},
        {"aud": ["streamlit-crdt"]},
    ],
)
def test_signed_token_with_invalid_claim_is_malformed(changes: dict[str, Any]) -> None:
    with pytest.raises(TokenMalformedError):
        verify(RING, signed(payload(**changes)), now=NOW)


@pytest.mark.parametrize("exp", ["NaN", "Infinity", "1e999"])
def test_A2_token_with_non_finite_expiry_is_malformed(exp: str) -> None:
    with pytest.raises(TokenMalformedError):
        verify(RING, _signed_raw(json.dumps(payload(exp=0)).replace('"exp": 0', f'"exp": {exp}')), now=NOW)


@pytest.mark.parametrize("text", ["{" * 3000, "[]", "1", "null", '"text"', "\ud7ff", "{}", "[" * 3000])
def test_claims_other_than_a_json_object_are_malformed(text: str) -> None:
    with pytest.raises(TokenMalformedError):
        verify(RING, _signed_raw(text), now=NOW)


@pytest.mark.parametrize(
    "header",
    [
        {"kid": 1},
        {"crit": ["exp"]},
        {"jku": "https://evil.example/keys"},
        {"jwk": {"kty": "oct", "k": "AA"}},
        {"x5u": "https://evil.example"},
        {"b64": True},
    ],
)
def test_header_with_unknown_field_is_malformed(header: dict[str, Any]) -> None:
    head = {"alg": "HS256", "typ": "JWT", "kid": RING.current} | header
    with pytest.raises(TokenMalformedError):
        verify(RING, _signed_raw(json.dumps(payload()), head), now=NOW)


@pytest.mark.parametrize("algorithm", ["none", "None", "HS384", "HS512", "RS256", "hs256", ""])
def test_algorithm_other_than_hs256_is_malformed(algorithm: str) -> None:
    head = {"alg": algorithm, "typ": "JWT", "kid": RING.current}
    with pytest.raises(TokenMalformedError):
        verify(RING, _signed_raw(json.dumps(payload()), head), now=NOW)


def test_token_without_key_id_is_malformed() -> None:
    with pytest.raises(TokenMalformedError):
        verify(RING, _signed_raw(json.dumps(payload()), {"alg": "HS256"}), now=NOW)


@pytest.mark.parametrize("text", ["", ".", "..", "a.b.c", "é.é.é", "\0", "x" * 10_000, minted() * 50])
def test_text_that_is_not_a_token_is_malformed(text: str) -> None:
    with pytest.raises(TokenMalformedError):
        verify(RING, text, now=NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {"rooms": {}},
        {"rooms": {"a/../b": Role.EDITOR}},
        {"ttl_s": 1e15},
        {"ttl_s": 0},
        {"ttl_s": -1},
        {"ttl_s": float("nan")},
        {"user": ""},
        {"name": "x" * 257},
        {"session": ""},
    ],
)
def test_mint_rejects_invalid_arguments(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        minted(**changes)


def test_key_ring_requires_its_current_key() -> None:
    with pytest.raises(ValueError):
        KeyRing({}, "k")


HEADER = {"alg": "HS256", "typ": "JWT", "kid": RING.current}
ENCODINGS = ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_part_in_another_encoding_than_utf_8_is_malformed(encoding: str) -> None:
    head, claims = (json.dumps(part).encode(encoding) for part in (HEADER, payload(name="é")))
    for parts in ((head, _utf8(payload())), (_utf8(HEADER), claims)):
        with pytest.raises(TokenMalformedError):
            verify(RING, _signed_bytes(*parts), now=NOW)


@pytest.mark.parametrize("field", ["alg", "kid", "exp", "rooms", "aud"])
def test_part_with_a_repeated_field_is_malformed(field: str) -> None:
    head, claims = json.dumps(HEADER), json.dumps(payload())
    for part in (head, claims):
        if f'"{field}"' in part:
            repeated = "{" + f'"{field}": null, ' + part[1:]
            parts = (repeated, claims) if part is head else (head, repeated)
            with pytest.raises(TokenMalformedError):
                verify(RING, _signed_bytes(*(text.encode() for text in parts)), now=NOW)


def test_room_with_a_repeated_role_is_malformed() -> None:
    repeated = json.dumps(payload()).replace('"plan": "editor"', '"plan": "viewer", "plan": "editor"')
    assert repeated.count("plan") == 2
    with pytest.raises(TokenMalformedError):
        verify(RING, _signed_raw(repeated), now=NOW)


def test_room_names_are_compared_without_normalization() -> None:
    claims = verify(RING, minted(rooms={"\u00e9": Role.EDITOR}), now=NOW)
    assert (claims.role_in("\u00e9"), claims.role_in("e\u0301")) == (Role.EDITOR, None)


def test_1000_edits_of_a_valid_token_are_rejected() -> None:
    seed = int(os.environ.get("STREAMLIT_CRDT_TEST_SEED", "20261130"))
    print(f"seed {seed}")
    randomness = random.Random(seed)
    text = minted()
    letters = [chr(code) for code in (*range(256), 0x2028, 0xFF21, 0xFEFF)]
    for _ in range(1000):
        at, count = randomness.randrange(len(text) + 1), randomness.randrange(3)
        edited = (
            text[:at] + "".join(randomness.choices(letters, k=randomness.randrange(3))) + text[at + count :]
        )
        if edited != text:
            with pytest.raises(TokenError):
                verify(RING, edited, now=NOW)


def test_token_of_another_library_is_verified() -> None:
    assert verify(RING, signed(payload(name="Zoë", iat=NOW)), now=NOW).name == "Zoë"


def test_other_library_verifies_a_minted_token() -> None:
    key = RING.keys[RING.current]
    options: Any = {"verify_exp": False, "verify_iat": False}
    claims = jwt.decode(minted(), key, algorithms=["HS256"], audience="streamlit-crdt", options=options)
    assert (claims["sub"], claims["exp"]) == ("ada", NOW + 600)


def _utf8(part: dict[str, Any]) -> bytes:
    return json.dumps(part).encode()


def _signed_raw(claims: str, header: dict[str, Any] | None = None) -> str:
    """Sign any text with the key of the ring. PyJWT would refuse it."""
    return _signed_bytes(_utf8(header or HEADER), claims.encode())


def _signed_bytes(head: bytes, claims: bytes) -> str:
    signing = f"{_encode(head)}.{_encode(claims)}"
    signature = jwt.get_algorithm_by_name("HS256").sign(signing.encode(), RING.keys[RING.current])
    return f"{signing}.{_encode(signature)}"


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
