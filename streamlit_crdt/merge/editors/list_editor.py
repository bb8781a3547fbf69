"""Operations on the root type of a list."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from streamlit_crdt.codec.scalars import Stored
from streamlit_crdt.codec.values import decode
from streamlit_crdt.merge.editors.editor import Editor, Step
from streamlit_crdt.merge.item_keys import as_read, encode, token
from streamlit_crdt.merge.rule import Foreign, Shared
from streamlit_crdt.merge.tree.containers import kind_of


class ListEditor(Editor):
    """Editor of a list. Indexes count items with a value. Items of other programs without a value stay in place."""

    def __init__(
        self,
        content: list[Stored | Foreign],
        container_tag: str,
        author: int,
        open_shared: Callable[[], Shared],
    ) -> None:
        super().__init__(content, container_tag, author, open_shared)
        self._places: list[int] | None = None
        self._dict_count: int | None = None
        if any(type(item) is Foreign for item in content):
            self._places = []
            self._locate()

    def adapt(self, entry: str | None) -> None:
        self._dict_count = None
        self._locate()

    def __len__(self) -> int:
        return len(self.content if self._places is None else self._places)

    @property
    def has_only_dicts(self) -> bool:
        """True if all items are dicts. They are counted once, and after changes of others."""
        if not len(self) or kind_of(self.content[self._place(0)]) != "dict":
            return not len(self)
        if self._dict_count is None:
            self._dict_count = _count_dicts(self.content)
        return self._dict_count == len(self)

    def item(self, index: int) -> Any:
        """Return an item. Raises IndexError as a list does."""
        return decode(self.content[self._place(self._valid(index))])

    def items(self) -> Iterator[Any]:
        """Yield a copy of each item."""
        return (decode(item) for item in self._stored())

    def parts(self) -> list[None]:
        """Return what identifies each item: nothing does."""
        return [None] * len(self)

    def part(self, index: int) -> None:
        """Return what identifies an item: nothing does."""

    def locate(self, part: None, value: Any, index: int) -> int:
        """Return the index of the item that equals `value` and is nearest to an index. Raises LookupError."""
        wanted = token(encode(value))
        found = [each for each, item in enumerate(self._stored()) if token(item) == wanted]
        if not found:
            raise LookupError(value)
        return min(found, key=lambda each: abs(each - index))

    def change_item(self, index: int, value: Any) -> None:
        """Set an item to another version of itself."""
        self.set_item(index, value)

    def find(self, value: Any) -> int:
        """Return the index of the first item that equals `value` as in a list. Raises ValueError if there is none."""
        content = list(self._stored())
        try:
            return content.index(
                as_read(encode(value))
            )  # much faster, and the first one unless types are mixed
        except (ValueError, TypeError):
            return [decode(item) for item in content].index(value)

    def insert(self, index: int, values: Iterable[Any]) -> None:
        """Insert items before an index. An index out of range means the nearest end, as in a list."""
        stored = [encode(value) for value in values]
        length = len(self)
        place = self._place(min(max(index + length if index < 0 else index, 0), length))
        if stored:
            at = None if place == len(self.content) else place
            self.steps.append(("insert", at, self.content[place - 1] if place else None, stored))
            self._insert(self._open(), place, stored)
            self._locate()

    def set_item(self, index: int, value: Any) -> None:
        """Replace an item as a whole. Raises IndexError as a list does. An equal item is not written again (R1)."""
        stored, place = encode(value), self._place(self._valid(index))
        if token(stored) != token(self.content[place]):
            self.steps.append(("replace", place, self.content[place], stored))
            self._replace(place, stored)

    def delete(self, indexes: range) -> None:
        """Delete the items at ascending indexes, which must exist."""
        places = [self._place(index) for index in indexes]
        if places:
            shared = self._open()
            for start, end in reversed(list(_runs(places))):
                self.steps += [
                    ("delete", place, self.content[place]) for place in reversed(range(start, end))
                ]
                self._delete(shared, start, end)
            self._locate()

    def repeat(self, steps: Iterable[Step]) -> None:
        """Repeat steps at the nearest equal items. A step whose item is missing deletes nothing."""
        for name, place, item, *stored in steps:
            if name == "insert":
                end = len(self.content) if place is None else min(place, len(self.content))
                after = None if place is None else self._nearest(place - 1, item)
                self._insert(self._open(), end if after is None else after + 1, stored[0])
            elif (found := self._nearest(place, item)) is not None:
                if name == "replace":
                    self._replace(found, stored[0])
                else:
                    self._delete(self._open(), found, found + 1)
        self._locate()

    def _nearest(self, place: int, item: Stored) -> int | None:
        """Return the place of an equal item that is nearest to `place`."""
        wanted = token(item)
        order = sorted(range(len(self.content)), key=lambda each: abs(each - place))
        return next((each for each in order if token(self.content[each]) == wanted), None)

    def _replace(self, place: int, stored: Stored) -> None:
        shared = self._open()
        self._delete(shared, place, place + 1)
        self._insert(shared, place, [stored])

    def _insert(self, shared: Any, place: int, stored: Sequence[Stored]) -> None:
        for offset, item in enumerate(stored):
            shared.insert(place + offset, item)
        self.content[place:place] = map(as_read, stored)
        if self._dict_count is not None:
            self._dict_count += _count_dicts(stored)

    def _delete(self, shared: Any, start: int, end: int) -> None:
        if self._dict_count is not None:
            self._dict_count -= _count_dicts(self.content[start:end])
        del shared[start:end]
        del self.content[start:end]

    def _stored(self) -> Iterable[Stored]:
        return self.content if self._places is None else (self.content[place] for place in self._places)

    def _valid(self, index: int) -> int:
        return range(len(self))[index]

    def _place(self, index: int) -> int:
        """Return the place of an index in the root type. The index after the last item is the end."""
        if self._places is None:
            return index
        return self._places[index] if index < len(self._places) else len(self.content)

    def _locate(self) -> None:
        if self._places is not None:
            self._places = [place for place, item in enumerate(self.content) if type(item) is not Foreign]


def _count_dicts(items: Iterable[Stored | Foreign]) -> int:
    return sum(kind_of(item) == "dict" for item in items)


def _runs(places: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield start and end of each run of adjacent places."""
    for _, run in groupby(enumerate(places), lambda numbered: numbered[1] - numbered[0]):
        found = [place for _, place in run]
        yield found[0], found[-1] + 1
