"""Admin tokens authorize one request each, also across a restart."""

from __future__ import annotations

from typing import Any

import jwt
import pytest

from streamlit_crdt_server import (
    AdminForbiddenError,
    AdminScope,
    KeyRing,
    TokenError,
    TokenExpiredError,
    TokenMalformedError,
    TokenUsedError,
    mint_admin_token,
)
from streamlit_crdt_server.auth.single_use import MAX_CLOCK_LEAD_S, SingleUse

NOW = 1_800_000_000.5
RING = KeyRing.from_secret("a secret of this test")
SCOPE = AdminScope.deletion("", "plan")


def spend(
    used: SingleUse, text: str, scope: AdminScope = SCOPE, *, started_at: float = 0, now: float = NOW
) -> None:
    used.spend(RING, text, scope, started_at=started_at, now=now)


def signed(**changes: Any) -> str:
    claims = {
        "aud": "streamlit-crdt errand",
        "namespace": "",
        "does": SCOPE.does,
        "iat": NOW,
        "exp": NOW + 30,
    }
    payload = {name: value for name, value in (claims | changes).items() if value is not ...}
    return jwt.encode(payload, RING.keys[RING.current], "HS256", headers={"kid": RING.current})


@pytest.mark.parametrize("scope", [SCOPE, AdminScope.listing("")])
def test_A2_admin_token_is_accepted_once(scope: AdminScope) -> None:
    used, text = SingleUse(), mint_admin_token(RING, scope, now=NOW)
    spend(used, text, scope)
    for later in (NOW, NOW + 29.9):
        with pytest.raises(TokenUsedError):
            spend(used, text, scope, now=later)
    with pytest.raises(TokenExpiredError):
        spend(used, text, scope, now=NOW + 30)


def test_tokens_of_one_moment_are_different() -> None:
    used = SingleUse()
    for _ in range(10):
        spend(used, mint_admin_token(RING, SCOPE, now=NOW))


def test_refused_token_is_not_spent() -> None:
    used, text = SingleUse(), mint_admin_token(RING, SCOPE, now=NOW)
    with pytest.raises(AdminForbiddenError):
        spend(used, text, AdminScope.deletion("ops", "plan"))
    spend(used, text)


def test_A2_token_from_before_the_start_is_refused() -> None:
    text = mint_admin_token(RING, SCOPE, now=NOW)
    with pytest.raises(TokenUsedError):
        spend(SingleUse(), text, started_at=NOW + 0.001, now=NOW + 1)
    spend(SingleUse(), text, started_at=NOW, now=NOW + 1)


def test_used_tokens_are_forgotten_after_their_expiry() -> None:
    used = SingleUse()
    for second in range(300):
        now = NOW + second
        spend(used, mint_admin_token(RING, SCOPE, now=now), now=now)
    assert len(used) <= 31


@pytest.mark.parametrize(
    "changes",
    [
        {"iat": ...},
        {"iat": True},
        {"iat": "now"},
        {"exp": NOW + 3600},
        {"iat": NOW + MAX_CLOCK_LEAD_S + 1, "exp": NOW + MAX_CLOCK_LEAD_S + 31},
        {"does": 1},
        {"namespace": ...},
        {"aud": "streamlit-crdt"},
    ],
)
def test_admin_token_with_invalid_claim_is_malformed(changes: dict[str, Any]) -> None:
    with pytest.raises(TokenMalformedError):
        spend(SingleUse(), signed(**changes))


def test_admin_token_of_an_older_app_is_accepted_once() -> None:
    used, text = SingleUse(), signed(iat=int(NOW))
    spend(used, text)
    with pytest.raises(TokenUsedError):
        spend(used, text)


def test_A2_admin_token_with_any_changed_character_is_refused() -> None:
    text = mint_admin_token(RING, SCOPE, now=NOW)
    for at, letter in enumerate(text):
        for other in ("A" if letter != "A" else "B", "", letter + letter):
            with pytest.raises(TokenError):
                spend(SingleUse(), text[:at] + other + text[at + 1 :])
