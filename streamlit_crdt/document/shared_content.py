"""Content of shared types as trees: ends for any content, in time proportional to it.

The content of a room may come from any program. These calls of pycrdt 0.14.13 must not read it:

- `list(array)`, iteration, slices, `array[i]`, `str(array)`, `to_py()`, `to_json()`, `del array[:]`: never return and
  hold the GIL if a struct of the array is a text with a character beyond ASCII (`ContentString`). Positions in the
  array count its bytes, and its items are its characters.
- `array[i]` in a loop, and therefore `to_py()`: the time grows with the square of the number of structs.
- `map[key]`, `dict(map)`, `to_py()`: KeyError if an entry is a format, although `keys()` contains it.
- `to_py()` of a map or an array with XML: ValueError. It recurses, with one Python frame per level.
- `del text[:]`: panics if the text contains anything but characters, embedded objects and shared types. The number of
  removed units must not exceed those.
- `event.keys` of a map: panics on an entry that is a format, or that is deleted in the same update.

`ContentString` is deleted in a copy of the document before the copy is read. The copy costs as much as loading the
document. It is made only if another program has written such content.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pycrdt import Array, Doc, Map, Text, _pycrdt, merge_updates

from streamlit_crdt.codec.scalars import Stored
from streamlit_crdt.merge.rule import Foreign
from streamlit_crdt_server.yjs.lib0 import encode_varuint
from streamlit_crdt_server.yjs.nesting import NestingDepths
from streamlit_crdt_server.yjs.update_decoder import read_update_meta

Kind = type[Text] | type[Array[Any]] | type[Map[Any]]
Path = tuple[str | int, ...]
Delta = list[dict[str, Any]]
"""Change of an array in one transaction, as pycrdt reports it."""

FindTwin = Callable[[], Any]
Range = tuple[int, int, int]
"""Replica id, first clock and end clock of a text."""

MAX_INDEXED_ITEMS = 1024
"""Items of a nested array that are read one by one. Each may cost as many steps as there are items."""

MAX_INDEXING_S = 0.05
"""Time in seconds of reading an array item by item. Then the array is read from a copy, in linear time."""

_ITEMS_PER_CHECK = 256
_GROUP = 256
_PLAIN = frozenset({type(None), bool, int, float, str, bytearray, list, dict})
_NO_VALUES = (
    Foreign,
    _pycrdt.Doc,
    _pycrdt.Text,
    _pycrdt.XmlElement,
    _pycrdt.XmlFragment,
    _pycrdt.XmlText,
)


class SharedContent:
    """Reader of the shared types of one document. Not thread-safe."""

    def __init__(self, doc: Doc[Any], depths: NestingDepths) -> None:
        self._doc = doc
        self._source = _Source(doc)
        self._depths = depths
        self._candidates: list[Range] = []
        self._texts: dict[str, list[Range]] = {}
        self._foreign: list[tuple[Path, str]] = []
        self._clean: _Source | None = None

    def add_candidates(self, ranges: Iterable[Range]) -> None:
        """Add the texts of an update, before the next read. They may be in a root type that is no text."""
        self._candidates.extend(ranges)

    def end_read(self) -> list[tuple[Path, str]]:
        """End a pass over the root types. Return path and kind of the items without a value that it found."""
        foreign, self._foreign = self._foreign, []
        self._candidates.clear()
        self._clean = None
        return foreign

    def read(self, name: str, kind: Kind) -> Stored:
        """Return the content of a root type: str, list or dict.

        An item without a value is `Foreign`. Further down, such an item is left out.
        """
        with self._source.transaction() as txn:
            if kind is Text:
                return self._text(name)
            if kind is Array:
                return self._root_items(name)
            shared = self._doc.get(name, type=Map).integrated
            return {key: self._entry(name, shared, key, txn) for key in shared.keys(txn)}

    def read_entry(self, name: str, key: str, default: Stored = None, *, is_regular: bool = True) -> Stored:
        """Return one entry of a root map. `default` if there is none.

        Args:
            is_regular: the map never had a format. Otherwise the keys are searched: `has` misses a format.
        """
        shared = self._doc.get(name, type=Map).integrated
        with self._source.transaction() as txn:
            is_there = shared.has(txn, key) if is_regular else key in shared.keys(txn)
            return self._entry(name, shared, key, txn) if is_there else default

    def patch_items(self, name: str, items: list[Stored], deltas: Iterable[Delta]) -> bool | None:
        """Change the items of a root array by the deltas of later transactions. Return whether that changed one.

        Returns:
            None if the array must be read as a whole. `items` is undefined then.
        """
        is_changed = False
        for delta in deltas:
            index = 0
            for part in delta:
                index += int(part.get("retain", 0))
                deleted, inserted = int(part.get("delete", 0)), part.get("insert", [])
                if any(type(item) not in _PLAIN for item in inserted):
                    return None
                items[index : index + deleted] = inserted
                index += len(inserted)
                is_changed = is_changed or bool(deleted or inserted)
        with self._source.transaction() as txn:
            length = int(self._doc.get(name, type=Array).integrated.len(txn))
        return is_changed if length == len(items) else None

    def _text(self, name: str) -> str:
        shared = self._doc.get(name, type=Text)
        text = str(shared)
        if len(shared) != len(text.encode()) and len(shared) != editable_length(shared):
            self._foreign.append(((name,), "item inside of a text"))
        return text

    def foreign_texts(self, name: str) -> bytes | None:
        """Return an update that deletes the texts that the last read found in a root array. None if there are none."""
        texts = self._texts.get(name)
        return _deletion(texts) if texts else None

    def _entry(self, name: str, shared: Any, key: str, txn: Any) -> Stored:
        def find_twin() -> Any:
            clean = self._clean_copy()
            return clean.get(clean.doc.get(name, type=Map).integrated, key)

        value = _get(shared, txn, key)
        return value if type(value) in _PLAIN else self._value(value, find_twin, (name, key), self._source)

    def _value(self, value: Any, find_twin: FindTwin, path: Path, source: _Source) -> Stored:
        """Return the tree of a value.

        Args:
            value: As pycrdt returns it.
            find_twin: Returns the same value in the copy without texts in nested types.
            path: Name of the root type, then keys and indexes.
            source: The document of the value.
        """
        if isinstance(value, _pycrdt.Map):
            entries = {
                key: self._value(source.get(value, key), _child(self, find_twin, key), (*path, key), source)
                for key in source.keys(value)
            }
            return {key: each for key, each in entries.items() if not isinstance(each, Foreign)}
        if isinstance(value, _pycrdt.Array):
            return self._nested_items(value, find_twin, path, source)
        if isinstance(value, _pycrdt.Text) and source.has_texts:
            with source.transaction() as txn:
                return value.get_string(txn)
        if isinstance(value, _NO_VALUES):
            self._foreign.append((path, value.kind if isinstance(value, Foreign) else type(value).__name__))
            return value if isinstance(value, Foreign) else Foreign(type(value).__name__)
        return value

    def _nested_items(self, shared: Any, find_twin: FindTwin, path: Path, source: _Source) -> list[Stored]:
        if source.has_texts and self._depths.nested_texts:
            twin, clean = find_twin(), self._clean_copy()
            if not isinstance(twin, _pycrdt.Array) or clean.length(twin) != source.length(shared):
                self._foreign.append((path, "text inside of a list"))
                shared, source = twin, clean
        if not isinstance(shared, _pycrdt.Array):
            return []
        count = source.length(shared)
        if count > MAX_INDEXED_ITEMS:
            with source.transaction() as txn:
                items: list[Stored] = json.loads(shared.to_json(txn))
                return items
        values = (
            self._value(source.get(shared, index), _child(self, find_twin, index), (*path, index), source)
            for index in range(count)
        )
        return [value for value in values if not isinstance(value, Foreign)]

    def _clean_copy(self) -> _Source:
        """Return a copy of the document without the texts in its nested types."""
        if self._clean is None:
            doc: Doc[Any] = Doc()
            doc.apply_update(merge_updates(self._doc.get_update(), _deletion(self._depths.nested_texts)))
            self._clean = _Source(doc, has_texts=False)
        return self._clean

    def _root_items(self, name: str) -> list[Stored]:
        shared = self._doc.get(name, type=Array).integrated
        with self._source.transaction() as txn:
            if self._doc.get(name, type=Text).integrated.get_string(txn):
                return self._items_of_copy(name, self._find_texts(name))
            self._texts.pop(name, None)
            items, started_at = list[Stored](), time.perf_counter()
            for index in range(shared.len(txn)):
                if index % _ITEMS_PER_CHECK == 0 and time.perf_counter() - started_at > MAX_INDEXING_S:
                    return self._items_of_copy(name, ())
                value = shared.get(txn, index)
                items.append(value if type(value) in _PLAIN else self._root_item(value, name, index))
            return items

    def _root_item(self, value: Any, name: str, index: int) -> Stored:
        def find_twin() -> Any:
            clean = self._clean_copy()
            return clean.get(clean.doc.get(name, type=Array).integrated, index)

        return self._value(value, find_twin, (name, index), self._source)

    def _items_of_copy(self, name: str, texts: Sequence[Range]) -> list[Stored]:
        """Read a root array from a copy of the document without some texts, in linear time."""
        texts = [*texts, *self._depths.nested_texts]
        source = _Source(Doc(), has_texts=not self._depths.nested_texts)
        inserted = list[Any]()
        shared = source.doc.get(name, type=Array).integrated
        subscription = shared.observe(lambda event: inserted.extend(event.delta))
        source.doc.apply_update(merge_updates(self._doc.get_update(), _deletion(texts)))
        subscription.drop()
        values = inserted[0]["insert"] if inserted else []
        return [self._value(value, _no_twin, (name, index), source) for index, value in enumerate(values)]

    def _find_texts(self, name: str) -> list[Range]:
        """Return the texts in a root array: known ones, those of the last updates, or those of the document."""
        state = self._doc.get_update()
        search = _TextSearch(name, state)
        for candidates in (lambda: [*self._texts.get(name, ()), *self._candidates], lambda: _texts_of(state)):
            if search.is_over:
                break
            search.run(candidates())
        self._texts[name] = search.found
        self._foreign += [((name, index), "text inside of a list") for index in search.indexes]
        return search.found


class _Source:
    """A document that is read.

    Attributes:
        doc: The document.
        has_texts: Whether the texts in its nested types are complete.
    """

    def __init__(self, doc: Doc[Any], *, has_texts: bool = True) -> None:
        self.doc = doc
        self.has_texts = has_texts

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """Open a transaction, or use the open one, and return that of the extension module."""
        with self.doc.transaction() as transaction:
            yield transaction._txn

    def get(self, shared: Any, place: str | int) -> Any:
        """Return an entry or an item. `Foreign` if it is a format, which pycrdt cannot read."""
        with self.transaction() as txn:
            return _get(shared, txn, place)

    def keys(self, shared: Any) -> list[str]:
        with self.transaction() as txn:
            return list(shared.keys(txn))

    def length(self, shared: Any) -> int:
        with self.transaction() as txn:
            return int(shared.len(txn))


class _TextSearch:
    """Search for the texts in a root array, by their deletion in copies of the document.

    Attributes:
        found: The texts.
        indexes: The index of each text in the array without the texts that were found before.
    """

    def __init__(self, name: str, state: bytes) -> None:
        self.found: list[Range] = []
        self.indexes: list[int] = []
        self._trial, self._copy = _ObservedArray(name, state), _ObservedArray(name, state)

    @property
    def is_over(self) -> bool:
        return not self._copy.text

    def run(self, candidates: Sequence[Range]) -> None:
        """Try candidates, in groups first: most of them are usually in other types."""
        for start in range(0, len(candidates), _GROUP):
            group = candidates[start : start + _GROUP]
            if self._trial.delete(group) is None:
                continue
            for each in group:
                index = self._copy.delete([each])
                if index is not None:
                    self.found.append(each)
                    self.indexes.append(index)


class _ObservedArray:
    """A copy of a document with an observed root array."""

    def __init__(self, name: str, state: bytes) -> None:
        self._doc: Doc[Any] = Doc()
        self._doc.apply_update(state)
        self._deltas = deltas = list[Any]()
        shared = self._doc.get(name, type=Array).integrated
        self._subscription = shared.observe(lambda event: deltas.append(event.delta))
        self._text = self._doc.get(name, type=Text)

    @property
    def text(self) -> str:
        return str(self._text)

    def delete(self, texts: Sequence[Range]) -> int | None:
        """Delete texts, and return the index of the first one in the array. None if none is in it."""
        self._deltas.clear()
        self._doc.apply_update(_deletion(texts))
        return int(self._deltas[0][0].get("retain", 0)) if self._deltas else None


def editable_length(text: Text) -> int:
    """Return the bytes and units that pycrdt can delete from a text. It panics if more are deleted."""
    return sum(len(part.encode()) if isinstance(part, str) else 1 for part, _ in text.diff())


def _get(shared: Any, txn: Any, place: str | int) -> Any:
    try:
        return shared.get(txn, place)
    except ValueError:  # "Key error"
        return Foreign("format")


def _child(reader: SharedContent, find_twin: FindTwin, place: str | int) -> FindTwin:
    def find() -> Any:
        twin = find_twin()
        if isinstance(twin, _pycrdt.Map if isinstance(place, str) else _pycrdt.Array):
            return reader._clean_copy().get(twin, place)
        return None

    return find


def _no_twin() -> None:
    return None


def _texts_of(update: bytes) -> list[Range]:
    return [each for _, each in read_update_meta(update).text_ranges()]


def _deletion(texts: Iterable[Range]) -> bytes:
    """Encode an update that deletes texts."""
    by_replica: dict[int, list[Range]] = {}
    for each in texts:
        by_replica.setdefault(each[0], []).append(each)
    parts = [b"\0", encode_varuint(len(by_replica))]
    for replica, ranges in by_replica.items():
        parts += (encode_varuint(replica), encode_varuint(len(ranges)))
        for _, start, end in ranges:
            parts += (encode_varuint(start), encode_varuint(end - start))
    return b"".join(parts)
