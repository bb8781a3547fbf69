"""Admin tokens that were used. Each one authorizes one request.

The memory of a process ends with it, so a token that was signed before the start of the server is refused: it may have
been used. A token is valid for seconds, so memory stays small. Servers that share a secret do not know of each other:
each of them accepts a token once.
"""

from __future__ import annotations

from streamlit_crdt_server.auth.tokens import ADMIN_TTL_S, AdminScope, KeyRing, verify_admin_token
from streamlit_crdt_server.errors import AdminForbiddenError, TokenMalformedError, TokenUsedError

MAX_CLOCK_LEAD_S = 5.0
"""Seconds by which the clock of an app may be ahead. A token from further in the future would outlive a restart."""


class SingleUse:
    """The used admin tokens of one server. Event loop only."""

    def __init__(self) -> None:
        self._used: dict[str, float] = {}

    def spend(self, ring: KeyRing, text: str, scope: AdminScope, *, started_at: float, now: float) -> None:
        """Verify an admin token for one operation, and mark it as used. A refused token is not marked.

        Args:
            ring: The keys that verify it.
            text: The token.
            scope: The operation.
            started_at: The time at which the server started, in seconds since the Unix epoch.
            now: The present time.

        Raises:
            TokenError: See `verify_admin_token`.
            AdminForbiddenError: The token is for another operation or namespace.
            TokenUsedError: The token was used, or was signed before the server started.
        """
        claims = verify_admin_token(ring, text, now=now)
        if claims.issued_at > now + MAX_CLOCK_LEAD_S:
            raise TokenMalformedError(f"it was signed {claims.issued_at - now:.0f} s in the future")
        if claims.expires_at - claims.issued_at > ADMIN_TTL_S + 1:  # older apps round the first time down
            raise TokenMalformedError(f"it is valid for more than {ADMIN_TTL_S:.0f} s")
        if claims.issued_at < started_at:
            raise TokenUsedError("was signed before the server started; retry with a new one")
        if claims.scope != scope:
            raise AdminForbiddenError(scope.does)
        signature = text.rpartition(".")[2]
        if signature in self._used:
            raise TokenUsedError("was used before")
        self._used = {used: expires_at for used, expires_at in self._used.items() if expires_at > now}
        self._used[signature] = claims.expires_at

    def __len__(self) -> int:
        """Return the number of remembered tokens."""
        return len(self._used)
