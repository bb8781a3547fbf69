"""Python's own scalar types that JSON lacks, each as a tag and a payload.

A codec turns one value into a payload of plain types and back. Both directions are exact: what Python tells
apart (`1.0` and `1`, the fold of a time, the exponent of a Decimal) is told apart in the payload. Unpacking
trusts nothing: it may raise any exception, which `values.decode` turns into one error, but it never imports
or runs foreign code.
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
"""None, bool, int, float, str, bytes, list of Stored, dict of str to Stored. What a Yjs `Any` holds."""

_ZONE_KEY = re.compile(r"[A-Za-z0-9_+\-]+(/[A-Za-z0-9_+\-]+)*")
_MICROSECOND = timedelta(microseconds=1)


def type_name(value: object) -> str:
    """Return the name by which an error calls the type of `value`."""
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


@dataclass(frozen=True, slots=True)
class ScalarCodec:
    """How one type is tagged. `pack` gives a payload of plain types; `unpack` may raise anything."""

    tag: str
    pack: Callable[[Any], Stored]
    unpack: Callable[[Any], object]


def pack_zone(zone: tzinfo | None) -> Stored:
    """Return the payload of a time zone: null, its IANA key, or offset in microseconds and name."""
    if zone is None:
        return None
    if type(zone) is ZoneInfo and zone.key is not None:
        return zone.key
    if type(zone) is timezone:
        offset = zone.utcoffset(None)
        name = zone.tzname(None)
        named = name != timezone(offset).tzname(None)
        return [offset // _MICROSECOND, name] if named else [offset // _MICROSECOND]
    raise ValueNotShareableError(
        type_name(zone), "its time zone is neither datetime.timezone nor zoneinfo.ZoneInfo with a key"
    )


def unpack_zone(stored: Stored) -> tzinfo | None:
    """Return the time zone that `pack_zone` described."""
    if stored is None:
        return None
    if isinstance(stored, str):
        if not _ZONE_KEY.fullmatch(stored):
            raise ValueError("a time zone's key has characters that no zone has")
        return ZoneInfo(stored)
    offset = timedelta(microseconds=whole(stored[0]))
    return timezone(offset, text(stored[1])) if len(stored) > 1 else timezone(offset)


def text(stored: Stored) -> str:
    """Return `stored` if it is a str."""
    if not isinstance(stored, str):
        raise TypeError(f"text was expected, not {type_name(stored)}")
    return stored


def whole(stored: Stored) -> int:
    """Return `stored` as int if it is an integral number: pycrdt reads every number back as float."""
    if isinstance(stored, bool) or not isinstance(stored, int | float) or stored != int(stored):
        raise TypeError("an integral number was expected")
    return int(stored)


def raw(stored: Stored) -> bytes:
    """Return `stored` as bytes: pycrdt reads bytes back as bytearray."""
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
    return datetime.fromisoformat(text(naive)).replace(tzinfo=unpack_zone(zone), fold=whole(fold))


def _pack_time(value: time) -> Stored:
    return [value.replace(tzinfo=None, fold=0).isoformat(), value.fold, pack_zone(value.tzinfo)]


def _unpack_time(stored: Stored) -> time:
    naive, fold, zone = stored
    return time.fromisoformat(text(naive)).replace(tzinfo=unpack_zone(zone), fold=whole(fold))


def _unpack_timedelta(stored: Stored) -> timedelta:
    days, seconds, microseconds = map(whole, stored)
    return timedelta(days, seconds, microseconds)


def _unpack_complex(stored: Stored) -> complex:
    real, imaginary = map(text, stored)
    return complex(float(real), float(imaginary))


def _pack_range(value: range) -> Stored:
    return [str(value.start), str(value.stop), str(value.step)]


def _unpack_range(stored: Stored) -> range:
    start, stop, step = (int(text(part)) for part in stored)
    return range(start, stop, step)


CODECS: Mapping[type, ScalarCodec] = {
    int: ScalarCodec("int", _pack_int, lambda stored: int(text(stored))),
    float: ScalarCodec("float", repr, lambda stored: float(text(stored))),
    str: ScalarCodec(
        "surrogates",
        lambda value: value.encode("utf-8", "surrogatepass"),
        lambda stored: raw(stored).decode("utf-8", "surrogatepass"),
    ),
    bytearray: ScalarCodec("bytearray", bytes, lambda stored: bytearray(raw(stored))),
    complex: ScalarCodec("complex", lambda value: [repr(value.real), repr(value.imag)], _unpack_complex),
    range: ScalarCodec("range", _pack_range, _unpack_range),
    date: ScalarCodec("date", date.isoformat, lambda stored: date.fromisoformat(text(stored))),
    time: ScalarCodec("time", _pack_time, _unpack_time),
    datetime: ScalarCodec("datetime", _pack_datetime, _unpack_datetime),
    timedelta: ScalarCodec(
        "timedelta", lambda value: [value.days, value.seconds, value.microseconds], _unpack_timedelta
    ),
    Decimal: ScalarCodec("decimal", str, lambda stored: Decimal(text(stored))),
    UUID: ScalarCodec("uuid", str, lambda stored: UUID(text(stored))),
}
"""By exact type. int, float and str are here for those of their values that a JSON number or string cannot
hold."""


def pack_enum(value: Enum) -> Stored:
    """Return module, qualified name and member names: several for a combination of flags, none for no
    flag."""
    kind = type(value)
    if find_enum(kind.__module__, kind.__qualname__) is None:
        raise ValueNotShareableError(
            type_name(value),
            "its Enum class is not at the top level of a module, so nobody else could find it",
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
    """Return the member from a class that is already imported here; a room must not decide what gets
    imported."""
    module, qualname, names = stored
    kind = find_enum(text(module), text(qualname))
    if kind is None:
        raise LookupError(f"no Enum {module}.{qualname} is imported here")
    members: list[Enum] = [kind.__members__[text(name)] for name in names]
    if len(members) == 1:
        return members[0]
    if not issubclass(kind, Flag):
        raise ValueError("only flags can be combined")
    combined = kind(0)
    for member in members:
        combined |= cast(Flag, member)
    return combined


def find_enum(module: str, qualname: str) -> EnumMeta | None:
    """Return an Enum class by its path, without importing anything and without calling a module's
    `__getattr__`."""
    found: object = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, "__dict__", {}).get(part)
    return found if isinstance(found, EnumMeta) else None
