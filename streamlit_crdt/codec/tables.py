"""pandas: Series, DataFrame and Index as Arrow, and its scalars.

Arrow carries most frames exactly, but not all (an object column with None comes back as strings, duplicate
column names are refused, a DatetimeIndex loses its frequency). So every frame is read back before it is
accepted: where Arrow changed it, it is stored part by part instead, and where that changes it too, it is
refused.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from streamlit_crdt.codec.scalars import Stored, pack_zone, raw, text, type_name, unpack_zone
from streamlit_crdt.errors import ValueNotShareableError

TAGS = frozenset(
    {"pandas", "timestamp", "pandas_timedelta", "dataframe", "series", "index", "columns", "labels"}
)

Same = Callable[[Any, Any], bool]
_ITEMS_PER_UNIT = ("s", "ms", "us", "ns")


Equal = Callable[[object, object], bool]
"""`equality.equal`, passed in because `equality` imports this module."""


def pack(value: Any, encode: Callable[[Any], Stored], equal: Equal) -> tuple[str, Stored]:
    """Return tag and payload of a pandas value. `encode` stores names, labels and objects."""
    import pandas

    if value is pandas.NaT or value is pandas.NA:
        return "pandas", "NaT" if value is pandas.NaT else "NA"
    if type(value) is pandas.Timestamp:
        return "timestamp", [str(value.asm8.view("i8")), value.unit, _pack_zone(value.tzinfo)]
    if type(value) is pandas.Timedelta:
        return "pandas_timedelta", [str(value.asm8.view("i8")), value.unit]
    if not (isinstance(value, pandas.DataFrame | pandas.Series | pandas.Index)):
        raise ValueNotShareableError(type_name(value), "this pandas type has no shared form")
    return _pack_whole(value, encode, equal) or _pack_parts(value, encode, equal)


def unpack(tag: str, stored: Stored, decode: Callable[[Stored], Any]) -> object:
    """Return the value behind a tag in `TAGS`; may raise anything."""
    import pandas

    if tag == "pandas":
        return {"NaT": pandas.NaT, "NA": pandas.NA}[stored]
    if tag == "timestamp":
        return _unpack_timestamp(*stored)
    if tag == "pandas_timedelta":
        count, unit = stored
        return pandas.Timedelta(_count("timedelta64", count, unit))
    if tag == "columns":
        return _unpack_columns(stored, decode)
    if tag == "labels":
        return _unpack_labels(stored, decode)
    frame = _from_arrow(raw(stored[0]), stored[1])
    if tag == "dataframe":
        return frame
    if tag == "index":
        return frame.index
    return frame["0"].rename(decode(stored[2]))


def same(left: Any, right: Any, same_arrays: Same, same_item: Same) -> bool:
    """Return whether two pandas values of one type are equal in labels, names, dtypes and content."""
    import pandas

    if isinstance(left, pandas.DataFrame):
        return (
            left.shape == right.shape
            and same(left.columns, right.columns, same_arrays, same_item)
            and same(left.index, right.index, same_arrays, same_item)
            and all(
                _same_values(left.iloc[:, at], right.iloc[:, at], same_arrays) for at in range(left.shape[1])
            )
        )
    if isinstance(left, pandas.Series):
        return (
            same_item(left.name, right.name)
            and same(left.index, right.index, same_arrays, same_item)
            and _same_values(left, right, same_arrays)
        )
    if isinstance(left, pandas.Index):
        return _same_index(left, right, same_arrays, same_item)
    return scalar_token(left) == scalar_token(right)


def scalar_token(value: Any) -> Hashable:
    """Return a stand-in that is `==` for equal pandas scalars only."""
    import pandas

    if type(value) is pandas.Timestamp:
        return (int(value.asm8.view("i8")), value.unit, str(value.tzinfo))
    if type(value) is pandas.Timedelta:
        return (int(value.asm8.view("i8")), value.unit)
    if value is pandas.NaT or value is pandas.NA:
        return str(value)
    return value if type(value).__hash__ is not None else id(value)


def _same_values(left: Any, right: Any, same_arrays: Same) -> bool:
    import numpy

    if left.dtype != right.dtype or len(left) != len(right):
        return False
    if isinstance(left.dtype, numpy.dtype):
        return same_arrays(left.to_numpy(), right.to_numpy())
    return bool(left.array.equals(right.array))


def _same_index(left: Any, right: Any, same_arrays: Same, same_item: Same) -> bool:
    import pandas

    names_agree = same_item(list(left.names), list(right.names)) and len(left) == len(right)
    if type(left) is not type(right) or not names_agree:
        return False
    if isinstance(left, pandas.RangeIndex):
        return bool(left.equals(right))
    if isinstance(left, pandas.MultiIndex):
        return left.nlevels == right.nlevels and all(
            same(left.get_level_values(level), right.get_level_values(level), same_arrays, same_item)
            for level in range(left.nlevels)
        )
    return getattr(left, "freq", None) == getattr(right, "freq", None) and _same_values(
        left, right, same_arrays
    )


def _pack_whole(value: Any, encode: Callable[[Any], Stored], equal: Equal) -> tuple[str, Stored] | None:
    """Return the value as one Arrow stream, or None where Arrow would change it."""
    import numpy
    import pandas

    if type(value) is pandas.DataFrame:
        tag, frame, rest = "dataframe", value, []
    elif type(value) is pandas.Series:
        tag, frame, rest = "series", value.to_frame("0"), [encode(value.name)]
    else:
        tag, frame, rest = "index", pandas.DataFrame({"0": numpy.zeros(len(value), "u1")}, index=value), []
    if not frame.columns.is_unique or frame.columns.inferred_type.startswith("mixed"):
        return None
    index = frame.index
    freq = index.freqstr if isinstance(index, pandas.DatetimeIndex | pandas.TimedeltaIndex) else None
    payload = _to_arrow(frame, freq, equal)
    return None if payload is None else (tag, [payload, freq, *rest])


def _to_arrow(frame: Any, freq: str | None, equal: Equal) -> bytes | None:
    import pyarrow

    try:
        table = pyarrow.Table.from_pandas(frame)
        sink = pyarrow.BufferOutputStream()
        with pyarrow.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        payload: bytes = sink.getvalue().to_pybytes()
        read_back = _from_arrow(payload, freq)
    except (pyarrow.ArrowException, TypeError, ValueError, KeyError, OverflowError):
        return None
    return payload if equal(frame, read_back) else None


def _from_arrow(payload: bytes, freq: Stored) -> Any:
    import pyarrow

    table = pyarrow.ipc.open_stream(payload).read_all()
    table.validate(full=True)  # offsets out of range would be read as they are
    frame = table.to_pandas()
    if freq is not None:
        frame.index.freq = text(freq)
    return frame


def _pack_parts(value: Any, encode: Callable[[Any], Stored], equal: Equal) -> tuple[str, Stored]:
    """Return the value array by array: object columns item by item, numpy columns as arrays, others as
    Arrow."""
    import numpy
    import pandas

    def values(column: Any) -> Stored:
        if isinstance(column.dtype, numpy.dtype):
            return encode(column.to_numpy())
        bare = pandas.Series(column.array)
        packed = _pack_whole(bare, encode, equal)
        if packed is None:
            raise ValueNotShareableError(
                type_name(value), f"its part of dtype {column.dtype} has no shared form"
            )
        return {"$series": packed[1]}

    if isinstance(value, pandas.DataFrame):
        columns = [values(value.iloc[:, at]) for at in range(value.shape[1])]
        return "columns", [columns, encode(value.columns), encode(value.index)]
    if isinstance(value, pandas.Series):
        return "columns", [[values(value)], encode(value.name), encode(value.index), True]
    if type(value) is pandas.Index:
        return "labels", [values(value), encode(value.name)]
    if type(value) is pandas.MultiIndex:
        levels = [encode(value.get_level_values(level)) for level in range(value.nlevels)]
        return "labels", [levels, encode(list(value.names)), True]
    raise ValueNotShareableError(type_name(value), "neither Arrow nor numpy carries it unchanged")


def _unpack_columns(stored: Stored, decode: Callable[[Stored], Any]) -> Any:
    import pandas

    arrays = [decode(column) for column in stored[0]]
    labels, index = decode(stored[1]), decode(stored[2])
    if len(stored) > 3:
        return _series(arrays[0], index).rename(labels)
    frame = pandas.DataFrame({at: _series(array, index) for at, array in enumerate(arrays)}, index)
    frame.columns = labels
    return frame


def _unpack_labels(stored: Stored, decode: Callable[[Stored], Any]) -> Any:
    import pandas

    if len(stored) > 2:
        return pandas.MultiIndex.from_arrays([decode(level) for level in stored[0]], names=decode(stored[1]))
    values = decode(stored[0])
    return pandas.Index(values, dtype=values.dtype, name=decode(stored[1]))


def _series(values: Any, index: Any) -> Any:
    """Return a Series of an array (or of a Series' values) with its own dtype; pandas would guess another for
    objects."""
    import pandas

    return pandas.Series(getattr(values, "array", values), index=index, dtype=values.dtype)


def _pack_zone(zone: Any) -> Stored:
    """Return the payload of a Timestamp's zone.

    pandas 2 makes a zone that is given by its name one of pytz'. It comes back as ZoneInfo, which pandas
    takes for the same.
    """
    if type(zone).__module__.partition(".")[0] == "pytz" and zone.zone is not None:
        return str(zone.zone)
    return pack_zone(zone)


def _unpack_timestamp(count: Stored, unit: Stored, zone: Stored) -> Any:
    import pandas

    naive = pandas.Timestamp(_count("datetime64", count, unit))
    where = unpack_zone(zone)
    return naive if where is None else naive.tz_localize("UTC").tz_convert(where)


def _count(kind: str, count: Stored, unit: Stored) -> Any:
    import numpy

    if unit not in _ITEMS_PER_UNIT:
        raise ValueError("this is not a unit of time that pandas uses")
    return getattr(numpy, kind)(int(text(count)), unit)
