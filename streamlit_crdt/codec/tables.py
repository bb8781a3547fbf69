"""Encoding of pandas Series, DataFrame and Index as Arrow, and of pandas scalars.

Arrow preserves most frames, but not all: an object column with None is read back as strings, duplicate column names
are rejected, and a DatetimeIndex loses its frequency. Each frame is therefore decoded again before it is accepted. If
Arrow changed the frame, it is stored part by part. If that changes it too, it is rejected.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from streamlit_crdt.codec.arrow_stream import MAX_COLUMNS, read_table
from streamlit_crdt.codec.scalars import Stored, expect_bytes, expect_str, pack_zone, type_name, unpack_zone
from streamlit_crdt.errors import ValueNotShareableError

TAGS = frozenset(
    {"pandas", "timestamp", "pandas_timedelta", "dataframe", "series", "index", "columns", "labels"}
)

Comparison = Callable[[Any, Any], bool]

Equal = Callable[[object, object], bool]
"""Type of `equality.equal`. It is an argument because `equality` imports this module through `arrays`."""

_TIME_UNITS = ("s", "ms", "us", "ns")
"""Units of pandas' Timestamp and Timedelta. Any other unit in a stored value is rejected."""


def pack(value: Any, encode: Callable[[Any], Stored], equal: Equal) -> tuple[str, Stored]:
    """Return tag and payload of a pandas value.

    Args:
        encode: encodes names, labels and objects.
        equal: compares a frame with its decoded Arrow form.
    """
    import pandas

    if value is pandas.NaT or value is pandas.NA:
        return "pandas", "NaT" if value is pandas.NaT else "NA"
    if type(value) is pandas.Timestamp:
        return "timestamp", [str(value.asm8.view("i8")), value.unit, _pack_zone(value.tzinfo)]
    if type(value) is pandas.Timedelta:
        return "pandas_timedelta", [str(value.asm8.view("i8")), value.unit]
    if not (isinstance(value, pandas.DataFrame | pandas.Series | pandas.Index)):
        raise ValueNotShareableError(type_name(value), "this pandas type has no stored form")
    return _pack_whole(value, encode, equal) or _pack_parts(value, encode, equal)


def unpack(tag: str, stored: Stored, decode: Callable[[Stored], Any]) -> object:
    """Return the value of a payload. `tag` is in `TAGS`. A malformed payload may raise any exception."""
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
    frame = _from_arrow(expect_bytes(stored[0]), stored[1])
    if tag == "dataframe":
        return frame
    if tag == "index":
        return frame.index
    return frame["0"].rename(decode(stored[2]))


def are_equal(left: Any, right: Any, arrays_equal: Comparison, items_equal: Comparison) -> bool:
    """Return whether two pandas values of one type are equal in labels, names, dtypes and content."""
    import pandas

    if isinstance(left, pandas.DataFrame):
        return (
            left.shape == right.shape
            and are_equal(left.columns, right.columns, arrays_equal, items_equal)
            and are_equal(left.index, right.index, arrays_equal, items_equal)
            and all(
                _columns_equal(one, other, arrays_equal)
                for one, other in zip(_columns(left), _columns(right), strict=True)
            )
        )
    if isinstance(left, pandas.Series):
        return (
            items_equal(left.name, right.name)
            and are_equal(left.index, right.index, arrays_equal, items_equal)
            and _values_equal(left, right, arrays_equal)
        )
    if isinstance(left, pandas.Index):
        return _indexes_equal(left, right, arrays_equal, items_equal)
    return scalar_token(left) == scalar_token(right)


def scalar_token(value: Any) -> Hashable:
    """Return a hashable token. The tokens of two pandas scalars are `==` only if the scalars are equal."""
    import pandas

    if type(value) is pandas.Timestamp:
        return (int(value.asm8.view("i8")), value.unit, str(value.tzinfo))
    if type(value) is pandas.Timedelta:
        return (int(value.asm8.view("i8")), value.unit)
    if value is pandas.NaT or value is pandas.NA:
        return str(value)
    return value if type(value).__hash__ is not None else id(value)


def _columns(frame: Any) -> list[Any]:
    """Return the array of each column. A Series of each would take most of the time of a comparison."""
    import numpy

    try:
        return list(frame._iter_column_arrays())
    except AttributeError:  # a private method of pandas 1.2 to 3
        columns = [series for _, series in frame.items()]
        return [each.to_numpy() if isinstance(each.dtype, numpy.dtype) else each.array for each in columns]


def _columns_equal(left: Any, right: Any, arrays_equal: Comparison) -> bool:
    import numpy

    if left.dtype != right.dtype or len(left) != len(right):
        return False
    if isinstance(left.dtype, numpy.dtype):
        return arrays_equal(numpy.asarray(left), numpy.asarray(right))
    return bool(left.equals(right))


def _values_equal(left: Any, right: Any, arrays_equal: Comparison) -> bool:
    import numpy

    if left.dtype != right.dtype or len(left) != len(right):
        return False
    if isinstance(left.dtype, numpy.dtype):
        return arrays_equal(left.to_numpy(), right.to_numpy())
    return bool(left.array.equals(right.array))


def _indexes_equal(left: Any, right: Any, arrays_equal: Comparison, items_equal: Comparison) -> bool:
    import pandas

    names_agree = items_equal(list(left.names), list(right.names)) and len(left) == len(right)
    if type(left) is not type(right) or not names_agree:
        return False
    if isinstance(left, pandas.RangeIndex):
        return bool(left.equals(right))
    if isinstance(left, pandas.MultiIndex):
        return left.nlevels == right.nlevels and all(
            are_equal(left.get_level_values(level), right.get_level_values(level), arrays_equal, items_equal)
            for level in range(left.nlevels)
        )
    return getattr(left, "freq", None) == getattr(right, "freq", None) and _values_equal(
        left, right, arrays_equal
    )


def _pack_whole(value: Any, encode: Callable[[Any], Stored], equal: Equal) -> tuple[str, Stored] | None:
    """Return tag and payload with one Arrow stream, or None if Arrow changes the value."""
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
    table = read_table(payload)
    frame = table.to_pandas()
    if len(frame) != table.num_rows:
        raise ValueError("the index of a frame has another length than its columns")
    if freq is not None:
        frame.index.freq = expect_str(freq)
    return frame


def _pack_parts(value: Any, encode: Callable[[Any], Stored], equal: Equal) -> tuple[str, Stored]:
    """Return tag and payload with one entry for each column.

    Object columns are encoded item by item, numpy columns as arrays, and other columns as Arrow.
    """
    import numpy
    import pandas

    def values(column: Any) -> Stored:
        if isinstance(column.dtype, numpy.dtype):
            return encode(column.to_numpy())
        bare = pandas.Series(column.array)
        packed = _pack_whole(bare, encode, equal)
        if packed is None:
            raise ValueNotShareableError(
                type_name(value), f"its column of dtype {column.dtype} has no stored form"
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
    raise ValueNotShareableError(type_name(value), "neither Arrow nor numpy preserves it")


def _unpack_columns(stored: Stored, decode: Callable[[Stored], Any]) -> Any:
    import pandas

    if len(stored[0]) > MAX_COLUMNS:
        raise ValueError(f"a frame has more than {MAX_COLUMNS} columns")
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
    """Return a Series of an array, or of the values of a Series, with the same dtype.

    Without an explicit dtype pandas infers another one for objects. It would repeat a scalar for each row.
    """
    import pandas

    if values.shape != (len(index),):
        raise ValueError("a column has another length than the index")

    return pandas.Series(getattr(values, "array", values), index=index, dtype=values.dtype)


def _pack_zone(zone: Any) -> Stored:
    """Return the payload of a Timestamp's zone.

    pandas 2 converts a zone name to a pytz zone. It is decoded as ZoneInfo, which pandas treats as equal.
    """
    if type(zone).__module__.partition(".")[0] == "pytz" and zone.zone is not None:
        return str(zone.zone)
    return pack_zone(zone)


def _unpack_timestamp(count: Stored, unit: Stored, zone: Stored) -> Any:
    import pandas

    naive = pandas.Timestamp(_count("datetime64", count, unit))
    tz = unpack_zone(zone)
    return naive if tz is None else naive.tz_localize("UTC").tz_convert(tz)


def _count(kind: str, count: Stored, unit: Stored) -> Any:
    import numpy

    if unit not in _TIME_UNITS:
        raise ValueError("a pandas time has an unknown unit")
    return getattr(numpy, kind)(int(expect_str(count)), unit)
