"""Errors of the headless client, in addition to those of `streamlit_crdt.errors`."""

from __future__ import annotations

from streamlit_crdt.errors import CrdtError


class EntryRefusedError(CrdtError, PermissionError):
    """Raised when the room server refuses the client's connection.

    Attributes:
        room: the room's name.
        address: the server's address.
        had_token: True if the client sent a token.
    """

    def __init__(self, room: str, address: str, had_token: bool) -> None:
        super().__init__(room, address, had_token)
        self.room = room
        self.address = address
        self.had_token = had_token

    def __str__(self) -> str:
        reason = "it does not accept the token" if self.had_token else "no token was sent"
        return (
            f"The room server at {self.address} refused entry to room {self.room!r}: {reason}. Set "
            "STREAMLIT_CRDT_SECRET to the server's secret, or pass token= with a token printed by "
            " streamlit-crdt token  on the server's machine."
        )


class RoomDeletedError(CrdtError, RuntimeError):
    """Raised when the room was deleted while the client was in it. The client keeps the values from before.

    Attributes:
        room: the room's name.
    """

    def __init__(self, room: str) -> None:
        super().__init__(room)
        self.room = room

    def __str__(self) -> str:
        return (
            f"Room {self.room!r} was deleted: edits made here do not reach the new room of that name. Leave the block "
            "and call connect() again."
        )


class RoomLeftError(CrdtError, RuntimeError):
    """Raised when a room is edited after its `with` block. Nothing was changed.

    Attributes:
        room: the room's name.
    """

    def __init__(self, room: str) -> None:
        super().__init__(room)
        self.room = room

    def __str__(self) -> str:
        return f"Room {self.room!r} was left: edit it inside the  with connect(...)  block."


class EditsNotSavedError(CrdtError, RuntimeError):
    """Raised at the end of the `with` block when the server has not confirmed that all edits are saved.

    Attributes:
        room: the room's name.
        count: number of unsaved edits.
        reason: cause, as text.
    """

    def __init__(self, room: str, count: int, reason: str) -> None:
        super().__init__(room, count, reason)
        self.room = room
        self.count = count
        self.reason = reason

    def __str__(self) -> str:
        edits = "1 edit is" if self.count == 1 else f"{self.count} edits are"
        return f"Room {self.room!r} was left and {edits} not saved: {self.reason}."


class OutsideAppError(CrdtError, RuntimeError):
    """Raised when a method that shows a Streamlit element is called outside a Streamlit script.

    Attributes:
        what: name of the method.
    """

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return f"room.{self.what}() needs a Streamlit page: call it in a script that uses crdt_sync()."
