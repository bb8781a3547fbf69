"""Containers in encoded form: fields of a dict, items of a list, members of a set.

A value that is none of these three is a leaf of the tree and merges as a whole, such as a tuple or a DataFrame.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from enum import Enum
from hashlib import blake2b
from typing import Any, Final, Literal, NamedTuple

from streamlit_crdt.codec.scalars import Stored
from streamlit_crdt.merge.tree.names import name_of_item, part_of_key

_NOT_PLAIN: Final = ("__proto__", "constructor")

Kind = Literal["dict", "list", "set", "leaf", "absent"]


class Absence(Enum):
    """The type of `ABSENT`: there is no value."""

    ABSENT = "absent"


ABSENT: Final = Absence.ABSENT


class Field(NamedTuple):
    """A field of a dict: its encoded key and value."""

    key: Stored
    value: Stored


def kind_of(stored: Stored) -> Kind:
    if stored is ABSENT:
        return "absent"
    if isinstance(stored, list):
        return "list"
    if not isinstance(stored, dict):
        return "leaf"
    if len(stored) == 1:
        (name,) = stored
        if name.startswith("$"):
            return "dict" if name == "$dict" else "set" if name == "$set" else "leaf"
    return "dict"


def fields_of(stored: Stored) -> dict[str, Field]:
    """Return the fields of an encoded dict by part, in their order. Any other value has none."""
    if kind_of(stored) != "dict":
        return {}
    if "$dict" in stored and len(stored) == 1:
        pairs = stored["$dict"]
        return {part_of_key(pair[0]): Field(pair[0], pair[1]) for pair in pairs}
    return {part_of_key(key): Field(key, stored[key]) for key in sorted(stored)}


def field_of(stored: Stored, key: str) -> Stored:
    """Return the value of a str key of an encoded dict."""
    if isinstance(stored, dict):
        if key in stored:
            return stored[key]
        if "$dict" in stored and len(stored) == 1:
            return next((pair[1] for pair in stored["$dict"] if pair[0] == key), ABSENT)
    return ABSENT


def dict_of(fields: Iterable[Field]) -> Stored:
    """Return the encoded dict of fields in their order."""
    fields = list(fields)
    keys = [field.key for field in fields]
    if all(_is_plain(key) for key in keys) and keys == sorted(keys):
        return {field.key: field.value for field in fields}
    return {"$dict": [[field.key, field.value] for field in fields]}


def members_of(stored: Stored) -> dict[str, Stored]:
    """Return the members of an encoded set by canonical item key."""
    if kind_of(stored) != "set":
        return {}
    return {name_of_item(item): item for item in stored["$set"]}


def set_of(members: Mapping[str, Stored]) -> Stored:
    """Return the encoded set of members, in the order in which `codec.encode` stores them."""
    return {"$set": sorted(members.values(), key=_sort_key)}


def digest(*texts: str) -> str:
    """Return a short text that is derived from others. It has letters, digits, `-` and `_`."""
    value = blake2b(digest_size=9)
    for text in texts:
        value.update(text.encode())
        value.update(b"\0")
    return base64.urlsafe_b64encode(value.digest()).decode()


def _sort_key(item: Stored) -> str:
    return repr(int(item)) if type(item) is float and item.is_integer() else repr(item)


def _is_plain(key: Any) -> bool:
    return type(key) is str and not key.startswith("$") and key not in _NOT_PLAIN
