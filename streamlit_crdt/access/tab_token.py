"""The token with which a session's tab enters a room.

The session signs it, because it alone knows who its user is and which role the script gave them; the tab carries it
to the server, which believes nothing else (rules A1, A2, A3). It is short-lived: what a script takes away ends soon,
even if the tab never comes back to its session.
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
"""How long a token is valid. A tab asks for the next one in time, which costs no script run."""


class TabToken:
    """One session's token for one room, minted anew when it is half used up, when the part changes, or when asked.

    Attributes:
        text: the token; None where there is no key to sign one with.
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
        self._part: Participant | None = None
        self._expires_at = 0.0

    @property
    def expires_in_s(self) -> int | None:
        """Whole seconds that are left of the token; at least one, and None without a token."""
        return None if self.text is None else max(1, int(self._expires_at - self._clock()))

    def renew(self) -> None:
        """Let the next call of `show` mint a new token."""
        self._part = None

    def show(self, part: Participant) -> str | None:
        """Return a token for `part`, valid for half of `TTL_S` at least."""
        now = self._clock()
        if self._keys is not None and (part != self._part or self._expires_at - now < TTL_S / 2):
            self.text = mint(
                self._keys,
                rooms={self._room: TokenRole(part.role)},
                user=part.user.id,
                name=part.user.name,
                session=self._session,
                ttl_s=TTL_S,
                now=now,
            )
            self._part, self._expires_at = part, now + TTL_S
        return self.text
