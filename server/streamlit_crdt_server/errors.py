"""Error tree of the room server.

`__str__` builds the message from the attributes, so that callers match on types and attributes instead of text. Each
leaf also inherits the builtin error that callers without knowledge of this package would catch.

The texts of refused connections and tokens are for the log only. The client receives no reason, because it would
reveal which rooms exist.
"""

from __future__ import annotations

import shlex


class ServerError(Exception):
    """Base class of all errors of this package."""


class SettingsError(ServerError, ValueError):
    """Raised when a setting is unknown, cannot be parsed, or contradicts another. The message says what to change."""


class PortTakenError(ServerError, OSError):
    """Raised when another program listens on the address of the room server."""

    def __init__(self, host: str, port: int, setting: str = "port") -> None:
        super().__init__(host, port, setting)
        self.host = host
        self.port = port
        self.setting = setting

    def __str__(self) -> str:
        return (
            f"port {self.port} on {self.host} is in use by another program: stop that program, or set "
            f"STREAMLIT_CRDT_{self.setting.upper()} to another port (0 picks a free one)"
        )


class CannotListenError(ServerError, OSError):
    """Raised when the server cannot listen on its address for another reason than a port in use."""

    def __init__(self, host: str, port: int, reason: str, setting: str = "port") -> None:
        super().__init__(host, port, reason, setting)
        self.host = host
        self.port = port
        self.reason = reason
        self.setting = setting

    def __str__(self) -> str:
        return (
            f"the room server cannot listen on {self.host} port {self.port} ({self.reason}): set "
            f"STREAMLIT_CRDT_{self.setting.upper().replace('PORT', 'HOST')} to an address of this machine and "
            f"STREAMLIT_CRDT_{self.setting.upper()} to a port that this user may open"
        )


class RoomNameRefused(ServerError, ValueError):
    """Raised for an invalid room name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return (
            f"{self.name[:140]!r} cannot be a room's name: use 1 to 256 bytes of UTF-8 without control characters, "
            f'other than "*", and without the parts "." and ".." between slashes'
        )


class OriginRefused(ServerError, PermissionError):
    """Raised when a page of an origin that is not allowed connects."""

    def __init__(self, origin: str) -> None:
        super().__init__(origin)
        self.origin = origin

    def __str__(self) -> str:
        return (
            f"origin {self.origin[:200]!r} is not allowed: to allow its pages, add it to "
            f"STREAMLIT_CRDT_ALLOW_ORIGIN"
        )


class TooManyRoomsError(ServerError, RuntimeError):
    """Raised when a new room would exceed `max_rooms` and no open room can be closed without loss."""

    def __init__(self, name: str, max_rooms: int) -> None:
        super().__init__(name, max_rooms)
        self.name = name
        self.max_rooms = max_rooms

    def __str__(self) -> str:
        return (
            f"room {self.name!r} was not opened, because {self.max_rooms} rooms are in use: raise "
            f"STREAMLIT_CRDT_MAX_ROOMS, or use fewer rooms"
        )


class RoomUnavailableError(ServerError, RuntimeError):
    """Raised when a room failed or could not be opened. `__cause__` is the reason."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"room {self.name!r} is not available: see the log of the server, then retry"


class RoomFullError(ServerError, RuntimeError):
    """Raised when an update is rejected because the document has reached `max_room_bytes` and is read-only."""

    def __init__(self, name: str, max_room_bytes: int) -> None:
        super().__init__(name, max_room_bytes)
        self.name = name
        self.max_room_bytes = max_room_bytes

    def __str__(self) -> str:
        return (
            f"room {self.name!r} is full and read-only ({self.max_room_bytes} bytes): raise "
            f"STREAMLIT_CRDT_MAX_ROOM_BYTES, or continue in a new room"
        )


class DiskLimitError(RoomFullError):
    """Raised when an update is rejected because a room, or the rooms of the user who created it, use too much disk.

    Attributes:
        setting: The name of the limit.
        max_bytes: Its value.
    """

    def __init__(self, name: str, setting: str, max_bytes: int) -> None:
        super().__init__(name, max_bytes)
        self.args = (name, setting, max_bytes)
        self.setting = setting
        self.max_bytes = max_bytes

    def __str__(self) -> str:
        whose = "the rooms of its creator use" if self.setting.endswith("_user") else "it uses"
        return (
            f"room {self.name!r} is read-only, because {whose} {self.max_bytes} bytes on disk: raise "
            f"STREAMLIT_CRDT_{self.setting.upper()}, or delete rooms"
        )


class TooManyNewRoomsError(ServerError, RuntimeError):
    """Raised when a new room is not created, because its creator has created too many. Existing rooms can be opened.

    Attributes:
        name: The room.
        setting: The name of the limit.
        limit: Its value.
    """

    def __init__(self, name: str, setting: str, limit: int) -> None:
        super().__init__(name, setting, limit)
        self.name = name
        self.setting = setting
        self.limit = limit

    def __str__(self) -> str:
        return (
            f"room {self.name!r} was not created, because {self.setting}={self.limit} is reached: retry later, delete "
            f"rooms, or raise STREAMLIT_CRDT_{self.setting.upper()}"
        )


class HubNotRunningError(ServerError, RuntimeError):
    """Raised when a room is requested before the hub was started or after it was stopped."""

    def __str__(self) -> str:
        return (
            "the room server is not running: start it first, for example with `async with hub:` in a lifespan"
        )


class OpenTimeoutError(ServerError, TimeoutError):
    """Raised when another thread waited too long for a room to open."""

    def __init__(self, name: str, timeout_s: float) -> None:
        super().__init__(name, timeout_s)
        self.name = name
        self.timeout_s = timeout_s

    def __str__(self) -> str:
        return f"room {self.name!r} did not open within {self.timeout_s:g} s: retry, or raise timeout_s"


class AnswerTimeoutError(ServerError, TimeoutError):
    """Raised when another thread waited too long for an answer of the hub."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(timeout_s)
        self.timeout_s = timeout_s

    def __str__(self) -> str:
        return f"the room server did not answer within {self.timeout_s:g} s: retry, or raise timeout_s"


class WrongThreadError(ServerError, RuntimeError):
    """Raised when a blocking call is made in the thread of the event loop, which would wait for itself."""

    def __str__(self) -> str:
        return (
            "a blocking call was made in the event loop: await the coroutine of the hub instead, for example "
            "`await hub.aopen_local(...)`"
        )


class UpdateRefusedError(ServerError, ValueError):
    """Raised for an update that is malformed or would damage the room. The room is unchanged."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the update was refused and the room is unchanged: {self.reason}"


class PendingLimitError(ServerError, RuntimeError):
    """Raised for an update that depends on missing updates, if too much is pending. The sender must keep it."""

    def __str__(self) -> str:
        return (
            "too many updates depend on missing ones: synchronize again, and send the missing updates first"
        )


class MalformedFrameError(ServerError, ValueError):
    """Raised when a frame does not follow the y-websocket protocol."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"malformed frame: {self.reason}"


class FrameTooLargeError(MalformedFrameError):
    """Raised when a frame, or a part of it, exceeds its limit."""

    def __init__(self, what: str, size_bytes: int, max_bytes: int) -> None:
        super().__init__(f"{what} has {size_bytes} bytes, but at most {max_bytes} are allowed")
        self.size_bytes = size_bytes
        self.max_bytes = max_bytes


class ServerStoppedError(ServerError, RuntimeError):
    """Raised when the embedded server could not be started. `__cause__` is the reason."""

    def __str__(self) -> str:
        return "the embedded room server stopped during its start: see the error that caused this"


class StoreError(ServerError, OSError):
    """Raised when the store failed. Acknowledged updates are not lost, and a retry may succeed.

    Attributes:
        where: Path of the store file.
        reason: Text of the underlying error.
    """

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(where, reason)
        self.where = where
        self.reason = reason

    @property
    def advice(self) -> str:
        """Clause that says what to do."""
        return "see the log of the server"

    def __str__(self) -> str:
        return f"the store {self.where} failed ({self.reason}): {self.advice}"


class StoreBusyError(StoreError):
    """Raised when another process owns the file."""

    @property
    def advice(self) -> str:
        return "serve these rooms from one process, or set STREAMLIT_CRDT_STORE to another file for this one"


class StoreFullError(StoreError):
    """Raised when the disk is full."""

    @property
    def advice(self) -> str:
        return "free space on its disk; unsaved updates are then saved"


class StoreReadOnlyError(StoreError, PermissionError):
    """Raised when the file or its directory is not writable."""

    @property
    def advice(self) -> str:
        return "let this user write to the file and its directory; unsaved updates are then saved"


class StoreCorruptError(StoreError):
    """Raised when the file is damaged or not a room store. It is unchanged."""

    @property
    def advice(self) -> str:
        command = f"streamlit-crdt repair {shlex.quote(self.where)}"
        return f"restore a backup, or run  {command}  , which lists what is lost before it changes anything"


class StoreVersionError(StoreCorruptError):
    """Raised when a later version of this library wrote the file. It is unchanged."""

    def __init__(self, where: str, version: int, supported: int) -> None:
        super().__init__(
            where, f"its tables have version {version}; this installation reads up to version {supported}"
        )
        self.version = version
        self.supported = supported

    @property
    def advice(self) -> str:
        return "upgrade streamlit-crdt to the version that wrote the file, or restore a backup"


class StoreUnavailableError(StoreError):
    """Raised when the store is closed, locked by another program, or its disk fails."""


class HostRefused(ServerError, PermissionError):
    """Raised when the Host header of a request to a loopback server names another machine."""

    def __init__(self, host: str) -> None:
        super().__init__(host)
        self.host = host

    def __str__(self) -> str:
        return (
            f"host {self.host[:200]!r} is not allowed, because the server listens on this machine only: behind a "
            f"proxy, add the origin of its pages to STREAMLIT_CRDT_ALLOW_ORIGIN"
        )


class QueryRefused(ServerError, ValueError):
    """Raised for an invalid query string. The message does not contain it, because a token may be in it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the query of a connection is invalid: {self.reason}"


class TooManyConnectionsError(ServerError, RuntimeError):
    """Raised when a connection would exceed a limit.

    Attributes:
        kind: The limit: "server", "room", "user" or "address".
    """

    def __init__(self, kind: str, name: str, max_connections: int) -> None:
        super().__init__(kind, name, max_connections)
        self.kind = kind
        self.name = name
        self.max_connections = max_connections

    def __str__(self) -> str:
        if self.kind == "server":
            return (
                f"the server has {self.max_connections} connections: to allow more, raise "
                f"STREAMLIT_CRDT_MAX_CONNECTIONS and the limit of open files of the process"
            )
        return (
            f"{self.kind} {self.name!r} has {self.max_connections} connections: to allow more, raise "
            f"STREAMLIT_CRDT_MAX_CONNECTIONS_PER_{self.kind.upper()}"
        )


class TokenError(ServerError, PermissionError):
    """Base class of token errors. The reason is for the log; the client does not receive it."""


class TokenMissingError(TokenError):
    """Raised when a required token is missing."""

    def __str__(self) -> str:
        return "a connection has no token"


class TokenMalformedError(TokenError):
    """Raised for a token that this package did not sign."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"a token is malformed: {self.reason}"


class TokenKeyUnknownError(TokenError):
    """Raised when the key of a token is not in the key ring."""

    def __init__(self, key_id: str) -> None:
        super().__init__(key_id)
        self.key_id = key_id

    def __str__(self) -> str:
        return (
            f"a token was signed with the unknown key {self.key_id[:32]!r}: the app and the room server must have "
            f"the same secret"
        )


class TokenForgedError(TokenError):
    """Raised when the signature of a token does not match its content."""

    def __str__(self) -> str:
        return "the signature of a token does not match its content"


class TokenExpiredError(TokenError):
    """Raised when a token has expired."""

    def __init__(self, expired_at: float, now: float) -> None:
        super().__init__(expired_at, now)
        self.expired_at = expired_at
        self.now = now

    def __str__(self) -> str:
        return f"a token expired {self.now - self.expired_at:.0f} s ago"


class TokenUsedError(TokenError):
    """Raised when a token for one request may have been used before."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"a token for one request {self.reason}"


class AdminForbiddenError(TokenError):
    """Raised when a valid admin token is for another operation or namespace."""

    def __init__(self, does: str) -> None:
        super().__init__(does)
        self.does = does

    def __str__(self) -> str:
        return f"a token does not authorize the operation {self.does[:140]!r}"


class RoomForbiddenError(TokenError):
    """Raised when a valid token grants no access to the room."""

    def __init__(self, room: str) -> None:
        super().__init__(room)
        self.room = room

    def __str__(self) -> str:
        return f"a token grants no access to room {self.room[:140]!r}"
