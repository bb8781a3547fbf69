"""Difference between the sessions of a room in one key, and its text."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final

from streamlit_crdt.binding import ABSENT, VisibleValue
from streamlit_crdt.codec import values

_WIDTH: Final = 60
"""Characters of a value. A longer value is shortened. Longer texts are shown from their first difference."""

_CONTEXT: Final = 15
"""Characters shown before the first difference."""

_ITEMS: Final = 12
"""Items shown of a list or dict."""

_REASONS: Final = {
    None: "",
    "P2": "   its widget cannot show the room's value (rule P2)",
    "P4": "   assigned in each run, and therefore not sent (rule P4)",
    "R9": "   made by code in a run that no person caused, and therefore not sent (rule R9)",
}


@dataclass(frozen=True, slots=True)
class Sight:
    """One session's values of a key.

    Attributes:
        who: name of the session.
        held: value in its replica, `ABSENT` if there is none.
        shown: its visible value, None if there is none.
    """

    who: str
    held: Any
    shown: VisibleValue | None

    @property
    def value(self) -> Any:
        """The visible value, `ABSENT` if there is none."""
        return ABSENT if self.shown is None else self.shown.value


@dataclass(frozen=True, slots=True)
class Difference:
    """A key whose values differ between the sessions of a room.

    Attributes:
        room: name of the room.
        label: the key, or kind and label of a widget without a key.
        in_room: value in the room, `ABSENT` if there is none.
        sights: values of each session.
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
        return _REASONS[None if sight.shown is None else sight.shown.why]


def _brief(shown: Sequence[Any]) -> list[str]:
    """Return a short text for each value. Long texts are cut so that their first difference is visible."""
    texts = [value for value in shown if isinstance(value, str)]
    if len(texts) > 1 and max(map(len, texts)) > _WIDTH:
        start = max(0, _common_chars(texts) - _CONTEXT)
        return [_cut(value, start) if isinstance(value, str) else _short(value) for value in shown]
    return [_short(value) for value in shown]


def _common_chars(texts: Sequence[str]) -> int:
    """Return the length of the common prefix."""
    return sum(1 for _ in takewhile(lambda chars: len(set(chars)) == 1, zip(*texts, strict=False)))


def _cut(text: str, start: int) -> str:
    end = start + _WIDTH
    return f"{'…' if start else ''}{text[start:end]!r}{'…' if len(text) > end else ''}"


def _short(value: Any) -> str:
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = _WIDTH
    short.maxlist = short.maxtuple = short.maxset = short.maxdict = _ITEMS
    return short.repr(value)
