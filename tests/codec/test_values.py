"""Lossless encoding of values: alone, through pycrdt, and through Yjs in Node."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from collections import OrderedDict, namedtuple
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy
import pandas
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from pycrdt import Doc, Map

from streamlit_crdt.codec import arrays, scalars
from streamlit_crdt.codec.live_values import plain
from streamlit_crdt.codec.values import (
    MAX_DEPTH,
    MAX_VALUE_BYTES,
    MAX_VALUE_ELEMENTS,
    decode,
    deep_copy,
    encode,
    equal,
)
from streamlit_crdt.errors import CrdtError, ValueNotShareableError, ValueUnreadableError
from streamlit_crdt_server.room import message_validation

BERLIN = ZoneInfo("Europe/Berlin")
# Many short runs instead of a long one: hypothesis stores every example of a run and slows down.
SOAK_SEEDS = range(20)
SOAK = settings(max_examples=1_000, deadline=None, database=None)
THROUGH_YJS = Path(__file__).parents[1] / "support" / "through_yjs.mjs"


class Color(Enum):
    RED = 1
    GREEN = "g"


class Level(IntEnum):
    LOW = 1


class Word(StrEnum):
    HELLO = "hello"


class Access(Flag):
    READ = 1
    WRITE = 2
    RUN = 4


class NamelessZone(tzinfo):
    def utcoffset(self, when: datetime | None) -> timedelta:
        return timedelta(0)


class Outer:
    class Inner(Enum):
        A = 1


Point = namedtuple("Point", "x y")
# fmt: off
PLAIN = [
    None, True, False, 0, 1, -1, 2**31, 2**53 - 1, 2**53, 2**53 + 1, -(2**53), 2**60, 2**63, -(10**40),
    0.0, -0.0, 1.0, 1.5, 0.1, 1e300, 5e-324, 2.0**53, float("nan"), float("inf"), float("-inf"),
    "", "text", "a👍b", "e\u0301", "\U0001f468\u200d\U0001f469", "\ud800", "nul\0", "$int",
    b"", b"\0\xff", bytearray(b"x"), 1 + 2j, complex("nan-0j"), range(1, 10, 3), range(10**30),
]
NESTED = [
    [], [1, [2.0, [None]]], (), (1, (2.0,)), ([1], {"a": (1,)}), set(), {1, 2.5, "a", (1, 2)},
    frozenset({1, "1"}),
    {}, {"a": 1}, {"b": 1, "a": 2}, {1: "int", "1": "str"}, {(1, 2): {3}}, {True: 0}, {None: 1}, {1.0: 2},
    {"$int": "5"}, {"$tuple": [1]}, {"$dict": []}, {"$x": 1, "y": 2}, {"__proto__": 1}, {"\ud800": 1},
    {"": 0},
    {"10": 1, "9": 2}, {"constructor": {"toString": 1}},
]
SCALARS = [
    date(2024, 2, 29), date.min, time(1, 2, 3, 4), time(1, 2, tzinfo=BERLIN), time(1, tzinfo=UTC, fold=1),
    datetime(2024, 1, 2, 3, 4, 5, 6), datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN),
    datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=1), datetime(2024, 1, 1, tzinfo=UTC),
    datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=5, minutes=30), "IST")),
    datetime(2024, 1, 1, tzinfo=timezone(timedelta(microseconds=-5))),
    timedelta(days=-1, microseconds=5), timedelta.max, timedelta.min,
    Decimal("1.00"), Decimal("-0"), Decimal("1E+30"), Decimal("NaN"), Decimal("sNaN"), Decimal("-Infinity"),
    UUID(int=5), Color.RED, Color.GREEN, Level.LOW, Word.HELLO, Access.READ, Access.READ | Access.RUN,
    Access(0),
    Outer.Inner.A,
]
ARRAYS = [
    numpy.float64(1.0), numpy.float64("nan"), numpy.float32(0.1), numpy.int8(-3), numpy.uint64(2**64 - 1),
    numpy.bool_(True), numpy.str_("a👍"), numpy.str_(""), numpy.bytes_(b"x"), numpy.complex64(1j),
    numpy.datetime64("2024-01-01"), numpy.datetime64("NaT"), numpy.datetime64(5, "25s"),
    numpy.timedelta64(3, "h"),
    numpy.arange(6).reshape(2, 3), numpy.asfortranarray(numpy.arange(6.0).reshape(2, 3)), numpy.zeros((0, 3)),
    numpy.array(5), numpy.array(["a", "bcd"]), numpy.array([b"x"]), numpy.array([1, 2], dtype=">i4"),
    numpy.array(["2024"], dtype="M8[D]"), numpy.array(["a", None, 1.0, 1], dtype=object),
    numpy.array([], dtype=object), numpy.array([-0.0, float("nan")]),
]
FRAMES = [
    pandas.NaT, pandas.NA, pandas.Timestamp("2024-01-01"), pandas.Timestamp("2024-01-01").as_unit("s"),
    pandas.Timestamp("2024-01-01 12:00:00.123456789", tz="Europe/Berlin"),
    pandas.Timestamp("2024-10-27 01:30", tz="UTC").tz_convert("Europe/Berlin"),  # fold=1
    pandas.Timestamp("2024-01-01T00:00+02:00"),
    pandas.Timedelta(5, "ns"), pandas.Timedelta(days=3),
    pandas.DataFrame({"a": [1, 2], "b": ["x", "y"], "c": [1.5, None]}), pandas.DataFrame(),
    pandas.DataFrame([[1, 2], [3, 4]]), pandas.DataFrame(index=[1, 2]), pandas.DataFrame(index=range(3)),
    pandas.DataFrame([[1, 2]], columns=["a", "a"]), pandas.DataFrame([[1, 2]], columns=["a", 1]),

    pandas.DataFrame([[1, 2]], columns=pandas.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["x", None])),

    pandas.DataFrame({"v": [1, 2]}, index=pandas.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["x", None])),
    pandas.DataFrame({"v": [1, 2]}, index=pandas.date_range("2024", periods=2, tz="Europe/Berlin")),
    pandas.DataFrame({"v": pandas.Categorical(["a"], categories=["b", "a"], ordered=True)}),
    pandas.DataFrame({"a": pandas.Series(["x", None, 1, [2]], dtype=object)}),

    pandas.DataFrame({"a": pandas.array([1, None], dtype="Int64"), "b": pandas.array([True, None], dtype="boolean")}),
    pandas.DataFrame({"a": [date(2024, 1, 1)], "b": [Decimal("1.50")], "c": [b"x"], "d": [1 + 2j]}),

    pandas.DataFrame({"a": pandas.to_timedelta([1], unit="s"), "b": pandas.period_range("2024", periods=1, freq="M")}),
    pandas.Series([1, 2], name="x"), pandas.Series([1, 2]), pandas.Series([1.0], name=("a", 1)),
    pandas.Series(["a", None], index=["x", "x"], dtype=object, name=3), pandas.Series([], dtype=object),
    pandas.Series([1.0], index=pandas.Index([1], name="0")), pandas.Series(["a", None]),
    pandas.Index(["a", "b"], name="n"), pandas.RangeIndex(3), pandas.date_range("2024", periods=3, freq="D"),
    pandas.MultiIndex.from_tuples([("a", 1)]), pandas.Index(["a", 1, None], dtype=object),
    pandas.CategoricalIndex(["a"]), pandas.interval_range(0, 2),
]
# fmt: on
SAMPLES = [*PLAIN, *NESTED, *SCALARS, *ARRAYS, *FRAMES]


def assert_same(back: Any, value: Any) -> None:
    back = plain(back)
    assert type(back) is type(value)
    assert equal(back, value), f"{back!r} is not {value!r}"


def test_sample_roundtrips() -> None:
    for value in SAMPLES:
        assert_same(decode(encode(value, key="k")), value)
        assert_same(decode(encode([value], key="k"))[0], value)


def test_ambiguous_hour_keeps_its_fold() -> None:
    second = pandas.Timestamp("2024-10-27 01:30", tz="UTC").tz_convert("Europe/Berlin")
    for value in (second, datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=1)):
        back = decode(encode(value, key="k"))
        assert back.fold == value.fold == 1
        assert back.utcoffset() == timedelta(hours=1)


def test_sample_roundtrips_through_pycrdt() -> None:
    sender, receiver = Doc(), Doc()
    stored = sender.get("state", type=Map)
    for number, value in enumerate(SAMPLES):
        stored[str(number)] = encode(value, key="k")
    receiver.apply_update(sender.get_update())
    received = receiver.get("state", type=Map)
    for number, value in enumerate(SAMPLES):
        assert_same(decode(received[str(number)]), value)


def test_sample_roundtrips_through_yjs() -> None:
    sender, receiver = Doc(), Doc()
    stored = sender.get("state", type=Map)
    for number, value in enumerate(SAMPLES):
        stored[str(number)] = encode(value, key="k")
    receiver.apply_update(_through_yjs(sender.get_update()))
    received = receiver.get("state", type=Map)
    for number, value in enumerate(SAMPLES):
        assert_same(decode(received[str(number)]), value)


def _through_yjs(update: bytes) -> bytes:
    """Return an update of a second Y.Doc, into which Node copies every value of the first."""
    node = shutil.which("node")
    if node is None or not (THROUGH_YJS.parents[2] / "node_modules" / "yjs").is_dir():
        pytest.fail("Node and Yjs are needed: install Node 20 or newer and run  npm ci  in the project")
    answer = subprocess.run(
        [node, THROUGH_YJS], input=base64.b64encode(update), capture_output=True, check=True, timeout=60
    )
    return base64.b64decode(answer.stdout)


_ATOMS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(exclude_categories=())),
    st.binary(),
    st.complex_numbers(),
    st.dates(),
    st.times(timezones=st.none() | st.just(UTC)),
    st.datetimes(timezones=st.none() | st.timezones() | st.just(UTC)),
    st.timedeltas(),
    st.decimals().filter(lambda number: not number.is_snan()),  # cannot be hashed
    st.uuids(),
    st.sampled_from([*Color, *Access, Word.HELLO]),
)
_HASHABLE = st.recursive(
    _ATOMS, lambda inner: st.tuples(inner) | st.frozensets(inner, max_size=3), max_leaves=4
)
_VALUES = st.recursive(
    _HASHABLE,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=5) | st.just("$int") | _HASHABLE, inner, max_size=4)
        | st.sets(_HASHABLE, max_size=4)
        | st.tuples(inner, inner)
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(_VALUES)
def test_random_value_roundtrips_and_copies(value: Any) -> None:
    assert_roundtrips(value)


@pytest.mark.soak
@pytest.mark.parametrize("number", SOAK_SEEDS)
def test_random_value_roundtrips_and_copies_soak(number: int) -> None:
    seed(number)(SOAK(given(_VALUES)(assert_roundtrips)))()


def assert_roundtrips(value: Any) -> None:
    document = Doc()
    stored = document.get("state", type=Map)
    stored["k"] = encode(value, key="k")
    copy = Doc()
    copy.apply_update(document.get_update())
    assert_same(decode(copy.get("state", type=Map)["k"]), value)
    assert_same(deep_copy(value), value)


_TAGS = sorted(
    {codec.tag for codec in scalars.CODECS.values()}
    | arrays.TAGS
    | {"tuple", "set", "frozenset", "dict", "enum", "nonsense"}
)
_RANDOM_TREES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8) | st.binary(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
        | st.builds(lambda tag, payload: {f"${tag}": payload}, st.sampled_from(_TAGS), inner)
    ),
    max_leaves=10,
)


@settings(max_examples=500, deadline=None)
@given(_RANDOM_TREES)
def test_random_tree_decodes_or_raises_unreadable(stored: Any) -> None:
    assert_decodes_or_raises_unreadable(stored)


@pytest.mark.soak
@pytest.mark.parametrize("number", SOAK_SEEDS)
def test_random_tree_decodes_or_raises_unreadable_soak(number: int) -> None:
    seed(number)(SOAK(given(_RANDOM_TREES)(assert_decodes_or_raises_unreadable)))()


def assert_decodes_or_raises_unreadable(stored: Any) -> None:
    try:
        decode(stored)
    except ValueUnreadableError as error:
        assert str(error)


def test_corrupt_arrow_payload_decodes_or_raises_unreadable() -> None:
    payload = encode(pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]}), key="k")["$dataframe"][0]
    for at in range(0, len(payload), 3):
        damaged = payload[:at] + bytes([payload[at] ^ 0xFF]) + payload[at + 1 :]
        try:
            decode({"$dataframe": [damaged, None]})
        except ValueUnreadableError:
            continue


@pytest.mark.parametrize(
    "value",
    [
        object(), object, len, lambda: None, iter([]), Point(1, 2), OrderedDict(a=1), memoryview(b"x"),
        type("Text", (str,), {})("x"), type("Number", (int,), {})(1), type("Day", (date,), {})(2024, 1, 1),
        [1, {"deep": {object()}}], {"deep": (1, object())}, 10**5000,
        numpy.zeros(2, dtype=[("a", "i4")]), numpy.array([object()], dtype=object),
        numpy.ma.masked_array([1]),
        pandas.Series([object()]), pandas.DataFrame({"a": pandas.arrays.SparseArray([0, 1])}),
        pandas.Period("2024", "M"), type("Frame", (pandas.DataFrame,), {})({"a": [1]}),
        datetime(2024, 1, 1, tzinfo=NamelessZone()),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_R5_unsupported_value_is_rejected_with_key_and_type(value: Any) -> None:
    with pytest.raises(ValueNotShareableError) as caught:
        encode(value, key="filter")
    assert caught.value.key == "filter"
    assert caught.value.type_name in str(caught.value)
    assert "'filter'" in str(caught.value)
    assert isinstance(caught.value, TypeError) and isinstance(caught.value, CrdtError)


def test_R5_time_zone_without_key_is_rejected() -> None:
    paths = [root / "Europe/Berlin" for root in _zone_roots()]
    with next(path for path in paths if path.exists()).open("rb") as source:
        nameless = ZoneInfo.from_file(source)
    with pytest.raises(ValueNotShareableError):
        encode(datetime(2024, 1, 1, tzinfo=nameless), key="when")


def _zone_roots() -> list[Path]:
    import importlib.util
    import zoneinfo

    package = importlib.util.find_spec("tzdata")
    bundled = [Path(str(package.origin)).parent / "zoneinfo"] if package is not None else []
    return [*map(Path, zoneinfo.TZPATH), *bundled]


def test_R5_local_enum_class_is_rejected() -> None:
    class Local(Enum):
        A = 1

    with pytest.raises(ValueNotShareableError, match="top level"):
        encode(Local.A, key="k")


def test_R5_self_referencing_value_is_rejected() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ValueNotShareableError, match="contains itself"):
        encode(loop, key="k")
    assert not equal(loop, [[]])
    copy = deep_copy(loop)
    assert copy[0] is copy


def test_depth_and_size_are_limited() -> None:
    deep: Any = 1
    for _ in range(MAX_DEPTH):
        deep = [deep]
    assert_same(decode(encode(deep, key="k")), deep)
    tuples: Any = 1
    for _ in range(MAX_DEPTH // 2):
        tuples = {2: (tuples,)}
    assert_same(decode(encode(tuples, key="k")), tuples)
    with pytest.raises(ValueNotShareableError, match="64 levels"):
        encode([deep], key="k")
    texts = {"a": "é" * 2**22}
    for large in (b"x" * (MAX_VALUE_BYTES + 1), ["x" * 1000] * 9000, numpy.zeros(2**20 + 1), texts):
        with pytest.raises(ValueNotShareableError, match="larger than"):
            encode(large, key="k")


@pytest.mark.parametrize("value", [[None] * (MAX_VALUE_ELEMENTS + 1), [1.0] * (MAX_VALUE_ELEMENTS // 2 + 1)])
def test_R5_value_with_too_many_elements_is_rejected(value: list[object]) -> None:
    """The second one has a tag for each element."""
    assert MAX_VALUE_ELEMENTS == message_validation.MAX_VALUE_ELEMENTS
    with pytest.raises(ValueNotShareableError, match="more than 1000000 elements"):
        encode(value, key="k")


@pytest.mark.parametrize(
    "stored",
    [
        {"$nonsense": 1}, {"$int": "x"}, {"$int": 5}, {"$float": []}, {"$tuple": "ab"}, {"$set": [[1]]},
        {"$dict": [[[], 1]]}, {"$dict": [[1]]}, {"$date": "yesterday"},
        {"$datetime": ["2024-01-01", 0, "../x"]},
        {"$datetime": ["2024-01-01", 0, "No/Where"]}, {"$datetime": ["2024-01-01", 0, "Europe"]},
        {"$enum": ["antigravity", "X", ["Y"]]}, {"$enum": ["os", "path", ["join"]]},
        {"$enum": [__name__, "Color", ["BLUE"]]}, {"$enum": [__name__, "Color", ["RED", "GREEN"]]},
        {"$numpy": ["O", b"12345678"]}, {"$numpy": ["<i8", b"1"]}, {"$ndarray": ["<i8", [10**12], b"x"]},
        {"$ndarray": ["|O", [1], b"12345678"]}, {"$ndarray": ["<i8", [-1, -1], b"12345678"]},
        {"$objects": [[2], [1]]}, {"$dataframe": [b"junk", None]}, {"$series": [b"", None, None]},
        {"$timestamp": ["1", "Y", None]}, {"$pandas": "x"}, {1}, {1: 2}, {"$int": None},
        {"$columns": [[], 1]}, {"$labels": []}, {"$uuid": "x"}, {"$decimal": "x"},
        {"$range": ["0", "1", "0"]},
    ],
    ids=str,
)  # fmt: skip
def test_malformed_tree_raises_unreadable(stored: Any) -> None:
    with pytest.raises(ValueUnreadableError):
        decode(stored)


def test_decoding_an_enum_imports_nothing() -> None:
    with pytest.raises(ValueUnreadableError):
        decode({"$enum": ["antigravity", "X", ["Y"]]})
    assert "antigravity" not in sys.modules


def test_deeply_nested_tree_raises_unreadable() -> None:
    deep: Any = 1
    for _ in range(500):
        deep = [deep]
    with pytest.raises(ValueUnreadableError, match="deep"):
        decode(deep)


def test_plain_value_is_stored_without_tags() -> None:
    value = {"a": [1, 2.5, "x", None, True], "b": {"c": b"x"}}
    assert encode(value, key="k") == value
    assert json.dumps(encode({"n": [1, "2"]}, key="k")) == '{"n": [1, "2"]}'


def test_dict_keeps_its_key_order() -> None:
    for order in (["b", "a"], ["a", "b"], ["10", "9"], ["z", "1"], [2, 1]):
        assert list(decode(encode(dict.fromkeys(order), key="k"))) == order


def test_integral_number_of_another_program_is_an_int() -> None:
    assert_same(decode([1.0, -0.0, 2.5]), [1, 0, 2.5])
