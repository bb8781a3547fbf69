"""Token with which the tab of a session enters a room.

The session signs it, because only the session has the user and the role that the script gave them. The tab sends it to
the server, which trusts no other claim (rules A1, A2, A3). It is short-lived: a role that a script takes away ends
within `TTL_S`, even if the tab never contacts its session again.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Final

from streamlit_crdt.access.participant import Participant
from streamlit_crdt_server import KeyRing, mint
from streamlit_crdt_server import Role as TokenRole

TTL_S: Final = 600.0
"""Lifetime of a token, in seconds. A tab requests the next token before that, without a script run."""


class TabToken:
    """The token of one session for one room. It is replaced after half of `TTL_S`, on demand, or for a new participant.

    Attributes:
        text: the signed token; None without a key.
    """

    def __init__(
        self,
        room: str,
        keys: KeyRing | None,
        *,
        session: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.text: str | None = None
        self._room = room
        self._keys = keys
        self._clock = clock
        self._session = session or secrets.token_hex(8)
        self._participant: Participant | None = None
        self._expires_at = 0.0

    @property
    def expires_in_s(self) -> int | None:
        """Remaining lifetime in whole seconds, at least 1; None without a token."""
        return None if self.text is None else max(1, int(self._expires_at - self._clock()))

    def renew(self) -> None:
        """Make the next call of `issue` sign a new token."""
        self._participant = None

    def issue(self, participant: Participant) -> str | None:
        """Return a token for `participant` that is valid for at least half of `TTL_S`; None without a key."""
        now = self._clock()
        if self._keys is not None and (
            participant != self._participant or self._expires_at - now < TTL_S / 2
        ):
            self.text = mint(
                self._keys,
                rooms={self._room: TokenRole(participant.role)},
                user=participant.user.id,
                name=participant.user.name,
                session=self._session,
                ttl_s=TTL_S,
                now=now,
            )
            self._participant, self._expires_at = participant, now + TTL_S
        return self.text
