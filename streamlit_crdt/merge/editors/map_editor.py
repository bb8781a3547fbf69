"""Operations on the root type of a dict."""

from __future__ import annotations

from typing import Any

from streamlit_crdt.codec.values import decode
from streamlit_crdt.merge.editors.tree_editor import TreeEditor
from streamlit_crdt.merge.item_keys import encode
from streamlit_crdt.merge.tree.names import key_of_part, part_of_key
from streamlit_crdt.merge.tree.operations import remove_field
from streamlit_crdt.merge.tree.tree import Place, field_at, fields_at, kind_at, value_at


class MapEditor(TreeEditor):
    """Editor of a dict. Keys that are equal in Python, such as 1 and 1.0, are one key."""

    def __contains__(self, key: object) -> bool:
        return kind_at(self._place(key)) != "absent"

    def __len__(self) -> int:
        return len(self.keys())

    def keys(self) -> list[Any]:
        """Return the keys in their order."""
        places = fields_at(self._root)
        return [decode(key_of_part(part)) for part, place in places.items() if kind_at(place) != "absent"]

    def field(self, key: Any) -> Any:
        """Return a copy of the value of a key. Raises KeyError."""
        place = self._place(key)
        if kind_at(place) == "absent":
            raise KeyError(key)
        return decode(value_at(place))

    def set_field(self, key: Any, value: Any) -> None:
        """Set the value of a key. Of a container, only the difference is written."""
        self._change(self._place(key), encode(value))

    def remove_field(self, key: Any) -> None:
        """Remove a key. Raises KeyError."""
        if key not in self:
            raise KeyError(key)
        self._write(remove_field(self._root, _part(key)))

    def _place(self, key: Any) -> Place:
        return field_at(self._root, _part(key))


def _part(key: Any) -> str:
    hash(key)
    return part_of_key(encode(key))
