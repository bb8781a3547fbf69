"""Stored form of snapshots in the document of a room.

Snapshots have a root map of their own: they are shared and saved like values, but are not values. Each snapshot is one
entry. If two are saved under one name at the same time, one of them stays, whole.

The state of a snapshot is compressed, to a tenth or less, because every tab has the whole document. A document stores
and returns bytes quickly, whatever their size. The state is decompressed only when it is read.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from pycrdt import Doc, Map

from streamlit_crdt.document.shared_content import SharedContent

ROOT: Final = "snapshots"

MAX_TEXT_BYTES: Final = 16 * 1024 * 1024
"""Limit of a decompressed state in bytes. A larger one is rejected: a few compressed bytes may expand to far more."""


@dataclass(frozen=True, slots=True)
class StoredSnapshot:
    """A stored snapshot.

    Attributes:
        when: ISO 8601 with an offset, by the clock of the author's process.
        who: the name of the author.
        packed: the room's values as JSON (see `json_state`) in UTF-8, compressed by zlib.
    """

    when: str
    who: str
    packed: bytes

    @classmethod
    def of(cls, when: str, who: str, text: str) -> Self:
        return cls(when, who, zlib.compress(text.encode()))

    def text(self) -> str:
        """Return the state as JSON text. Raises ValueError if another program has written invalid content."""
        decompressor = zlib.decompressobj()
        try:
            text = decompressor.decompress(self.packed, MAX_TEXT_BYTES)
        except zlib.error as error:
            raise ValueError("it is not compressed by zlib") from error
        if not decompressor.eof:
            raise ValueError(f"it is truncated, or larger than {MAX_TEXT_BYTES} bytes")
        return text.decode()


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """Metadata of a stored snapshot.

    Attributes:
        size: size of the compressed state in bytes.
    """

    when: str
    who: str
    size: int


class StoredSnapshots:
    """The root map `snapshots` of one document. It is read again only after a change. Not thread-safe."""

    def __init__(self, doc: Doc[Any], content: SharedContent) -> None:
        self._content = content
        self._map: Map[Any] = doc.get(ROOT, type=Map)
        self._entries: list[Mapping[str, SnapshotInfo]] = []
        entries = self._entries
        # As in `RootTypes`: `observe_deep` may panic, and a reference to `self` would never be freed.
        self._subscription = self._map.integrated.observe(lambda _event: entries.clear())

    def entries(self) -> Mapping[str, SnapshotInfo]:
        """Return the metadata of all snapshots by name. Invalid content of another program is skipped."""
        if not self._entries:
            snapshots = ((name, self.get(name)) for name in self._map.keys())  # noqa: SIM118
            self._entries.append(
                {
                    name: SnapshotInfo(snapshot.when, snapshot.who, len(snapshot.packed))
                    for name, snapshot in snapshots
                    if snapshot
                }
            )
        return self._entries[0]

    def forget(self) -> None:
        """Read all snapshots again, because a type nested in one of them may have changed."""
        self._entries.clear()

    def get(self, name: str) -> StoredSnapshot | None:
        """Return a snapshot, or None if there is none with this name or its content is invalid."""
        stored = self._content.read_entry(ROOT, name)
        if not isinstance(stored, dict):
            return None
        when, who, state = (stored.get(field) for field in ("when", "who", "state"))
        if isinstance(when, str) and isinstance(who, str) and isinstance(state, bytes | bytearray):
            return StoredSnapshot(when, who, bytes(state))
        return None

    def set(self, name: str, snapshot: StoredSnapshot) -> None:
        self._map[name] = {"when": snapshot.when, "who": snapshot.who, "state": snapshot.packed}

    def delete(self, name: str) -> None:
        if name in self._map:
            del self._map[name]
