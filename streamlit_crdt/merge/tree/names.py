"""Names of entries in a tree: paths of parts, like JSON Pointers without the first slash.

| part | meaning |
|---|---|
| `text`, `~2…` | key of a dict, a str; `~2` is for a leading `$` |
| `$…` | key of a dict of another type, as item key |
| `~i…` | item of a list; its entry is the proof that it exists: `[position, value]` |
| `~i.…` | item that came from another list; of several with one part, one is visible |
| `~b…` | item of a list that is stored as a whole: digest of the list and index |
| `~p` | position of a moved item |
| `~s…` | member of a set, and the replica that added it |
| `~-…` | removal mark of a part that an entry above contains as part of a whole value |
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from streamlit_crdt.codec import arrays
from streamlit_crdt.codec.scalars import Stored
from streamlit_crdt.codec.values import decode
from streamlit_crdt.errors import ValueUnreadableError
from streamlit_crdt.merge.item_keys import encode, item_from_key, item_key

ITEM: Final = "~i"
MOVED_ITEM: Final = "~i."
BASE_ITEM: Final = "~b"
POSITION: Final = "~p"
MEMBER: Final = "~s"
REMOVAL: Final = "~-"

_MAX_EXPONENT: Final = 400
"""Limit of the exponent of a Decimal that is compared with int and float. Its int would have as many digits."""


def join(path: str | None, part: str) -> str:
    """Return the path of a part of a place. None is the root; the path "" is the key ""."""
    return part if path is None else f"{path}/{part}"


def split(path: str) -> tuple[str | None, str]:
    """Return the path of the place that a path's last part is in, and that part."""
    parent, slash, part = path.rpartition("/")
    return parent if slash else None, part


def canonical_name(name: str) -> str:
    """Return the name with canonical keys. An older version wrote equal keys, such as 1 and 1.0, as different parts."""
    if "$" not in name:
        return name
    return "/".join(map(_canonical_part, name.split("/")))


def part_of_key(stored: Stored) -> str:
    """Return the part of an encoded dict key: an escaped str, or "$" and the item key of another type."""
    if type(stored) is not str:
        return "$" + escape(item_key(canonical(stored)))
    return "~2" + escape(stored[1:]) if stored.startswith("$") else escape(stored)


def key_of_part(part: str) -> Stored:
    """Return the encoded dict key of a part. May raise ValueError if another program wrote the part."""
    if part.startswith("$"):
        return item_from_key(_unescape(part[1:]))
    return "$" + _unescape(part[2:]) if part.startswith("~2") else _unescape(part)


def canonical(stored: Stored) -> Stored:
    """Return the encoded form of the number that equals an encoded key in Python, else the key itself.

    1, 1.0, True, Decimal(1) and 1 + 0j are one key, the int 1. The same holds inside of tuples and frozensets. A str
    equals no other key.
    """
    if type(stored) is bool:
        return int(stored)
    if not isinstance(stored, dict):
        return stored
    key = decode(stored)
    equal_key = canonical_key(key)
    return stored if equal_key is key else encode(equal_key)


def name_of_item(stored: Stored) -> str:
    """Return the same text for encoded set items that are equal in Python."""
    return item_key(canonical(stored))


def canonical_key(key: Any) -> Any:
    """Return the simplest number that equals `key` in Python: int before float before others. See `canonical`."""
    kind = type(key)
    if kind is bool or (kind is float and key.is_integer()):
        return int(key)
    if kind is complex and not key.imag:
        return canonical_key(key.real)
    if kind is Decimal:
        return _canonical_decimal(key)
    if kind is tuple:
        return tuple(map(canonical_key, key))
    if kind is frozenset:
        return frozenset(map(canonical_key, key))
    if kind not in (int, float, str, bytes, type(None)) and arrays.owns(key) and hasattr(key, "item"):
        plain = key.item()
        if type(plain) in (bool, int, float, complex, str, bytes) and plain == key:
            return canonical_key(plain)
    return key


def _canonical_decimal(key: Decimal) -> Any:
    if not key.is_finite() or abs(key.adjusted()) > _MAX_EXPONENT:
        return key
    if key == key.to_integral_value():
        return int(key)
    number = float(key)
    return number if Decimal(number) == key else key


@lru_cache(maxsize=4096)
def _canonical_part(part: str) -> str:
    prefix = REMOVAL if part.startswith(REMOVAL + "$") else ""
    inner = part.removeprefix(prefix)
    if not inner.startswith("$"):
        return part
    try:
        return prefix + part_of_key(key_of_part(inner))
    except (ValueError, TypeError, ValueUnreadableError):  # another program wrote it; reading it reports that
        return part


def escape(text: str) -> str:
    return text.replace("~", "~0").replace("/", "~1")


def _unescape(text: str) -> str:
    return text.replace("~1", "/").replace("~0", "~")
