"""A shared dict."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

from streamlit_crdt.codec.equality import equal
from streamlit_crdt.codec.live_values import plain
from streamlit_crdt.errors import SharedItemDeletedError
from streamlit_crdt.merge import RULES
from streamlit_crdt.merge.editors import MapEditor
from streamlit_crdt.room.shared_types.live_values import Change, live_value
from streamlit_crdt.room.shared_types.shared_type import SharedType, Writer


class SharedMap(SharedType[dict[Any, Any]], MutableMapping[Any, Any]):
    """A dict that merges by entry, including the entries of dicts, lists and sets inside of it.

    Reading an entry returns a live dict, list or set: its changes are shared, too, at any depth.
    """

    def __init__(self, writer: Writer, key: str) -> None:
        super().__init__(writer, key, RULES["map"], dict)

    def __getitem__(self, name: Any) -> Any:
        return self._live(name, self._inspect(lambda editor: editor.field(name)))

    def _live(self, name: Any, value: Any) -> Any:
        """Return the value of an entry. A change of a container in it is written to the room."""

        def write(change: Change) -> Any:
            def operation(editor: MapEditor) -> None:
                if name not in editor:
                    raise SharedItemDeletedError(self.key)
                editor.set_field(name, change(editor.field(name)))

            self._operate(operation)

        return live_value(self.key, value, write)

    def __setitem__(self, name: Any, value: Any) -> None:
        new = plain(value)
        self._operate(lambda editor: editor.set_field(name, new))

    def __delitem__(self, name: Any) -> None:
        self._operate(lambda editor: editor.remove_field(name))

    def __iter__(self) -> Iterator[Any]:
        return iter(self._inspect(lambda editor: editor.keys()))

    def __len__(self) -> int:
        return self._inspect(len)

    def __contains__(self, name: object) -> bool:
        return self._inspect(lambda editor: name in editor)

    def __eq__(self, other: object) -> bool:
        return equal(self._read(), other._read() if isinstance(other, SharedMap) else other)

    __hash__ = None  # type: ignore[assignment]

    def update(self, *others: Any, **more: Any) -> None:
        """Set the entries of a mapping or of pairs, as one edit."""
        new = dict(*others, **more)

        def update(editor: MapEditor) -> None:
            for name, value in new.items():
                editor.set_field(name, plain(value))

        self._operate(update)

    def pop(self, name: Any, *default: Any) -> Any:
        """Remove an entry and return its value, or `default`.

        Raises:
            KeyError: there is no such entry, and no default.
        """

        def pop(editor: MapEditor) -> Any:
            if name not in editor and default:
                return default[0]
            value = editor.field(name)
            editor.remove_field(name)
            return value

        return self._operate(pop)

    def popitem(self) -> tuple[Any, Any]:
        """Remove the last entry, and return its name and value.

        Raises:
            KeyError: the dict is empty.
        """

        def popitem(editor: MapEditor) -> tuple[Any, Any]:
            names = editor.keys()
            if not names:
                raise KeyError("popitem(): dictionary is empty")
            value = editor.field(names[-1])
            editor.remove_field(names[-1])
            return names[-1], value

        return self._operate(popitem)

    def setdefault(self, name: Any, default: Any = None) -> Any:
        """Set an entry to `default` if it is missing. Return its value as reading does."""

        def setdefault(editor: MapEditor) -> Any:
            if name not in editor:
                editor.set_field(name, plain(default))
            return editor.field(name)

        return self._live(name, self._operate(setdefault))

    def clear(self) -> None:
        """Remove all entries."""

        def clear(editor: MapEditor) -> None:
            for name in editor.keys():  # noqa: SIM118
                editor.remove_field(name)

        self._operate(clear)

    def copy(self) -> dict[Any, Any]:
        """Return a plain dict, whose changes are not shared."""
        return self._read()
