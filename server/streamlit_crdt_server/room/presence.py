"""Who is in a room, and which connection said so.

pycrdt's `Awareness` knows states and clocks and nothing of connections, so anybody could remove anybody, a
dead client stayed for 30 seconds, and the server announced itself as an empty user. Here a client id belongs
to the connection that announced it first (rule A3) until that connection ends, and is removed with it.

Stock y-websocket clients send what they hear of others back to the server, and announce the removal of those
whose timer ran out. Both are words about somebody else and are ignored without complaint.

Whose name stands beside a caret: the token's, whatever the client says (rule A3).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from anyio import TASK_STATUS_IGNORED
from anyio.abc import TaskStatus
from pycrdt import Awareness, Channel, Doc

from streamlit_crdt_server.auth.tokens import Claims
from streamlit_crdt_server.errors import MalformedFrameError
from streamlit_crdt_server.protocol import MAX_CLOCK, Presence
from streamlit_crdt_server.room.permissions import claims_of


def name_presences(channel: Channel, presences: Iterable[Presence]) -> tuple[Presence, ...]:
    """Put the name and id of a connection's token into what it says of itself, as `user.name` and `user.id`.

    That is where y-websocket's clients look for them. Without a token, it is as the client says.

    Raises:
        MalformedFrameError: A presence is something that no name can be put into, or is nested too deeply.
    """
    claims = claims_of(channel)
    if claims is None:
        return tuple(presences)
    return tuple(presence if presence.is_gone else _named(claims, presence) for presence in presences)


def _named(claims: Claims, presence: Presence) -> Presence:
    state = presence.state
    if not isinstance(state, dict):
        raise MalformedFrameError("a presence is not an object")
    said = state.get("user")
    user = (said if isinstance(said, dict) else {}) | {"name": claims.name, "id": claims.user}
    named = state | {"user": user}
    try:
        text = json.dumps(named, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text.encode()
    except (ValueError, RecursionError) as error:
        raise MalformedFrameError("a presence cannot be written down") from error
    return replace(presence, text=text, state=named)


_MAX_DEPARTED = 1024


class RoomAwareness(Awareness):
    """The awareness of a room's server side: it is not itself somebody, and keeps no timer.

    Mends two faults of pycrdt's `Awareness` in a `YRoom`: the constructor announces `{}` for the server, a
    user who does not exist; and its timer renews that phantom, and removes others without telling anybody.
    """

    def __init__(self, ydoc: Doc[Any]) -> None:
        super().__init__(ydoc)
        self._states.clear()
        self._meta.clear()

    async def start(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Do nothing: presence ends with its connection and not with a timer."""
        task_status.started()

    async def stop(self) -> None:
        """Do nothing; may be called at any time, where the shipped one raises unless it was started."""


class PresenceOwners:
    """The owner of each client id, over a `RoomAwareness`.

    An owner is any hashable object; a room uses its peers. The frames that result are for everybody, the
    owner included: a stock client closes a connection on which it hears nothing for 30 seconds.
    """

    def __init__(self, awareness: Awareness, max_per_owner: int) -> None:
        self._awareness = awareness
        self._max_per_owner = max_per_owner
        self._owners: dict[int, object] = {}
        self._ids: dict[object, set[int]] = {}
        self._present: dict[int, Presence] = {}
        self._departed: dict[int, int] = {}

    def present(self) -> tuple[Presence, ...]:
        """Everybody who is there, as they announced themselves."""
        return tuple(self._present.values())

    def renew(self) -> tuple[tuple[object, Presence], ...]:
        """Give everybody who is there a newer clock, and return each with its owner, who must hear of it.

        A client that comes back has forgotten whom it saw, and not their clocks: under those it would take what it is
        told for old, and see nobody until each of them renews itself, up to 15 seconds later. The owner takes the
        clock over, so that what it says next is news to the one who came; to others this clock says nothing new.
        """
        for client_id, presence in self._present.items():
            self._present[client_id] = replace(presence, clock=min(presence.clock + 1, MAX_CLOCK))
            self._awareness.meta[client_id]["clock"] = self._present[client_id].clock
        return tuple((self._owners[client_id], presence) for client_id, presence in self._present.items())

    def announce(self, owner: object, presences: Iterable[Presence]) -> tuple[Presence, ...]:
        """Take in what `owner` says, and return what others should hear of it.

        Raises:
            MalformedFrameError: It announces more client ids than a connection may.
        """
        announced = tuple(presences)
        accepted = [
            self._accept(owner, presence)
            for presence in announced
            if self._is_own(owner, presence, len(announced))
        ]
        self._show(accepted)
        return tuple(accepted)

    def leave(self, owner: object) -> tuple[Presence, ...]:
        """Remove what `owner` announced, and return the removals that others should hear of."""
        removed = []
        for client_id in sorted(self._ids.pop(owner, ())):
            del self._owners[client_id]
            last = self._present.get(client_id)
            if last is not None:
                removed.append(Presence(client_id, min(last.clock + 1, MAX_CLOCK), "null", None))
                self._remember_departed(client_id, last.clock + 1)
        self._show(removed)
        return tuple(removed)

    def _is_own(self, owner: object, presence: Presence, announced_count: int) -> bool:
        """Whether `owner` speaks of itself here.

        A stale word about somebody who has just left (a client repeats what it hears) looks like that
        somebody coming back on a new connection. Coming back is the first thing that a connection says, and
        says nothing else.
        """
        holder = self._owners.get(presence.client_id)
        if holder is not None:
            return holder == owner
        if presence.is_gone:
            return False
        is_stale = presence.clock <= self._departed.get(presence.client_id, -1)
        return not is_stale or (announced_count == 1 and owner not in self._ids)

    def _accept(self, owner: object, presence: Presence) -> Presence:
        """Claim the id, and give the presence a clock that nobody takes for old.

        A connection delivers in order, so what its owner says is always news. But whoever reconnects announces the
        clock that others saw it leave with, also after this server was restarted and knows nothing of it; they
        would ignore it for the 15 seconds until it renews itself. So an arrival is one ahead of what it says, and
        its owner, who hears it too, takes the clock over.
        """
        self._claim(owner, presence.client_id)
        known = self._present.get(presence.client_id)
        if known is None:
            floor = max(self._departed.get(presence.client_id, -1), presence.clock)
        elif presence.clock <= known.clock and presence.text == known.text:
            return known
        else:
            floor = known.clock
        return replace(presence, clock=min(max(presence.clock, floor + 1), MAX_CLOCK))

    def _claim(self, owner: object, client_id: int) -> None:
        ids = self._ids.setdefault(owner, set())
        if client_id not in ids and len(ids) >= self._max_per_owner:
            raise MalformedFrameError(f"a connection announced more than {self._max_per_owner} client ids")
        ids.add(client_id)
        self._owners[client_id] = owner

    def _show(self, presences: Iterable[Presence]) -> None:
        """Bring `awareness` up to date and notify its observers, as pycrdt's own methods would."""
        changes: dict[str, list[int]] = {"added": [], "updated": [], "removed": []}
        for presence in presences:
            client_id = presence.client_id
            if presence.is_gone:
                self._present.pop(client_id, None)
                self._remember_departed(client_id, presence.clock)
                self._awareness.states.pop(client_id, None)
                self._awareness.meta.pop(client_id, None)
                changes["removed"].append(client_id)
                continue
            changes["updated" if client_id in self._present else "added"].append(client_id)
            self._present[client_id] = presence
            self._departed.pop(client_id, None)
            self._awareness.states[client_id] = presence.state
            self._awareness.meta[client_id] = {
                "clock": presence.clock,
                "lastUpdated": int(time.time() * 1000),
            }
        if any(changes.values()):
            self._awareness._emit(
                "change", changes["added"], changes["updated"], changes["removed"], "remote"
            )
            self._awareness._emit(
                "update", changes["added"], changes["updated"], changes["removed"], "remote"
            )

    def _remember_departed(self, client_id: int, clock: int) -> None:
        """Keep the clock that somebody left with, for the last thousand: it is not to grow for ever."""
        self._departed.pop(client_id, None)
        self._departed[client_id] = min(clock, MAX_CLOCK)
        if len(self._departed) > _MAX_DEPARTED:
            del self._departed[next(iter(self._departed))]
