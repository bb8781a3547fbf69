"""Why a connection is not accepted, or a token not taken: part of the tree in `errors`.

What these say is for the log. Whoever was refused is told nothing, lest it learns which rooms there are.
"""

from __future__ import annotations

from streamlit_crdt_server.errors import ServerError


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


class ErrandForbiddenError(TokenError):
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
