"""What can go wrong, as one tree.

Every error derives from `CrdtError`, so that an app can catch all of them at once, and from the builtin that
a user would expect, so that nobody has to know this module. The parts of a message are attributes and the
sentence is built in `__str__`: code that reacts to an error never has to read its text.
"""

from __future__ import annotations


class CrdtError(Exception):
    """Anything that streamlit-crdt refuses or cannot do."""


class RoomNameError(CrdtError, ValueError):
    """A room's name is not 1 to 128 of the characters that are safe in an address and a file name."""

    def __init__(self, name: object) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return (
            f"{self.name!r} cannot be a room's name: use 1 to 128 of the characters A-Z a-z 0-9 . _ - "
            "(and neither '.' nor '..' alone)."
        )


class ValueNotShareableError(CrdtError, TypeError):
    """A value has no form in which others could get it back unchanged. Nothing was stored.

    Attributes: `key` (None until the key is known), `type_name`, `reason`.
    """

    def __init__(self, type_name: str, reason: str, *, key: str | None = None) -> None:
        super().__init__(type_name, reason)
        self.key = key
        self.type_name = type_name
        self.reason = reason

    def __str__(self) -> str:
        where = "This value" if self.key is None else f"The value of {self.key!r}"
        return (
            f"{where} (type {self.type_name}) cannot be shared: {self.reason}. Store something else "
            f"under this key, or keep it to this session with crdt_sync(..., private=[{self.key!r}])."
        )


class MergeRuleError(CrdtError, ValueError):
    """`merge=` names a rule that does not exist.

    Attributes: `key`, `rule`.
    """

    def __init__(self, key: object, rule: object) -> None:
        super().__init__(key, rule)
        self.key = key
        self.rule = rule

    def __str__(self) -> str:
        return (
            f"merge={{{self.key!r}: {self.rule!r}}} names no merge rule: "
            'use "value", "text", "list", "map", "set" or "counter".'
        )


class SharedTypeError(CrdtError, TypeError):
    """A key holds a value that is of another kind than the shared type asked for.

    Attributes: `key`, `wanted`, `type_name`.
    """

    def __init__(self, key: str, wanted: str, type_name: str) -> None:
        super().__init__(key, wanted, type_name)
        self.key = key
        self.wanted = wanted
        self.type_name = type_name

    def __str__(self) -> str:
        return (
            f"room.{self.wanted}({self.key!r}) cannot be used: the room's value of this key is of the type "
            f"{self.type_name}. Use another key, or assign room.state[{self.key!r}] anew."
        )


class RoleError(CrdtError, ValueError):
    """A role is neither "editor" nor "viewer"."""

    def __init__(self, role: object) -> None:
        super().__init__(role)
        self.role = role

    def __str__(self) -> str:
        return f'role={self.role!r} does not exist: use "editor" or "viewer".'


class UserError(CrdtError, ValueError):
    """What was given as the user does not say who it is."""

    def __init__(self, user: object) -> None:
        super().__init__(user)
        self.user = user

    def __str__(self) -> str:
        return (
            f"user={self.user!r:.200} does not say who it is: give a name, or a mapping with an 'id' or a 'name', or "
            "leave it out for whoever is logged in."
        )


class ViewOnlyError(CrdtError, PermissionError):
    """A viewer's session was to change the room. Nothing was changed.

    Attributes: `key` (None where it is the room itself that was to be deleted), `room`.
    """

    def __init__(self, room: str, key: str | None = None) -> None:
        super().__init__(room, key)
        self.room = room
        self.key = key

    def __str__(self) -> str:
        if self.key is None:
            return f"Room {self.room!r} was not deleted, because this session may only look at it."
        return (
            f"{self.key!r} was not changed, because this session may only look at room {self.room!r}: "
            'check  room.role == "editor"  first.'
        )


class EntryForbiddenError(CrdtError, PermissionError):
    """The app's `authorize` hook keeps this session out of a room.

    Attributes: `room`.
    """

    def __init__(self, room: str) -> None:
        super().__init__(room)
        self.room = room

    def __str__(self) -> str:
        return f"You may not enter the room {self.room!r}. Who may is decided by authorize= of crdt_app."


class ValueUnreadableError(CrdtError, ValueError):
    """Something stored in the room cannot be turned into a Python value here.

    Attributes: `key` (None until the key is known), `reason`.
    """

    def __init__(self, reason: str, *, key: str | None = None) -> None:
        super().__init__(reason)
        self.key = key
        self.reason = reason

    def __str__(self) -> str:
        where = "A shared value" if self.key is None else f"The shared value of {self.key!r}"
        return f"{where} cannot be read here: {self.reason}."


class RoomNotLoadedError(CrdtError, RuntimeError):
    """A room was to be kept or restored as a whole, and its content has not come yet. Nothing was changed.

    Attributes: `room`.
    """

    def __init__(self, room: str) -> None:
        super().__init__(room)
        self.room = room

    def __str__(self) -> str:
        return (
            f"The content of room {self.room!r} is not here yet, so it can be neither kept nor restored: try again "
            'once  room.status == "connected".'
        )


class SnapshotNameError(CrdtError, ValueError):
    """Something cannot be a snapshot's name. Nothing was saved.

    Attributes: `name`, `limit` (in characters).
    """

    def __init__(self, name: object, limit: int) -> None:
        super().__init__(name, limit)
        self.name = name
        self.limit = limit

    def __str__(self) -> str:
        return (
            f"{self.name!r:.200} cannot be a snapshot's name: use a text of 1 to {self.limit} characters, in one line "
            "and not blank."
        )


class SnapshotMissingError(CrdtError, KeyError):
    """The room has no snapshot of that name.

    Attributes: `name`.
    """

    def __init__(self, name: object) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"The room has no snapshot {self.name!r:.200}; it may have been deleted."


class SnapshotLimitError(CrdtError, ValueError):
    """A snapshot is more than a room can keep. Nothing was saved.

    Attributes: `name`, `reason`.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"Snapshot {self.name!r} was not saved: {self.reason}. Delete others, or keep a file (room.export)."


class RoomFileError(CrdtError, ValueError):
    """What was to be loaded is not a room that `room.export` has written. Nothing was changed.

    Attributes: `reason`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"This file cannot be loaded, and nothing was changed: {self.reason}."


class FrameError(CrdtError, ValueError):
    """Bytes from the component's channel are not a frame that this version reads. Nothing was applied."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"A frame from the browser was refused: {self.reason}. Reload the page if this goes on."


class UpdateRefusedError(CrdtError, ValueError):
    """An update is malformed or dangerous. The replica is as it was before."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"An update was refused and nothing of it was applied: {self.reason}."


class ServerUnavailableError(CrdtError, RuntimeError):
    """No room server answers at `address`."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(address, reason)
        self.address = address
        self.reason = reason

    def __str__(self) -> str:
        return f"The room server at {self.address} is not available: {self.reason}."


class StreamlitTooOldError(CrdtError, RuntimeError):
    """The installed Streamlit lacks what the library needs."""

    def __init__(self, found: str, needed: str) -> None:
        super().__init__(found, needed)
        self.found = found
        self.needed = needed

    def __str__(self) -> str:
        return (
            f"streamlit-crdt needs Streamlit {self.needed} or newer and found {self.found}: "
            f'run  pip install "streamlit>={self.needed}"'
        )


class CommandError(CrdtError):
    """Raised when a command of `streamlit-crdt` fails. The message is one sentence for the terminal."""
