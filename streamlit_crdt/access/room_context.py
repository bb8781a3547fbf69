"""Settings of one session in one room: role, shared keys and merge rules."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

from streamlit_crdt.access.participant import Participant
from streamlit_crdt.merge import MergePolicy, Rule

PRIVATE_PREFIX: Final = "crdt-private:"

CHANNEL_KEY_PREFIX: Final = "crdt-channel:"
"""Prefix of the keys of the library's own components. Their triggers are not clicks."""


@dataclass(frozen=True, slots=True)
class KeyFilter:
    """Globs over keys. `private` overrides `keys` (rule P8)."""

    keys: tuple[str, ...] | None = None
    private: tuple[str, ...] = ()

    def shares(self, key: str) -> bool:
        if is_private(key) or _matches(key, self.private):
            return False
        return self.keys is None or _matches(key, self.keys)

    def combine(self, other: KeyFilter) -> KeyFilter:
        """Return the filter of two calls for one room: a key that is private to either is private (rule P8)."""
        keys = None if self.keys is None or other.keys is None else (*self.keys, *other.keys)
        return KeyFilter(keys, (*self.private, *other.private))


def is_private(key: str) -> bool:
    """Return whether no room shares the key: `private_key` made it, or the library uses it itself."""
    return key.startswith((PRIVATE_PREFIX, CHANNEL_KEY_PREFIX))


def _matches(key: str, globs: tuple[str, ...]) -> bool:
    return any(key == glob or fnmatchcase(key, glob) for glob in globs)


@dataclass(frozen=True, slots=True)
class RoomContext:
    """Settings of one session in one room, from the calls of `crdt_sync` in the current script run.

    Attributes:
        room: name of the room, as the script gives it.
        merges_plain_values: False while the session is in several rooms. A plain value that came from one room would
            count as an edit in the other room, which would then contain it twice.
    """

    room: str
    participant: Participant
    key_filter: KeyFilter = field(default_factory=KeyFilter)
    merge_policy: MergePolicy = field(default_factory=MergePolicy)
    merges_plain_values: bool = True

    @property
    def is_read_only(self) -> bool:
        """True if the session is a viewer: it writes nothing, and its local changes are reverted (rule A1)."""
        return self.participant.role == "viewer"

    def rule(
        self, key: str, value: Any, widget_kind: str | None, stored_rule: str | None = None
    ) -> Rule | None:
        """Return the merge rule that stores `value` under `key`; None where the last writer wins.

        Args:
            widget_kind: Streamlit's element type; None for a plain value.
            stored_rule: name of the rule that stores the present value.
        """
        if widget_kind is None and not self.merges_plain_values:
            return None
        return self.merge_policy.rule(key, value, widget_kind, stored_rule)
