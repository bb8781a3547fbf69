"""A key of which not all sessions show the same, said so that the difference is found at a glance."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final

from streamlit_crdt.binding import ABSENT, VisibleValue
from streamlit_crdt.codec import values

_WIDTH: Final = 60
"""A longer value is shortened; of longer texts what begins to differ is shown."""

_CONTEXT: Final = 15
"""So many characters before that are shown as well."""

_ITEMS: Final = 12
"""So many items of a list or dict are shown."""

_WHY: Final = {
    None: "",
    "P2": "   its widget cannot show the room's value (rule P2)",
    "P4": "   set anew on each run, and so not sent any more (rule P4)",
}


@dataclass(frozen=True, slots=True)
class Sight:
    """What one session has of a key.

    Attributes:
        who: the session.
        held: what its replica holds; `ABSENT` if nothing.
        shown: what it shows; None if it shows nothing.
    """

    who: str
    held: Any
    shown: VisibleValue | None

    @property
    def value(self) -> Any:
        """What it shows; `ABSENT` if nothing."""
        return ABSENT if self.shown is None else self.shown.value


@dataclass(frozen=True, slots=True)
class Difference:
    """A key of which not all sessions show the same.

    Attributes:
        room: the room.
        label: the key, or the kind and label of a widget without one.
        in_room: what the room holds; `ABSENT` if nothing.
        sights: what each session has of it.
    """

    room: str
    label: str
    in_room: Any
    sights: tuple[Sight, ...]

    def __str__(self) -> str:
        texts = _brief([self.in_room, *(sight.value for sight in self.sights)])
        names = ["the room", *(sight.who for sight in self.sights)]
        notes = ["", *map(self._note, self.sights)]
        width = max(map(len, names))
        lines = [
            f"    {name:{width}}  {text}{note}" for name, text, note in zip(names, texts, notes, strict=True)
        ]
        return "\n".join([f"  {self.label} in room {self.room!r}", *lines])

    def _note(self, sight: Sight) -> str:
        if not values.equal(sight.held, self.in_room):
            return f"   its replica holds {_short(sight.held)}"
        return _WHY[None if sight.shown is None else sight.shown.why]


def _brief(shown: Sequence[Any]) -> list[str]:
    """Return a short text for each value, such that values which differ look different."""
    texts = [value for value in shown if isinstance(value, str)]
    if len(texts) > 1 and max(map(len, texts)) > _WIDTH:
        start = max(0, _common_chars(texts) - _CONTEXT)
        return [_cut(value, start) if isinstance(value, str) else _short(value) for value in shown]
    return [_short(value) for value in shown]


def _common_chars(texts: Sequence[str]) -> int:
    """Count the characters with which all of them begin."""
    return sum(1 for _ in takewhile(lambda chars: len(set(chars)) == 1, zip(*texts, strict=False)))


def _cut(text: str, start: int) -> str:
    end = start + _WIDTH
    return f"{'…' if start else ''}{text[start:end]!r}{'…' if len(text) > end else ''}"


def _short(value: Any) -> str:
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = _WIDTH
    short.maxlist = short.maxtuple = short.maxset = short.maxdict = _ITEMS
    return short.repr(value)
