"""Presence in a room: the owner of each client id, and names from tokens.

pycrdt's `Awareness` has states and clocks but no connections: any client can remove any other, a lost client stays for
30 seconds, and the server announces itself as an empty user. Here a client id belongs to the connection that announced
it first (rule A3), and is removed when that connection ends.

y-websocket clients send received presences of others back to the server, and announce the removal of others after a
timeout. Both are about client ids of other connections and are ignored.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from anyio import TASK_STATUS_IGNORED
from anyio.abc import TaskStatus
from pycrdt import Awareness, Channel, Doc

from streamlit_crdt_server.auth.tokens import Claims
from streamlit_crdt_server.errors import MalformedFrameError
from streamlit_crdt_server.protocol import MAX_CLOCK, Presence
from streamlit_crdt_server.room.permissions import claims_of
from streamlit_crdt_server.settings import Settings

MAX_REMOVED = 1024
"""Removed client ids whose clocks are kept. The oldest are dropped, so that memory stays bounded."""

UNKNOWN_CLOCK_MARGIN = 1_000
"""Increase of the clock of a client id that the server does not know. The server increases the clocks that other
clients have, and a client whose connection ends before it receives an increase announces an older clock."""


class RoomAwareness(Awareness):
    """The awareness of a room on the server. It has no state of its own and no timer.

    Fixes two bugs of pycrdt's `Awareness` in a `YRoom`: the constructor announces `{}` for the server, a user that does
    not exist; its timer renews that state and removes others without sending their removal.
    """

    def __init__(self, ydoc: Doc[Any]) -> None:
        super().__init__(ydoc)
        self._states.clear()
        self._meta.clear()

    async def start(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Do nothing: a presence ends with its connection, not with a timer."""
        task_status.started()

    async def stop(self) -> None:
        """Do nothing. May be called at any time; pycrdt's raises unless the awareness was started."""


@dataclass(frozen=True, slots=True)
class _Share:
    """The presence of one client id in the byte limits."""

    owner: object
    user: object
    size: int


class PresenceBytes:
    """Bytes of the presences of a room, by client id, connection and user (rule N3).

    A newcomer receives all presences at once. Without these limits, one user could announce more than a connection
    may have queued, and lock every newcomer out.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._shares: dict[int, _Share] = {}
        self._by_owner: Counter[object] = Counter()
        self._by_user: Counter[object] = Counter()
        self._total = 0

    def find_excess(self, owner: object, user: object, client_id: int, size: int) -> str | None:
        """Return the name of the setting that a presence of `size` bytes exceeds, None if it fits.

        A connection may always have its equal share of the room's limit: a room that a few users filled still shows
        who else is there. The presences of a room therefore have at most twice its limit.
        """
        settings, last = self._settings, self._shares.get(client_id)
        growth = size - (0 if last is None else last.size)
        if size > settings.max_presence_bytes_per_client_id:
            return "max_presence_bytes_per_client_id"
        if growth <= 0:
            return None
        if self._by_owner[owner] + growth > settings.max_presence_bytes_per_connection:
            return "max_presence_bytes_per_connection"
        if self._by_user[user] + growth > settings.max_presence_bytes_per_user:
            return "max_presence_bytes_per_user"
        equal_share = settings.max_presence_bytes_per_room // settings.max_connections_per_room
        is_full = self._total + growth > settings.max_presence_bytes_per_room
        if is_full and self._by_owner[owner] + growth > equal_share:
            return "max_presence_bytes_per_room"
        return None

    def put(self, owner: object, user: object, client_id: int, size: int) -> None:
        """Count a presence instead of the last one of its client id."""
        self.remove(client_id)
        self._shares[client_id] = _Share(owner, user, size)
        self._by_owner[owner] += size
        self._by_user[user] += size
        self._total += size

    def remove(self, client_id: int) -> None:
        """Stop counting a client id. A count of zero is removed, so that memory stays bounded."""
        share = self._shares.pop(client_id, None)
        if share is None:
            return
        self._total -= share.size
        for counts, key in ((self._by_owner, share.owner), (self._by_user, share.user)):
            counts[key] -= share.size
            if counts[key] <= 0:
                del counts[key]


class PresenceOwners:
    """The owner of each client id in a `RoomAwareness`.

    An owner is any hashable object; a room uses its peers. Every returned presence is for all peers, its owner too: a
    y-websocket client closes a connection without a message for 30 seconds.
    """

    def __init__(
        self, awareness: Awareness, settings: Settings, *, time_s: Callable[[], float] = time.time
    ) -> None:
        self._awareness = awareness
        self._time_s = time_s
        self._max_per_owner = settings.max_presences_per_connection
        self._bytes = PresenceBytes(settings)
        self._owners: dict[int, object] = {}
        self._ids: dict[object, set[int]] = {}
        self._present: dict[int, Presence] = {}
        self._removed_clocks: dict[int, int] = {}

    def present(self) -> tuple[Presence, ...]:
        """Return the current presences."""
        return tuple(self._present.values())

    def renew(self) -> tuple[tuple[object, Presence], ...]:
        """Increase the clock of each presence, and return each with its owner, which must receive it too.

        A client that reconnects has forgotten the presences but not their clocks. Under the old clocks it would ignore
        them until their owners renew them, up to 15 seconds later. The owner adopts the increased clock, so that the
        new client accepts its next presence. Other clients see no change.
        """
        for client_id, presence in self._present.items():
            self._present[client_id] = replace(presence, clock=min(presence.clock + 1, MAX_CLOCK))
            self._awareness.meta[client_id]["clock"] = self._present[client_id].clock
        return tuple((self._owners[client_id], presence) for client_id, presence in self._present.items())

    def announce(
        self,
        owner: object,
        presences: Iterable[Presence],
        *,
        user: object = None,
        on_excess: Callable[[Presence, str], None] | None = None,
    ) -> tuple[Presence, ...]:
        """Accept the presences that belong to `owner`, and return them with the clocks to send.

        Args:
            owner: The connection.
            presences: What it announced.
            user: The user whose connections have a common limit. None takes the connection itself.
            on_excess: Called with each presence that exceeds a limit of bytes, which is ignored, and with the name of
                the setting. None for server code, which has no such limits.

        Raises:
            MalformedFrameError: The owner announced more client ids than a connection may.
        """
        announced = tuple(presences)
        user = owner if user is None else user
        accepted = []
        for presence in announced:
            if not self._is_own(owner, presence, len(announced)):
                continue
            size = len(presence.text.encode())
            excess = (
                None if presence.is_gone else self._bytes.find_excess(owner, user, presence.client_id, size)
            )
            if excess is not None and on_excess is not None:
                on_excess(presence, excess)
                continue
            accepted.append(self._accept(owner, presence))
            self._bytes.put(owner, user, presence.client_id, size)
        self._apply(accepted)
        return tuple(accepted)

    def leave(self, owner: object) -> tuple[Presence, ...]:
        """Remove the presences of `owner`, and return their removals to send."""
        removals = []
        for client_id in sorted(self._ids.pop(owner, ())):
            del self._owners[client_id]
            last = self._present.get(client_id)
            if last is not None:
                removals.append(Presence(client_id, min(last.clock + 1, MAX_CLOCK), "null", None))
                self._remember_removed(client_id, last.clock + 1)
        self._apply(removals)
        return tuple(removals)

    def _is_own(self, owner: object, presence: Presence, announced_count: int) -> bool:
        """Return whether a presence is for a client id of `owner`, or for a free one that `owner` may claim.

        A client that repeats the presence of a removed client id looks like that client on a new connection. It is
        accepted only as the first and only presence of a connection: that is how a client reconnects.
        """
        holder = self._owners.get(presence.client_id)
        if holder is not None:
            return holder == owner
        if presence.is_gone:
            return False
        is_stale = presence.clock <= self._removed_clocks.get(presence.client_id, -1)
        return not is_stale or (announced_count == 1 and owner not in self._ids)

    def _accept(self, owner: object, presence: Presence) -> Presence:
        """Claim the client id, and return the presence with a clock that every client accepts.

        A connection delivers in order, so a presence from its owner is never stale. A client that reconnects announces
        the clock that others removed it with, or an older one. Others would ignore it for the 15 seconds until its
        renewal. A first presence therefore gets the next clock after the removal, and its owner, which receives it
        too, adopts that clock. After a restart or an eviction the server has no clocks. It then adds a margin, and uses
        at least the Unix time: that is also newer than the first clock from an earlier server, if the client did not
        receive that one.
        """
        self._claim(owner, presence.client_id)
        current = self._present.get(presence.client_id)
        if current is None:
            unknown = max(presence.clock + UNKNOWN_CLOCK_MARGIN, int(self._time_s()))
            floor = max(self._removed_clocks.get(presence.client_id, unknown), presence.clock)
        elif presence.clock <= current.clock and presence.text == current.text:
            return current
        else:
            floor = current.clock
        return replace(presence, clock=min(max(presence.clock, floor + 1), MAX_CLOCK))

    def _claim(self, owner: object, client_id: int) -> None:
        ids = self._ids.setdefault(owner, set())
        if client_id not in ids and len(ids) >= self._max_per_owner:
            raise MalformedFrameError(f"the connection announced more than {self._max_per_owner} client ids")
        ids.add(client_id)
        self._owners[client_id] = owner

    def _apply(self, presences: Iterable[Presence]) -> None:
        """Update the awareness and notify its observers, as pycrdt's own methods do."""
        changes: dict[str, list[int]] = {"added": [], "updated": [], "removed": []}
        for presence in presences:
            client_id = presence.client_id
            if presence.is_gone:
                self._present.pop(client_id, None)
                self._bytes.remove(client_id)
                self._remember_removed(client_id, presence.clock)
                self._awareness.states.pop(client_id, None)
                self._awareness.meta.pop(client_id, None)
                changes["removed"].append(client_id)
                continue
            changes["updated" if client_id in self._present else "added"].append(client_id)
            self._present[client_id] = presence
            self._removed_clocks.pop(client_id, None)
            self._awareness.states[client_id] = presence.state
            self._awareness.meta[client_id] = {
                "clock": presence.clock,
                "lastUpdated": int(time.time() * 1000),
            }
        if any(changes.values()):
            for topic in ("change", "update"):
                self._awareness._emit(
                    topic, changes["added"], changes["updated"], changes["removed"], "remote"
                )

    def _remember_removed(self, client_id: int, clock: int) -> None:
        self._removed_clocks.pop(client_id, None)
        self._removed_clocks[client_id] = min(clock, MAX_CLOCK)
        if len(self._removed_clocks) > MAX_REMOVED:
            del self._removed_clocks[next(iter(self._removed_clocks))]


def name_presences(channel: Channel, presences: Iterable[Presence]) -> tuple[Presence, ...]:
    """Write the name and the user id of a connection's token into its presences (rule A3).

    They are written to `user.name` and `user.id`, where y-websocket clients read them. Without a token, the presences
    are unchanged.

    Raises:
        MalformedFrameError: A presence is no JSON object, or is nested too deeply.
    """
    claims = claims_of(channel)
    if claims is None:
        return tuple(presences)
    return tuple(presence if presence.is_gone else _name(claims, presence) for presence in presences)


def _name(claims: Claims, presence: Presence) -> Presence:
    state = presence.state
    if not isinstance(state, dict):
        raise MalformedFrameError("the presence is not a JSON object")
    announced = state.get("user")
    user = (announced if isinstance(announced, dict) else {}) | {"name": claims.name, "id": claims.user}
    named = state | {"user": user}
    try:
        text = json.dumps(named, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text.encode()
    except (ValueError, RecursionError) as error:
        raise MalformedFrameError("the presence cannot be encoded as JSON") from error
    return replace(presence, text=text, state=named)
