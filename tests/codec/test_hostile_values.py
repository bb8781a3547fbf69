"""Stored values of another client that would take far more memory or time than their size."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy
import pandas
import pyarrow
import pytest

from streamlit_crdt.codec.values import decode, encode, equal
from streamlit_crdt.errors import ValueUnreadableError

_MERSENNE = 2**61 - 1
"""All its multiples have the hash 0."""

_CHILD = """
import resource, sys
import pandas, pyarrow
from streamlit_crdt.codec.values import decode
from streamlit_crdt.errors import ValueUnreadableError
used = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmSize"))
resource.setrlimit(resource.RLIMIT_AS, (used + 256 * 1024**2,) * 2)
for line in sys.stdin:
    try:
        decode({"$dataframe": [bytes.fromhex(line.strip()), None]})
        print("decoded")
    except ValueUnreadableError as error:
        print("rejected" if "malloc" not in error.reason and "MemoryError" not in error.reason else error.reason)
"""


def _stream(array: Any, **options: Any) -> bytes:
    table, sink = pyarrow.table({"a": array}), pyarrow.BufferOutputStream()
    options = pyarrow.ipc.IpcWriteOptions(**options)
    with pyarrow.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def _nested(kind: Callable[[Any], Any], depth: int) -> Any:
    nested = pyarrow.int8()
    for _ in range(depth):
        nested = kind(nested)
    return pyarrow.array([], nested)


def _list_of(items: Any, count: int) -> Any:
    return pyarrow.ListArray.from_arrays(pyarrow.array([0, count], pyarrow.int32()), items)


def _fixed_size_list(items: Any, size: int) -> Any:
    return pyarrow.FixedSizeListArray.from_arrays(items, size)


_EXPANDING: dict[str, Callable[[], bytes]] = {
    "compressed by zstd": lambda: _stream(numpy.zeros(40_000_000, "u1"), compression="zstd"),
    "compressed by lz4": lambda: _stream(numpy.zeros(40_000_000, "u1"), compression="lz4"),
    "compressed dictionary": lambda: _stream(
        pyarrow.array(["x" * 4_000_000]).dictionary_encode(), compression="zstd"
    ),
    "null rows": lambda: _stream(pyarrow.nulls(2**28)),
    "null rows in a struct": lambda: _stream(
        pyarrow.StructArray.from_arrays([pyarrow.nulls(10_000_000)] * 2, names=["a", "b"])
    ),
    "null items": lambda: _stream(_list_of(pyarrow.nulls(2**28), 2**28)),
    "null items of a fixed number": lambda: _stream(_fixed_size_list(pyarrow.nulls(2**28), 2**28)),
    "null categories": lambda: _stream(
        pyarrow.DictionaryArray.from_arrays(pyarrow.array([0], pyarrow.int8()), pyarrow.nulls(2**28))
    ),
    "categories of items": lambda: _stream(
        _list_of(
            pyarrow.DictionaryArray.from_arrays(
                pyarrow.array(numpy.zeros(10_000, "i1")), pyarrow.array(["x" * 1_000_000])
            ),
            10_000,
        )
    ),
    "a run": lambda: _stream(
        pyarrow.RunEndEncodedArray.from_arrays(pyarrow.array([2**28], pyarrow.int32()), pyarrow.array([1]))
    ),
    "lists 100 deep": lambda: _stream(_nested(pyarrow.list_, 100)),
    "structs 100 deep": lambda: _stream(_nested(lambda kind: pyarrow.struct([("a", kind)]), 100)),
    "half of a stream": lambda: _stream(numpy.zeros(100))[:400],
    "metadata of 2 GiB": lambda: b"\xff\xff\xff\xff\xff\xff\xff\x7f" + bytes(16),
    "a negative length": lambda: b"\xff\xff\xff\xff\xfb\xff\xff\xff" + bytes(16),
}


def test_N3_expanding_arrow_streams_are_rejected() -> None:
    streams = [make().hex() for make in _EXPANDING.values()]
    child = subprocess.run(
        [sys.executable, "-c", _CHILD], input="\n".join(streams), capture_output=True, text=True, check=False
    )
    assert child.returncode == 0, child.stderr
    assert dict(zip(_EXPANDING, child.stdout.splitlines(), strict=True)) == dict.fromkeys(
        _EXPANDING, "rejected"
    )


def test_N3_frame_of_too_many_columns_is_rejected() -> None:
    columns = [encode(numpy.zeros(1), key=None)] * 10_001
    index = encode(pandas.RangeIndex(1), key=None)
    with pytest.raises(ValueUnreadableError, match="10000 columns"):
        decode({"$columns": [columns, encode(numpy.zeros(10_001), key=None), index]})
    table = pyarrow.table({str(at): pyarrow.nulls(0) for at in range(10_001)})
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(ValueUnreadableError, match="10000 columns"):
        decode({"$dataframe": [sink.getvalue().to_pybytes(), None]})


@pytest.mark.parametrize(
    "stored",
    [
        {"$set": [{"$int": str(number * _MERSENNE)} for number in range(20_000)]},
        {"$frozenset": [{"$int": str(number * _MERSENNE)} for number in range(20_000)]},
        {"$dict": [[{"$int": str(number * _MERSENNE)}, 1] for number in range(20_000)]},
        {"$ndarray": ["<U0", [2**34], b""]},
        {"$ndarray": ["|S0", [2**34], b""]},
        {"$ndarray": ["i4," * 100_000, [1], b"\0"]},
        {"$ndarray": ["<i8", [0, 2**62], b""]},
        {"$columns": [[{"$numpy": ["<f8", bytes(8)]}], ["a"], {"$ndarray": ["<i8", [9], bytes(72)]}]},
    ],
    ids=["set", "frozenset", "dict", "U0", "S0", "dtype", "empty", "repeated scalar"],
)
def test_N3_values_that_cost_more_than_their_size_are_rejected(stored: Any) -> None:
    with pytest.raises(ValueUnreadableError):
        decode(stored)


@pytest.mark.parametrize("tag", ["float", "decimal", "date", "uuid", "pandas", "datetime", "enum", "ndarray"])
def test_N3_error_of_a_value_does_not_quote_the_whole_value(tag: str) -> None:
    text = "x" * 1_000_000
    payload: Any = {"datetime": [text, 0, None], "enum": [text, text, [text]], "ndarray": [text, [1], b"a"]}
    with pytest.raises(ValueUnreadableError) as caught:
        decode({f"${tag}": payload.get(tag, text)})
    assert len(str(caught.value)) < 1000


def test_collections_of_many_items_still_decode() -> None:
    items = {*range(-1000, 1000), *(number / 7 for number in range(1000)), *map(str, range(1000))}
    for value in (items, dict.fromkeys(items, 1), frozenset(items)):
        assert equal(decode(encode(value, key=None)), value)
