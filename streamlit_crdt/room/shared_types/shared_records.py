"""A shared list of records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from streamlit_crdt.codec.equality import equal
from streamlit_crdt.codec.live_values import plain
from streamlit_crdt.errors import ValueNotShareableError
from streamlit_crdt.merge import RULES, Rule
from streamlit_crdt.room.shared_types.live_values import live_item
from streamlit_crdt.room.shared_types.shared_type import SharedType, Writer

Returned = TypeVar("Returned")


class SharedRecords(SharedType[list[Any]]):
    """A list of dicts with stable ids. Fields merge one by one, and a moved record stays the same record.

    The id of a record is its field `id`, or the field that `merge={key: "records:FIELD"}` names. A record without this
    field has a hidden id, a text that `append` and `ids` return. The deletion of a record wins over its edits.

    A record that is read is a live dict: its changes are shared, at any depth.
    """

    def __init__(self, writer: Writer, key: str) -> None:
        super().__init__(writer, key, RULES["records"], list)

    # -- reading -------------------------------------------------------------------------------------------------

    def __getitem__(self, record_id: Any) -> Any:
        """Return the record with an id.

        Raises:
            KeyError: there is none.
        """

        def read(editor: Any) -> tuple[Any, str]:
            part = editor.part_of(record_id)
            return editor.item(editor.locate(part, None, 0)), part

        return self._live(*self._inspect(read))

    def get(self, record_id: Any, default: Any = None) -> Any:
        """Return the record with an id, or `default`."""
        try:
            return self[record_id]
        except KeyError:
            return default

    def at(self, index: int) -> Any:
        """Return the record at an index.

        Raises:
            IndexError: there is none.
        """
        return self._live(*self._inspect(lambda editor: (editor.item(index), editor.part(index))))

    def index(self, record_id: Any) -> int:
        """Return the index of the record with an id.

        Raises:
            KeyError: there is none.
        """
        found: int = self._inspect(lambda editor: editor.index_of(record_id))
        return found

    def ids(self) -> list[Any]:
        """Return the ids of the records in their order."""
        return self._inspect(lambda editor: editor.ids())

    def items(self) -> list[tuple[Any, Any]]:
        """Return id and record of each record in their order."""
        found = self._inspect(
            lambda editor: list(zip(editor.ids(), editor.items(), editor.parts(), strict=True))
        )
        return [(record_id, self._live(value, part)) for record_id, value, part in found]

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the records in their order."""
        return iter([record for _, record in self.items()])

    def __len__(self) -> int:
        return self._inspect(len)

    def __contains__(self, record_id: object) -> bool:
        """Return whether there is a record with an id."""

        def read(editor: Any) -> bool:
            try:
                editor.part_of(record_id)
            except KeyError:
                return False
            return True

        return self._inspect(read)

    def __eq__(self, other: object) -> bool:
        return equal(self._read(), other._read() if isinstance(other, SharedRecords) else other)

    __hash__ = None  # type: ignore[assignment]

    def copy(self) -> list[Any]:
        """Return a plain list, whose changes are not shared."""
        return self._read()

    # -- writing -------------------------------------------------------------------------------------------------

    def append(self, record: dict[Any, Any]) -> Any:
        """Append a record, and return its id. Records that several people append are all kept."""
        return self.extend([record])[0]

    def extend(self, records: Iterable[dict[Any, Any]]) -> list[Any]:
        """Append several records, as one edit. Return their ids."""
        new = [self._checked_record(record) for record in records]
        return self._operate(lambda editor: editor.insert(len(editor), new))

    def insert(self, index: int, record: dict[Any, Any]) -> Any:
        """Insert a record before an index, and return its id. An index out of range means the nearest end."""
        new = self._checked_record(record)
        return self._operate(lambda editor: editor.insert(index, [new]))[0]

    def move(self, record_id: Any, index: int) -> None:
        """Move a record, so that it stands at an index. An index out of range means the nearest end.

        Raises:
            KeyError: there is no record with this id.
        """
        self._operate(lambda editor: editor.move(record_id, index))

    def __setitem__(self, record_id: Any, record: dict[Any, Any]) -> None:
        """Set the fields of a record. Only those that differ are written.

        Raises:
            KeyError: there is no record with this id.
        """
        new = self._checked_record(record)
        self._operate(lambda editor: editor.change_item(editor.index_of(record_id), new))

    def remove(self, record_id: Any) -> None:
        """Remove the record with an id.

        Raises:
            KeyError: there is none.
        """

        def remove(editor: Any) -> None:
            index = editor.index_of(record_id)
            editor.delete(range(index, index + 1))

        self._operate(remove)

    def __delitem__(self, record_id: Any) -> None:
        self.remove(record_id)

    def clear(self) -> None:
        """Remove all records."""
        self._operate(lambda editor: editor.delete(range(len(editor))))

    # -- inside --------------------------------------------------------------------------------------------------

    def _live(self, value: Any, part: str) -> Any:
        """Return a record. A change in it is written to the room."""
        return live_item(self.key, value, self._operate, part)

    def _checked_record(self, record: Any) -> Any:
        new = plain(record)
        if type(new) is not dict:
            raise ValueNotShareableError(type(new).__name__, "a record is a dict", key=self.key)
        return new

    def _inspect(self, read: Callable[[Any], Returned]) -> Returned:
        return self._writer.replica.inspect(self.key, self._records_rule(), [], read)

    def _operate(self, operation: Callable[[Any], Returned]) -> Returned:
        return self._writer.operate(self.key, self._records_rule(), [], operation)

    def _records_rule(self) -> Rule:
        """Return the rule with the id field that `merge=` names."""
        rule = self._writer.rule(self.key, [{}])
        return rule if rule is not None and rule.name == "records" else self._rule
