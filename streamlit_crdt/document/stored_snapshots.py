"""The snapshots that a room's document holds, by name, as they are stored.

A root map of its own, so that snapshots are shared and saved as the values are, and are no values. Each is stored as
one value: of two that are saved under one name at the same moment one stays, whole. Its state is packed, to a tenth or
less, for every tab has the whole document; and a document takes bytes and gives them back at once, however many. It is
unpacked only when it is asked for.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from pycrdt import Doc, Map

ROOT: Final = "snapshots"

MAX_TEXT_BYTES: Final = 16 * 1024 * 1024
"""Of a state that is unpacked; a few bytes could hold far more."""


@dataclass(frozen=True, slots=True)
class StoredSnapshot:
    """A snapshot as it is stored.

    Attributes:
        when: ISO 8601 with an offset, by the clock of whoever saved it.
        who: the name of whoever saved it.
        packed: the room's values as JSON (see `readable`) in UTF-8, compressed by zlib.
    """

    when: str
    who: str
    packed: bytes

    @classmethod
    def of(cls, when: str, who: str, text: str) -> Self:
        return cls(when, who, zlib.compress(text.encode()))

    def text(self) -> str:
        """Return the state as JSON. Raises ValueError if another program has put something else there."""
        unpacking = zlib.decompressobj()
        try:
            text = unpacking.decompress(self.packed, MAX_TEXT_BYTES)
        except zlib.error as error:
            raise ValueError("it is not compressed by zlib") from error
        if not unpacking.eof:
            raise ValueError(f"it is cut off, or larger than {MAX_TEXT_BYTES} bytes")
        return text.decode()


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """What is said of a snapshot, without its state.

    Attributes:
        size: of its state, in bytes as it is stored.
    """

    when: str
    who: str
    size: int


class StoredSnapshots:
    """The root map `snapshots` of one document, looked through again only when it has changed. Not thread-safe."""

    def __init__(self, doc: Doc[Any]) -> None:
        self._map: Map[Any] = doc.get(ROOT, type=Map)
        self._entries: list[Mapping[str, SnapshotInfo]] = []
        entries = self._entries
        # As in `roots`: not `observe_deep` of pycrdt's own, nor with `self` in it.
        self._watching = self._map.integrated.observe_deep(lambda _events: entries.clear())

    def entries(self) -> Mapping[str, SnapshotInfo]:
        """Return what is said of each, by name. Whatever another program has put there is left out."""
        if not self._entries:
            found = {name: self.read(name) for name in self._map.keys()}  # noqa: SIM118
            self._entries.append(
                {
                    name: SnapshotInfo(kept.when, kept.who, len(kept.packed))
                    for name, kept in found.items()
                    if kept
                }
            )
        return self._entries[0]

    def read(self, name: str) -> StoredSnapshot | None:
        """Return one of them; None if it is not there."""
        stored = self._map.get(name)
        if not isinstance(stored, dict):
            return None
        when, who, state = (stored.get(word) for word in ("when", "who", "state"))
        if isinstance(when, str) and isinstance(who, str) and isinstance(state, bytes | bytearray):
            return StoredSnapshot(when, who, bytes(state))
        return None

    def put(self, name: str, kept: StoredSnapshot) -> None:
        self._map[name] = {"when": kept.when, "who": kept.who, "state": kept.packed}

    def remove(self, name: str) -> None:
        if name in self._map:
            del self._map[name]
