"""What sessions in one room show, compared key by key, and said so that the difference is found at a glance."""

from __future__ import annotations

import os
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from streamlit_crdt import values
from streamlit_crdt.binding import Binding
from streamlit_crdt.errors import ValueUnreadableError
from streamlit_crdt.mirror import ABSENT, Shown
from streamlit_crdt.replica import Replica
from streamlit_crdt.testing.person import Person

_WIDTH: Final = 60
"""A longer value is shortened; of longer texts only what begins to differ is shown."""

_ITEMS: Final = 12
"""So many items of a list or dict are shown."""

_CONTEXT: Final = 15
"""So many characters before that are shown as well."""

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
        value: what it shows; `ABSENT` if nothing.
        held: what its replica holds.
        shown: the two in the form of its widget, by which they are compared; None if it shows nothing.
    """

    who: str
    value: Any
    held: Any
    shown: Shown | None


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
            f"    {name:{width}}  {text}{note}"
            for name, text, note in zip(names, texts, notes, strict=True)
        ]
        return "\n".join([f"  {self.label} in room {self.room!r}", *lines])

    def _note(self, sight: Sight) -> str:
        if not values.equal(sight.held, self.in_room):
            return f"   its replica holds {_brief([sight.held])[0]}"
        return _WHY[sight.shown.why if sight.shown is not None else None]


def differences(
    room: str, held: Replica, members: Mapping[str, tuple[Person, Binding]], ignore: Iterable[str] = ()
) -> Iterator[Difference]:
    """Yield each key of which `members` do not show the same, or not what the room holds.

    A session that does not show a key, because its widget is hidden for instance, is not asked.

    Args:
        held: what the room holds.
        members: person and binding to this room, by name.
        ignore: globs; keys that may differ.
    """
    shown = {who: person.shown(binding) for who, (person, binding) in members.items()}
    keys = {*held.keys(), *(key for one in shown.values() for key in one)}
    keys.update(*(binding.replica.keys() for _person, binding in members.values()))
    for key in sorted(keys):
        if any(fnmatchcase(key, glob) for glob in ignore):
            continue
        in_room = _get(held, key)
        sights = []
        for who, (_person, binding) in members.items():
            if binding.selection.shares(key):
                one = shown[who].get(key)
                value = ABSENT if one is None else one.value
                sights.append(Sight(who, value, _get(binding.replica, key), one))
        if not _agree(in_room, sights):
            person = next(iter(members.values()))[0]
            yield Difference(room, person.label(key), in_room, tuple(sights))


def _agree(in_room: Any, sights: Sequence[Sight]) -> bool:
    if not all(values.equal(sight.held, in_room) for sight in sights):
        return False
    shown = [sight.shown for sight in sights if sight.shown is not None]
    if in_room is ABSENT:
        return all(values.equal(one.value, shown[0].value) for one in shown)
    return all(values.equal(one.value, one.in_room) for one in shown)


def _get(replica: Replica, key: str) -> Any:
    try:
        return replica.get(key, ABSENT)
    except ValueUnreadableError:
        return ABSENT


def _brief(shown: Sequence[Any]) -> list[str]:
    """Return a short text for each value, such that values which differ look different."""
    texts = [value for value in shown if isinstance(value, str)]
    if len(texts) > 1 and max(map(len, texts)) > _WIDTH:
        start = max(0, len(os.path.commonprefix(texts)) - _CONTEXT)
        return [_cut(value, start) if isinstance(value, str) else _short(value) for value in shown]
    return [_short(value) for value in shown]


def _cut(text: str, start: int) -> str:
    end = start + _WIDTH
    return f"{'…' if start else ''}{text[start:end]!r}{'…' if len(text) > end else ''}"


def _short(value: Any) -> str:
    short = reprlib.Repr()
    short.maxstring = short.maxother = _WIDTH
    short.maxlist = short.maxtuple = short.maxset = short.maxdict = _ITEMS
    return short.repr(value)
