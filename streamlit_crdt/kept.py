"""The snapshots that a room's document holds, by name, as they are stored.

A root map of its own, so that snapshots are shared and saved as the values are, and are no values. Each is stored as
one value: of two that are saved under one name at the same moment one stays, whole. Its state is a text, which a
document takes and gives back at once, however much it holds; it is read only when it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pycrdt import Doc, Map

ROOT: Final = "snapshots"


@dataclass(frozen=True, slots=True)
class Kept:
    """A snapshot as it is stored.

    Attributes:
        when: ISO 8601 with an offset, by the clock of whoever saved it.
        who: the name of whoever saved it.
        state: the room's values as JSON, see `readable`.
    """

    when: str
    who: str
    state: str

    def as_stored(self) -> dict[str, str]:
        return {"when": self.when, "who": self.who, "state": self.state}


@dataclass(frozen=True, slots=True)
class Entry:
    """What is said of a snapshot, without its state.

    Attributes:
        size: of its state, in characters.
    """

    when: str
    who: str
    size: int


class KeptSnapshots:
    """The root map `snapshots` of one document, looked through again only when it has changed. Not thread-safe."""

    def __init__(self, doc: Doc[Any]) -> None:
        self._map: Map[Any] = doc.get(ROOT, type=Map)
        self._entries: list[Mapping[str, Entry]] = []
        entries = self._entries
        # As in `roots`: not `observe_deep` of pycrdt's own, nor with `self` in it.
        self._watching = self._map.integrated.observe_deep(lambda _events: entries.clear())

    def entries(self) -> Mapping[str, Entry]:
        """Return what is said of each, by name. Whatever another program has put there is left out."""
        if not self._entries:
            found = {name: self.read(name) for name in self._map.keys()}  # noqa: SIM118
            self._entries.append(
                {name: Entry(kept.when, kept.who, len(kept.state)) for name, kept in found.items() if kept}
            )
        return self._entries[0]

    def read(self, name: str) -> Kept | None:
        """Return one of them; None if it is not there."""
        stored = self._map.get(name)
        if not isinstance(stored, dict):
            return None
        when, who, state = (stored.get(word) for word in ("when", "who", "state"))
        if isinstance(when, str) and isinstance(who, str) and isinstance(state, str):
            return Kept(when, who, state)
        return None

    def put(self, name: str, kept: Kept) -> None:
        self._map[name] = kept.as_stored()

    def remove(self, name: str) -> None:
        if name in self._map:
            del self._map[name]
