"""The error tree of the library.

Every error derives from `CrdtError` and from the matching builtin exception, so that an app can catch either. Each part
of a message is an attribute, and `__str__` composes the message: code that handles an error does not parse its text.
"""

from __future__ import annotations


class CrdtError(Exception):
    """Base class of all errors of streamlit-crdt."""


class RoomNameError(CrdtError, ValueError):
    """Raised when a room name is not 1 to 128 characters that are safe in a URL and a file name.

    Attributes:
        name: the rejected name.
    """

    def __init__(self, name: object) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return (
            f"Room name {self.name!r:.200} is invalid. Use 1 to 128 of the characters A-Z a-z 0-9 . _ - "
            "(but not '.' or '..' alone)."
        )


class ValueNotShareableError(CrdtError, TypeError):
    """Raised when a value has no lossless stored form, or must not be shared. Nothing was stored.

    Attributes:
        key: the key of the value; None until it is known.
        type_name: the type of the rejected value or part.
        reason: the reason, as a clause.
    """

    def __init__(self, type_name: str, reason: str, *, key: str | None = None) -> None:
        super().__init__(type_name, reason)
        self.key = key
        self.type_name = type_name
        self.reason = reason

    def __str__(self) -> str:
        if self.key is None:
            return f"This value (type {self.type_name}) cannot be shared: {self.reason}. Use a value of plain types."
        return (
            f"The value of {self.key!r:.200} (type {self.type_name}) cannot be shared: {self.reason}. Store another "
            f"value under this key, or make the key private: crdt_sync(..., private=[{self.key!r:.200}])."
        )


class MergeRuleError(CrdtError, ValueError):
    """Raised when `merge=` names an unknown merge rule.

    Attributes:
        key: the key in `merge=`.
        rule: the unknown rule.
    """

    def __init__(self, key: object, rule: object) -> None:
        super().__init__(key, rule)
        self.key = key
        self.rule = rule

    def __str__(self) -> str:
        return (
            f"merge={{{self.key!r:.200}: {self.rule!r:.200}}} is not a merge rule. "
            'Use "value", "text", "list", "records", "records:FIELD", "map", "set" or "counter".'
        )


class SharedTypeError(CrdtError, TypeError):
    """Raised when the value of a key does not match the requested shared type.

    Attributes:
        key: the key.
        wanted: the requested shared type, such as "list".
        type_name: the type of the value in the room.
    """

    def __init__(self, key: str, wanted: str, type_name: str) -> None:
        super().__init__(key, wanted, type_name)
        self.key = key
        self.wanted = wanted
        self.type_name = type_name

    def __str__(self) -> str:
        return (
            f"room.{self.wanted}({self.key!r:.200}) does not match the value of this key in the room, which has the "
            f"type {self.type_name}. Use another key, or assign a new value to room.state[{self.key!r:.200}]."
        )


class SharedItemDeletedError(CrdtError, LookupError):
    """Raised when a container inside of a shared value is changed that the room does not have any more.

    Another participant has deleted it or the value around it, or has replaced it by a value of another type.

    Attributes:
        key: the key of the shared value.
    """

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key

    def __str__(self) -> str:
        return (
            f"The changed part of the value of {self.key!r:.200} was deleted or replaced meanwhile. Nothing was "
            "changed. Read the value again and repeat the change."
        )


class RoleError(CrdtError, ValueError):
    """Raised when a role is neither "editor" nor "viewer".

    Attributes:
        role: the rejected role.
    """

    def __init__(self, role: object) -> None:
        super().__init__(role)
        self.role = role

    def __str__(self) -> str:
        return f'role={self.role!r:.200} is invalid. Use "editor" or "viewer".'


class UserError(CrdtError, ValueError):
    """Raised when the argument `user` has neither a name nor an id.

    Attributes:
        user: the rejected argument.
    """

    def __init__(self, user: object) -> None:
        super().__init__(user)
        self.user = user

    def __str__(self) -> str:
        return (
            f"user={self.user!r:.200} has neither a name nor an id. Pass a name, or a mapping with "
            "an 'id' or a 'name'; or leave it out to use the user who is logged in."
        )


class ViewOnlyError(CrdtError, PermissionError):
    """Raised when the session of a viewer changes the room. Nothing was changed.

    Attributes:
        room: the name of the room.
        key: the key of the change; None for the deletion of the room.
    """

    def __init__(self, room: str, key: str | None = None) -> None:
        super().__init__(room, key)
        self.room = room
        self.key = key

    def __str__(self) -> str:
        if self.key is None:
            return f"Room {self.room!r:.200} was not deleted: this session has the role viewer."
        return (
            f"{self.key!r:.200} was not changed: this session has the role viewer in room {self.room!r:.200}. "
            'Check `room.role == "editor"` first.'
        )


class EntryForbiddenError(CrdtError, PermissionError):
    """Raised when the app's `authorize` hook denies this session access to a room.

    Attributes:
        room: the name of the room.
    """

    def __init__(self, room: str) -> None:
        super().__init__(room)
        self.room = room

    def __str__(self) -> str:
        return f"You may not enter the room {self.room!r:.200}. The `authorize` hook of crdt_app decides on access."


class ValueUnreadableError(CrdtError, ValueError):
    """Raised when this process cannot decode a stored value.

    Attributes:
        key: the key of the value; None until it is known.
        reason: the reason, as a clause.
    """

    def __init__(self, reason: str, *, key: str | None = None) -> None:
        super().__init__(reason)
        self.key = key
        self.reason = reason

    def __str__(self) -> str:
        subject = "A shared value" if self.key is None else f"The shared value of {self.key!r:.200}"
        return f"{subject} is unreadable: {self.reason}."


class RoomNotLoadedError(CrdtError, RuntimeError):
    """Raised when a room is saved or restored as a whole before its content has arrived. Nothing was changed.

    Attributes:
        room: the name of the room.
    """

    def __init__(self, room: str) -> None:
        super().__init__(room)
        self.room = room

    def __str__(self) -> str:
        return f'Room {self.room!r:.200} is not synced yet. Retry when `room.status` is "connected".'


class SnapshotNameError(CrdtError, ValueError):
    """Raised when the name of a snapshot is invalid. Nothing was saved.

    Attributes:
        name: the rejected name.
        limit: the limit of a name in characters.
    """

    def __init__(self, name: object, limit: int) -> None:
        super().__init__(name, limit)
        self.name = name
        self.limit = limit

    def __str__(self) -> str:
        return (
            f"Snapshot name {self.name!r:.200} is invalid. Use one line of 1 to {self.limit} characters "
            "that is not blank."
        )


class SnapshotMissingError(CrdtError, KeyError):
    """Raised when the room has no snapshot with the given name.

    Attributes:
        name: the given name.
    """

    def __init__(self, name: object) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"The room has no snapshot {self.name!r:.200}. It may have been deleted."


class SnapshotLimitError(CrdtError, ValueError):
    """Raised when a snapshot exceeds a limit of the room. Nothing was saved.

    Attributes:
        name: the name of the snapshot.
        reason: the exceeded limit, as a clause.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"Snapshot {self.name!r:.200} was not saved: {self.reason}. Delete other snapshots, "
            "or save a file with room.export()."
        )


class RoomFileError(CrdtError, ValueError):
    """Raised when a loaded file is not a file of `room.export`. Nothing was changed.

    Attributes:
        reason: the reason, as a clause.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"The file was not loaded, and nothing was changed: {self.reason}."


class FrameError(CrdtError, ValueError):
    """Raised when bytes from the component's channel are not a frame of this version. Nothing was applied.

    Attributes:
        reason: the reason, as a clause.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"A frame from the browser was rejected: {self.reason}. Reload the page if this is repeated."


class UpdateRefusedError(CrdtError, ValueError):
    """Raised when an update is malformed or dangerous. The replica is unchanged.

    Attributes:
        reason: the reason, as a clause.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"An update was rejected and not applied: {self.reason}."


class ServerUnavailableError(CrdtError, RuntimeError):
    """Raised when the room server at an address does not answer.

    Attributes:
        address: the address of the room server.
        reason: the reason, as a clause.
    """

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(address, reason)
        self.address = address
        self.reason = reason

    def __str__(self) -> str:
        return f"The room server at {self.address} is not available: {self.reason}."


class StreamlitTooOldError(CrdtError, RuntimeError):
    """Raised when the installed Streamlit is older than the minimum.

    Attributes:
        found: the installed version.
        needed: the minimum version.
    """

    def __init__(self, found: str, needed: str) -> None:
        super().__init__(found, needed)
        self.found = found
        self.needed = needed

    def __str__(self) -> str:
        return (
            f"streamlit-crdt needs Streamlit {self.needed} or newer, but {self.found} is installed. "
            f'Run  pip install "streamlit>={self.needed}"'
        )


class CommandError(CrdtError):
    """Raised when a command of `streamlit-crdt` fails. The message is one sentence for the terminal."""
