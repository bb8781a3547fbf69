"""Lossless encoding of Python values as trees of Yjs `Any` values.

Yjs and pycrdt have the types of JSON and bytes, and do not distinguish `1` from `1.0`. A value that they would change
is stored as a tag: a dict with one key that starts with `$`. Plain values stay plain, so that other Yjs programs can
read them.

| Python | stored |
|---|---|
| None, bool, str, bytes, non-integral floats, inf, nan | unchanged |
| int | a number up to 2**53 - 1, else `{"$int": "…decimal…"}` |
| integral float, -0.0 | `{"$float": "1.0"}` |
| list; dict with str keys in sorted order | unchanged |
| any other dict | `{"$dict": [[key, value], …]}` |
| tuple, set, frozenset | `{"$tuple": […]}`, `{"$set": […]}`, `{"$frozenset": […]}` |
| date, Decimal, Enum member, DataFrame, … | a tag of `scalars`, `arrays` or `tables` |

A dict is stored plain only under these conditions:

- Its keys are sorted. `decode` sorts them again, because pycrdt does not preserve their order.
- No key starts with `$`.
- No key is `__proto__`, which JavaScript drops, or `constructor`, by which Yjs detects types.

Instances of a subclass of a builtin (namedtuple, OrderedDict, a str subclass) are rejected, because they would be
decoded as the builtin. Nothing is pickled. Decoding neither imports nor runs code of the app. `equality.equal` decides
whether a value has changed.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import Any

from streamlit_crdt.codec import arrays, scalars
from streamlit_crdt.codec.equality import IMMUTABLE, MAX_DEPTH, deep_copy, equal
from streamlit_crdt.codec.live_values import LiveValue, plain
from streamlit_crdt.codec.scalars import Stored, type_name
from streamlit_crdt.errors import ValueNotShareableError, ValueUnreadableError

__all__ = [
    "MAX_DEPTH",
    "MAX_VALUE_BYTES",
    "MAX_VALUE_ELEMENTS",
    "Stored",
    "decode",
    "deep_copy",
    "encode",
    "equal",
    "is_leaf",
]

MAX_VALUE_BYTES = 8 * 1024 * 1024
"""Limit of one encoded value in bytes. A larger one is rejected: its frame would exceed the socket's 16 MiB."""

MAX_VALUE_ELEMENTS = 1_000_000
"""Limit of the elements inside one encoded value. The room server closes a connection that sends more."""

_MAX_SAFE_INTEGER = 2**53 - 1
"""Largest integer that a JavaScript number represents exactly. A larger one is stored as a tag."""

_NODE_BYTES = 8
"""Bytes counted for each node of a tree, in addition to its text or buffer."""

_MAX_REASON_CHARS = 200

_MAX_COLLISIONS = 64
"""Limit of the items of a set, and the keys of a dict, with one hash. Inserting n of them takes n² comparisons."""

_JAVASCRIPT_KEYS = ("__proto__", "constructor")
_CONTAINERS = {"tuple": tuple, "set": set, "frozenset": frozenset}
_UNPACKERS = {codec.tag: codec.unpack for codec in scalars.CODECS.values()}
_BUILTINS = (int, float, str, bytes, bytearray, list, tuple, set, frozenset, dict, *scalars.CODECS)


def encode(value: object, *, key: str | None) -> Stored:
    """Return the tree to store for `value`. The tree and `value` share no mutable object.

    Args:
        key: the key of the value, for the error; None if it has none.

    Raises:
        ValueNotShareableError: `value` has no lossless form. The error names `key` and the type of the rejected part.
    """
    try:
        encoder = _Encoder()
        stored = encoder.tree(value, 0)
        if encoder.may_have_many_elements and _count_elements(stored) > MAX_VALUE_ELEMENTS:
            raise ValueNotShareableError(type_name(value), f"it has more than {MAX_VALUE_ELEMENTS} elements")
        return stored
    except ValueNotShareableError as error:
        error.key = key
        raise


def decode(stored: Stored) -> Any:
    """Return the value of a tree. Each call returns a new object.

    Raises:
        ValueUnreadableError: the tree is malformed, or needs an Enum class or a time zone that this process lacks.
    """
    try:
        return _decode(stored, 0)
    except ValueUnreadableError:
        raise
    except (
        Exception
    ) as error:  # on a hostile payload pyarrow, pandas and constructors raise various exceptions
        # The text may quote the whole payload. It may be megabytes long, and it is logged and shown.
        raise ValueUnreadableError(f"{type(error).__name__}: {str(error)[:_MAX_REASON_CHARS]}") from error


def is_leaf(value: object) -> bool:
    """Return whether a decoded value may be cached.

    A container is mutable. The class of an Enum member is replaced in the next script run.
    """
    return not isinstance(value, list | dict | tuple | set | frozenset | bytearray | Enum)


def is_constant(value: object) -> bool:
    """Return whether each decoding of its tree returns this value. That of an Enum member depends on the script run."""
    kind = type(value)
    if kind in IMMUTABLE or kind is bytearray:
        return True
    if isinstance(value, dict):
        return all(is_constant(key) and is_constant(item) for key, item in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(is_constant, value))
    return is_leaf(value)


class _Encoder:
    """Encoder of one value. It counts the encoded bytes and rejects the value at the limit."""

    def __init__(self) -> None:
        self._remaining_bytes = MAX_VALUE_BYTES

    @property
    def may_have_many_elements(self) -> bool:
        """True if the encoded elements must be counted. A node has less than eight, with those of its tag."""
        return MAX_VALUE_BYTES - self._remaining_bytes > MAX_VALUE_ELEMENTS

    def tree(self, value: Any, depth: int) -> Stored:
        self._spend(_NODE_BYTES, value)
        if depth > MAX_DEPTH:
            raise ValueNotShareableError(
                type_name(value), f"it is nested deeper than {MAX_DEPTH} levels, or contains itself"
            )
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is str:
            return self._text(value)
        if kind is bytes:
            self._spend(len(value), value)
            return value
        if (kind is int and abs(value) <= _MAX_SAFE_INTEGER) or (kind is float and not value.is_integer()):
            return value
        if kind in (list, dict, tuple, set, frozenset):
            return self._container(value, depth + 1)
        return self._tagged(value, depth + 1)

    def _spend(self, count: int, value: object) -> None:
        self._remaining_bytes -= count
        if self._remaining_bytes < 0:
            raise ValueNotShareableError(type_name(value), f"it is larger than {MAX_VALUE_BYTES} bytes")

    def _text(self, value: str) -> Stored:
        try:
            self._spend(len(value) if value.isascii() else len(value.encode()), value)
        except UnicodeEncodeError:  # a lone surrogate, on which pycrdt panics
            return _tag("surrogates", scalars.CODECS[str].pack(value))
        return value

    def _container(self, value: Any, depth: int) -> Stored:
        if type(value) is dict:
            return self._mapping(value, depth)
        items = [self.tree(item, depth) for item in value]
        if type(value) is list:
            return items
        if type(value) is tuple:
            return _tag("tuple", items)
        return _tag(type(value).__name__, sorted(items, key=repr))

    def _mapping(self, value: dict[Any, Any], depth: int) -> Stored:
        if all(_is_plain_key(key) for key in value):
            keys = list(value)
            if keys == sorted(keys):
                return {self._text(key): self.tree(item, depth) for key, item in value.items()}
        return _tag("dict", [[self.tree(key, depth), self.tree(item, depth)] for key, item in value.items()])

    def _tagged(self, value: Any, depth: int) -> Stored:
        if isinstance(value, LiveValue):
            return self._container(plain(value), depth)
        codec = scalars.CODECS.get(type(value))
        if codec is not None:
            tag, payload = codec.tag, codec.pack(value)
        elif isinstance(value, Enum):
            tag, payload = "enum", scalars.pack_enum(value)
        elif arrays.owns(value):
            tag, payload = arrays.pack(value, lambda part: self.tree(part, depth), equal)
        else:
            raise ValueNotShareableError(type_name(value), _rejection_reason(value))
        self._spend(_leaf_bytes(payload), value)
        return _tag(tag, payload)


def _count_elements(stored: Stored) -> int:
    """Return the number of elements of all lists and dicts in a tree."""
    count, open_nodes = 0, [stored]
    while open_nodes:
        node = open_nodes.pop()
        if isinstance(node, list | dict):
            count += len(node)
            open_nodes.extend(node.values() if isinstance(node, dict) else node)
    return count


def _tag(name: str, payload: Stored) -> Stored:
    return {f"${name}": payload}


def _is_plain_key(key: object) -> bool:
    return type(key) is str and not key.startswith("$") and key not in _JAVASCRIPT_KEYS and _is_unicode(key)


def _is_unicode(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


def _leaf_bytes(payload: Stored) -> int:
    """Return the bytes of the texts and buffers in a payload. Nested trees are already counted."""
    if isinstance(payload, str | bytes):
        return len(payload)
    if isinstance(payload, list):
        return sum(len(part) for part in payload if isinstance(part, str | bytes))
    return 0


def _rejection_reason(value: object) -> str:
    for kind in _BUILTINS:
        if isinstance(value, kind):
            return f"it is a subclass of {kind.__name__} and would be decoded as {kind.__name__}; convert it"
    if callable(value):
        return "functions and classes are code, not values"
    return "this type has no stored form; convert it to plain types (dict, list, str, number, date, DataFrame, …)"


def _decode(stored: Stored, depth: int) -> Any:
    if depth > 2 * MAX_DEPTH:  # a tagged container takes two levels of the tree
        raise ValueUnreadableError("it is nested too deeply")
    if stored is None or isinstance(stored, bool | str):
        return stored
    if isinstance(stored, int):
        return stored
    if isinstance(stored, float):
        return int(stored) if stored.is_integer() else stored
    if isinstance(stored, bytes | bytearray):
        return bytes(stored)
    if isinstance(stored, list):
        return [_decode(item, depth + 1) for item in stored]
    if not isinstance(stored, dict):
        raise ValueUnreadableError(f"{type_name(stored)} is not a type of stored values")
    if len(stored) == 1:
        ((name, payload),) = stored.items()
        if name.startswith("$"):
            return _decode_tag(name[1:], payload, depth + 1)
    return {name: _decode(stored[name], depth + 1) for name in sorted(stored)}


def _decode_tag(tag: str, payload: Stored, depth: int) -> Any:
    if tag in _UNPACKERS:
        return _UNPACKERS[tag](payload)
    if tag in _CONTAINERS:
        items = [_decode(item, depth) for item in _items(payload)]
        return _CONTAINERS[tag](items if tag == "tuple" else _hashable(items))
    if tag == "dict":
        pairs = [[_decode(part, depth) for part in _items(pair)] for pair in _items(payload)]
        _hashable([name for name, _ in pairs])
        return dict(pairs)
    if tag == "enum":
        return scalars.unpack_enum(payload)
    if tag in arrays.TAGS:
        return arrays.unpack(tag, payload, lambda part: _decode(part, depth))
    raise ValueUnreadableError(
        f"its tag {tag[:40]!r} is unknown; another version of the library may have written it"
    )


def _hashable(items: list[Any]) -> list[Any]:
    """Return `items`. Raises ValueError if a set of them takes time in proportion to the square of their number."""
    if len(items) > _MAX_COLLISIONS and max(Counter(map(hash, items)).values()) > _MAX_COLLISIONS:
        raise ValueError(f"more than {_MAX_COLLISIONS} items of a set, or keys of a dict, have one hash")
    return items


def _items(payload: Stored) -> list[Stored]:
    if not isinstance(payload, list):
        raise TypeError(f"a list was expected, not {type_name(payload)}")
    return payload
