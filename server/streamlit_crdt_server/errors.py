"""Everything that the room server raises on purpose, in one tree.

The message is made in `__str__` from the attributes, so that a caller matches on types and attributes and
never on text. Each leaf also inherits the builtin that somebody who has never seen this package would catch.

Why a connection is not accepted, or a token not taken: part of the tree in `errors`.

What these say is for the log. Whoever was refused is told nothing, lest it learns which rooms there are.
"""

from __future__ import annotations


class ServerError(Exception):
    """The root of this package's errors."""


class SettingsError(ServerError, ValueError):
    """A setting is unknown, does not parse, or contradicts another; the message says what to change."""


class PortTakenError(ServerError, OSError):
    """Another program listens where the room server was to listen."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self.host = host
        self.port = port

    def __str__(self) -> str:
        return (
            f"port {self.port} on {self.host} is in use by another program: stop that program, or give the "
            f"room server another port with STREAMLIT_CRDT_PORT (0 picks a free one)"
        )


class CannotListenError(ServerError, OSError):
    """The address cannot be listened on for a reason other than being taken."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(host, port, reason)
        self.host = host
        self.port = port
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"the room server cannot listen on {self.host} port {self.port} ({self.reason}): set "
            f"STREAMLIT_CRDT_HOST to an address of this machine and STREAMLIT_CRDT_PORT to a port that this "
            f"user may open"
        )


class RoomNameRefused(ServerError, ValueError):
    """The name is not one that a room may have."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return (
            f"{self.name[:140]!r} cannot be a room's name: use 1 to 128 letters, digits, dots, underscores "
            f'and hyphens, other than "." and ".."'
        )


class OriginRefused(ServerError, PermissionError):
    """A page of another site wants to connect."""

    def __init__(self, origin: str) -> None:
        super().__init__(origin)
        self.origin = origin

    def __str__(self) -> str:
        return (
            f"pages of {self.origin[:200]!r} may not connect: if they should, add that to "
            f"STREAMLIT_CRDT_ALLOW_ORIGIN"
        )


class TooManyRoomsError(ServerError, RuntimeError):
    """A new room would exceed `max_rooms`, and no room can be dropped without losing something."""

    def __init__(self, name: str, max_rooms: int) -> None:
        super().__init__(name, max_rooms)
        self.name = name
        self.max_rooms = max_rooms

    def __str__(self) -> str:
        return (
            f"room {self.name!r} was not opened because {self.max_rooms} rooms are in use: raise "
            f"STREAMLIT_CRDT_MAX_ROOMS, or use fewer rooms"
        )


class RoomUnavailableError(ServerError, RuntimeError):
    """The room could not be opened, or it failed; its `__cause__` says why."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"room {self.name!r} is not available at the moment: see the server's log, then try again"


class RoomFullError(ServerError, RuntimeError):
    """The room's document has reached `max_room_bytes`: it is read-only, and the update was not taken in."""

    def __init__(self, name: str, max_room_bytes: int) -> None:
        super().__init__(name, max_room_bytes)
        self.name = name
        self.max_room_bytes = max_room_bytes

    def __str__(self) -> str:
        return (
            f"room {self.name!r} is full and read-only ({self.max_room_bytes} bytes): raise "
            f"STREAMLIT_CRDT_MAX_ROOM_BYTES, or go on in a new room"
        )


class HubNotRunningError(ServerError, RuntimeError):
    """The hub was asked for a room before it was started or after it was stopped."""

    def __str__(self) -> str:
        return (
            "the room server does not run: start it first, in a lifespan for instance with `async with hub:`"
        )


class OpenTimeoutError(ServerError, TimeoutError):
    """Opening a room from another thread took too long."""

    def __init__(self, name: str, timeout_s: float) -> None:
        super().__init__(name, timeout_s)
        self.name = name
        self.timeout_s = timeout_s

    def __str__(self) -> str:
        return f"room {self.name!r} did not open within {self.timeout_s:g} s: try again, or raise timeout_s"


class AnswerTimeoutError(ServerError, TimeoutError):
    """The hub took too long to answer a question from another thread."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(timeout_s)
        self.timeout_s = timeout_s

    def __str__(self) -> str:
        return f"the room server did not answer within {self.timeout_s:g} s: try again, or raise timeout_s"


class WrongThreadError(ServerError, RuntimeError):
    """A blocking call was made in the event loop's own thread, which would wait for itself."""

    def __str__(self) -> str:
        return (
            "this blocks and cannot be called in the event loop: await the coroutine of the hub there, such as "
            "`await hub.aopen_local(...)`"
        )


class UpdateRefusedError(ServerError, ValueError):
    """An update is malformed, or would have damaged the room; the room is as it was."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the update was refused and the room left as it was: {self.reason}"


class MalformedFrameError(ServerError, ValueError):
    """A frame from a socket does not follow the y-websocket protocol."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"malformed frame: {self.reason}"


class FrameTooLargeError(MalformedFrameError):
    """A frame, or a part of it, is larger than the setting allows."""

    def __init__(self, what: str, size_bytes: int, max_bytes: int) -> None:
        super().__init__(f"{what} of {size_bytes} bytes where at most {max_bytes} are allowed")
        self.size_bytes = size_bytes
        self.max_bytes = max_bytes


class ServerStoppedError(ServerError, RuntimeError):
    """The embedded server could not be started; its `__cause__` says why."""

    def __str__(self) -> str:
        return "the embedded room server stopped while it was starting: the error that caused this says why"


class StoreError(ServerError, OSError):
    """The store failed. Nothing is confirmed, nothing is lost that was confirmed; trying again may succeed.

    Attributes:
        where: The store, by the path of its file.
        reason: What the layer below said.
    """

    advice = "see the server's log"

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(where, reason)
        self.where = where
        self.reason = reason

    def __str__(self) -> str:
        return f"the store {self.where} failed ({self.reason}): {self.advice}"


class StoreBusyError(StoreError):
    """Another process owns the file."""

    advice = "let one process serve these rooms, or give this one another file with STREAMLIT_CRDT_STORE"


class StoreFullError(StoreError):
    """No room is left on the disk."""

    advice = "make room on its disk; what waits is saved then"


class StoreReadOnlyError(StoreError, PermissionError):
    """The file, or the directory it is in, cannot be written."""

    advice = "let this user write to the file and to its directory; what waits is saved then"


class StoreCorruptError(StoreError):
    """The file is damaged, or it is not one of ours; it is left as it is."""

    advice = "keep the file for repair and restore a backup"


class StoreUnavailableError(StoreError):
    """The store failed for any other reason: it is closed, locked by another program, or its disk fails."""


class HostRefused(ServerError, PermissionError):
    """A server that listens on this machine only was asked for under another machine's name."""

    def __init__(self, host: str) -> None:
        super().__init__(host)
        self.host = host

    def __str__(self) -> str:
        return (
            f"the server listens on this machine only and was asked for as {self.host[:200]!r}: if a proxy does so, "
            f"add the address of its pages to STREAMLIT_CRDT_ALLOW_ORIGIN"
        )


class QueryRefused(ServerError, ValueError):
    """What follows the question mark of an address cannot be read; it is not shown, a token may be in it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"a connection's query is wrong: {self.reason}"


class TooManyConnectionsError(ServerError, RuntimeError):
    """One more connection would exceed a limit.

    Attributes:
        kind: What is counted: "room", "user" or "address".
    """

    def __init__(self, kind: str, name: str, max_connections: int) -> None:
        super().__init__(kind, name, max_connections)
        self.kind = kind
        self.name = name
        self.max_connections = max_connections

    def __str__(self) -> str:
        return (
            f"{self.kind} {self.name!r} has {self.max_connections} connections: if that is not too many, raise "
            f"STREAMLIT_CRDT_MAX_CONNECTIONS_PER_{self.kind.upper()}"
        )


class TokenError(ServerError, PermissionError):
    """A token opens nothing here. Why is for the log; whoever brought it is told nothing."""


class TokenMissingError(TokenError):
    """A connection brought no token where one is required."""

    def __str__(self) -> str:
        return "a connection brought no token"


class TokenMalformedError(TokenError):
    """It is not a token of ours."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"a token is malformed: {self.reason}"


class TokenKeyUnknownError(TokenError):
    """It was signed with a key that is not, or no longer, in the ring."""

    def __init__(self, key_id: str) -> None:
        super().__init__(key_id)
        self.key_id = key_id

    def __str__(self) -> str:
        return (
            f"a token was signed with the unknown key {self.key_id[:32]!r}: the app and the room server must have "
            f"the same secret"
        )


class TokenForgedError(TokenError):
    """Its signature is not that of what it says."""

    def __str__(self) -> str:
        return "a token's signature is not that of what it says"


class TokenExpiredError(TokenError):
    """It has ended."""

    def __init__(self, expired_at: float, now: float) -> None:
        super().__init__(expired_at, now)
        self.expired_at = expired_at
        self.now = now

    def __str__(self) -> str:
        return f"a token ended {self.now - self.expired_at:.0f} s ago"


class AdminForbiddenError(TokenError):
    """A token is good, but for another errand, or another namespace."""

    def __init__(self, does: str) -> None:
        super().__init__(does)
        self.does = does

    def __str__(self) -> str:
        return f"a token is not for this errand: {self.does[:140]!r}"


class RoomForbiddenError(TokenError):
    """A token is good, but not for this room."""

    def __init__(self, room: str) -> None:
        super().__init__(room)
        self.room = room

    def __str__(self) -> str:
        return f"a token does not open room {self.room[:140]!r}"
