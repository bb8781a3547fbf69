"""What can go wrong for a program in a room, beyond what can for a session."""

from __future__ import annotations

from streamlit_crdt.errors import CrdtError


class EntryRefusedError(CrdtError, PermissionError):
    """The room server did not let this program in.

    Attributes: `room`, `address`, `had_token` (whether a token was shown).
    """

    def __init__(self, room: str, address: str, had_token: bool) -> None:
        super().__init__(room, address, had_token)
        self.room = room
        self.address = address
        self.had_token = had_token

    def __str__(self) -> str:
        why = "it does not take the token" if self.had_token else "no token was shown"
        return (
            f"The room server at {self.address} refused entry to room {self.room!r}: {why}. Set STREAMLIT_CRDT_SECRET "
            "to the secret that the server has, or pass token= with one that  streamlit-crdt token  has printed there."
        )


class RoomDeletedError(CrdtError, RuntimeError):
    """The room was deleted and begun anew while this program was in it. Its values here are those from before.

    Attributes: `room`.
    """

    def __init__(self, room: str) -> None:
        super().__init__(room)
        self.room = room

    def __str__(self) -> str:
        return (
            f"Room {self.room!r} was deleted and begun anew: what is edited here would not reach it. Leave it, and "
            "connect() again."
        )


class RoomLeftError(CrdtError, RuntimeError):
    """A room was edited after its `with` block. Nothing was changed.

    Attributes: `room`.
    """

    def __init__(self, room: str) -> None:
        super().__init__(room)
        self.room = room

    def __str__(self) -> str:
        return f"Room {self.room!r} was left: edit it inside of the  with connect(...)  block."


class EditsNotSavedError(CrdtError, RuntimeError):
    """A room was left, and its server has not said that all edits are saved.

    Attributes: `room`, `count` (how many edits are not), `reason`.
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
    """Something that needs a page was called where there is none.

    Attributes: `what`.
    """

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return f"room.{self.what}() needs a Streamlit page: call it in a script that uses crdt_sync()."
