"""Encoding of Python's scalar types that JSON lacks, as a tag and a payload.

A `ScalarCodec` converts one value to a payload of plain types and back. Both directions are exact: `1.0` and `1`, the
fold of a time and the exponent of a Decimal are preserved. `unpack` validates its payload. It may raise any exception,
which `values.decode` converts to ValueUnreadableError, but it never imports a module or runs foreign code.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, EnumMeta, Flag
from typing import Any, cast
from uuid import UUID
from zoneinfo import ZoneInfo

from streamlit_crdt.errors import ValueNotShareableError

Stored = Any
"""A Yjs `Any`: None, bool, int, float, str, bytes, list of Stored, or dict of str to Stored."""

_ZONE_KEY = re.compile(r"[A-Za-z0-9_+\-]+(/[A-Za-z0-9_+\-]+)*")
"""An IANA key. A stored key such as `../x` would make ZoneInfo read another file."""

_MICROSECOND = timedelta(microseconds=1)


def type_name(value: object) -> str:
    """Return the name of the type of `value` for an error: with its module, unless it is a builtin."""
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


@dataclass(frozen=True, slots=True)
class ScalarCodec:
    """Tag and conversions of one type. `pack` returns a payload of plain types. `unpack` may raise any exception."""

    tag: str
    pack: Callable[[Any], Stored]
    unpack: Callable[[Any], object]


def pack_zone(zone: tzinfo | None) -> Stored:
    """Return the payload of a time zone: None, the IANA key, or the offset in microseconds and the name."""
    if zone is None:
        return None
    if type(zone) is ZoneInfo and zone.key is not None:
        return zone.key
    if type(zone) is timezone:
        offset = zone.utcoffset(None)
        name = zone.tzname(None)
        has_own_name = name != timezone(offset).tzname(None)
        return [offset // _MICROSECOND, name] if has_own_name else [offset // _MICROSECOND]
    raise ValueNotShareableError(
        type_name(zone), "its time zone is neither datetime.timezone nor zoneinfo.ZoneInfo with a key"
    )


def unpack_zone(stored: Stored) -> tzinfo | None:
    """Return the time zone of a payload of `pack_zone`."""
    if stored is None:
        return None
    if isinstance(stored, str):
        if not _ZONE_KEY.fullmatch(stored):
            raise ValueError("a time zone's key is not an IANA key")
        return ZoneInfo(stored)
    offset = timedelta(microseconds=expect_int(stored[0]))
    return timezone(offset, expect_str(stored[1])) if len(stored) > 1 else timezone(offset)


def expect_str(stored: Stored) -> str:
    """Return `stored`. Raises TypeError if it is not a str."""
    if not isinstance(stored, str):
        raise TypeError(f"a str was expected, not {type_name(stored)}")
    return stored


def expect_int(stored: Stored) -> int:
    """Return `stored` as int. Raises TypeError if it is not an integral number.

    pycrdt returns every number as float.
    """
    if isinstance(stored, bool) or not isinstance(stored, int | float) or stored != int(stored):
        raise TypeError("an integral number was expected")
    return int(stored)


def expect_bytes(stored: Stored) -> bytes:
    """Return `stored` as bytes. Raises TypeError if it is neither bytes nor bytearray, which pycrdt returns."""
    if not isinstance(stored, bytes | bytearray):
        raise TypeError(f"bytes were expected, not {type_name(stored)}")
    return bytes(stored)


def _pack_int(value: int) -> Stored:
    try:
        return str(value)
    except ValueError as error:
        raise ValueNotShareableError(
            "int", f"it has more than {sys.get_int_max_str_digits()} digits"
        ) from error


def _pack_datetime(value: datetime) -> Stored:
    return [value.replace(tzinfo=None, fold=0).isoformat(), value.fold, pack_zone(value.tzinfo)]


def _unpack_datetime(stored: Stored) -> datetime:
    naive, fold, zone = stored
    return datetime.fromisoformat(expect_str(naive)).replace(tzinfo=unpack_zone(zone), fold=expect_int(fold))


def _pack_time(value: time) -> Stored:
    return [value.replace(tzinfo=None, fold=0).isoformat(), value.fold, pack_zone(value.tzinfo)]


def _unpack_time(stored: Stored) -> time:
    naive, fold, zone = stored
    return time.fromisoformat(expect_str(naive)).replace(tzinfo=unpack_zone(zone), fold=expect_int(fold))


def _unpack_timedelta(stored: Stored) -> timedelta:
    days, seconds, microseconds = map(expect_int, stored)
    return timedelta(days, seconds, microseconds)


def _unpack_complex(stored: Stored) -> complex:
    real, imaginary = map(expect_str, stored)
    return complex(float(real), float(imaginary))


def _pack_range(value: range) -> Stored:
    return [str(value.start), str(value.stop), str(value.step)]


def _unpack_range(stored: Stored) -> range:
    start, stop, step = (int(expect_str(part)) for part in stored)
    return range(start, stop, step)


CODECS: Mapping[type, ScalarCodec] = {
    int: ScalarCodec("int", _pack_int, lambda stored: int(expect_str(stored))),
    float: ScalarCodec("float", repr, lambda stored: float(expect_str(stored))),
    str: ScalarCodec(
        "surrogates",
        lambda value: value.encode("utf-8", "surrogatepass"),
        lambda stored: expect_bytes(stored).decode("utf-8", "surrogatepass"),
    ),
    bytearray: ScalarCodec("bytearray", bytes, lambda stored: bytearray(expect_bytes(stored))),
    complex: ScalarCodec("complex", lambda value: [repr(value.real), repr(value.imag)], _unpack_complex),
    range: ScalarCodec("range", _pack_range, _unpack_range),
    date: ScalarCodec("date", date.isoformat, lambda stored: date.fromisoformat(expect_str(stored))),
    time: ScalarCodec("time", _pack_time, _unpack_time),
    datetime: ScalarCodec("datetime", _pack_datetime, _unpack_datetime),
    timedelta: ScalarCodec(
        "timedelta", lambda value: [value.days, value.seconds, value.microseconds], _unpack_timedelta
    ),
    Decimal: ScalarCodec("decimal", str, lambda stored: Decimal(expect_str(stored))),
    UUID: ScalarCodec("uuid", str, lambda stored: UUID(expect_str(stored))),
}
"""Codecs by exact type. int, float and str have one for the values that a JSON number or string cannot represent."""


def pack_enum(value: Enum) -> Stored:
    """Return module, qualified name and list of member names.

    The list has several names for a combination of flags, and none for the empty flag.
    """
    kind = type(value)
    if find_enum(kind.__module__, kind.__qualname__) is None:
        raise ValueNotShareableError(
            type_name(value),
            "its Enum class is not at the top level of a module, so other sessions cannot find it",
        )
    if value.name in kind.__members__:
        names = [value.name]
    elif isinstance(value, Flag):
        names = [str(part.name) for part in value]
    else:
        raise ValueNotShareableError(type_name(value), "it is not a named member of its Enum class")
    member = unpack_enum([kind.__module__, kind.__qualname__, names])
    if member.value != value.value:
        raise ValueNotShareableError(type_name(value), "its flags do not all have names")
    return [kind.__module__, kind.__qualname__, names]


def unpack_enum(stored: Stored) -> Enum:
    """Return the member of an Enum class that this process has imported. A room must not cause an import."""
    module, qualname, names = stored
    kind = find_enum(expect_str(module), expect_str(qualname))
    if kind is None:
        raise LookupError(f"Enum {module}.{qualname} is not imported in this process")
    members: list[Enum] = [kind.__members__[expect_str(name)] for name in names]
    if len(members) == 1:
        return members[0]
    if not issubclass(kind, Flag):
        raise ValueError("only flags can be combined")
    combined = kind(0)
    for member in members:
        combined |= cast(Flag, member)
    return combined


def find_enum(module: str, qualname: str) -> EnumMeta | None:
    """Return an Enum class by its path, or None. Imports nothing and does not call a module's `__getattr__`."""
    found: object = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, "__dict__", {}).get(part)
    return found if isinstance(found, EnumMeta) else None
