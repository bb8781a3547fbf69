"""Which keys of a session are shared in a room."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

PRIVATE_PREFIX: Final = "crdt-private:"

CHANNEL_KEY_PREFIX: Final = "crdt-channel:"
"""Prefix of the keys of the library's own components. Their triggers are not clicks."""


@dataclass(frozen=True, slots=True)
class KeyFilter:
    """Globs over keys, `private` winning over `keys` (rule P8)."""

    keys: tuple[str, ...] | None = None
    private: tuple[str, ...] = ()

    def shares(self, key: str) -> bool:
        if is_private(key) or _matches(key, self.private):
            return False
        return self.keys is None or _matches(key, self.keys)

    def joined(self, other: KeyFilter) -> KeyFilter:
        """Return what two calls for one room share together: what is private to either is private (rule P8)."""
        keys = None if self.keys is None or other.keys is None else (*self.keys, *other.keys)
        return KeyFilter(keys, (*self.private, *other.private))


def is_private(key: str) -> bool:
    """Say whether a key is never shared, whatever the room: it is made by `private_key`, or the library's own."""
    return key.startswith((PRIVATE_PREFIX, CHANNEL_KEY_PREFIX))


def _matches(key: str, globs: tuple[str, ...]) -> bool:
    return any(key == glob or fnmatchcase(key, glob) for glob in globs)
