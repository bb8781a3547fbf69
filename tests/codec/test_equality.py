"""Equality of shared values (R1), and deep copies."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any
from zoneinfo import ZoneInfo

import numpy
import pandas
import pytest

from streamlit_crdt.codec.equality import deep_copy, equal


class Color(Enum):
    RED = 1
    GREEN = "g"


class Level(IntEnum):
    LOW = 1


class Word(StrEnum):
    HELLO = "hello"


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (True, 1), (1, 1.0), (0.0, -0.0), (0, False), ("1", 1), ([1], (1,)), ([True], [1]), ({1}, {True}),
        ({1}, {1.0}),
        ({1: "a"}, {True: "a"}), ({1: "a"}, {1.0: "a"}), (b"x", bytearray(b"x")), (set(), frozenset()),
        (Decimal("1.0"), Decimal("1.00")), (Level.LOW, 1), (Word.HELLO, "hello"), (Color.RED, Color.GREEN),
        (datetime(2024, 1, 1, 12, tzinfo=UTC), datetime(2024, 1, 1, 13, tzinfo=timezone(timedelta(hours=1)))),
        (datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=ZoneInfo("UTC"))),
        (datetime(2024, 1, 1), datetime(2024, 1, 1, fold=1)), (datetime(2024, 1, 1), date(2024, 1, 1)),
        (range(0), range(1, 1)), (numpy.float64(1), 1.0), (numpy.int32(1), numpy.int64(1)),
        (numpy.array([1]), numpy.array([1.0])), (numpy.array([1]), numpy.array([[1]])),
        (numpy.array([0.0]), numpy.array([-0.0])),
        (numpy.array([1], dtype=object), numpy.array([True], dtype=object)),
        (pandas.Series([1], name="a"), pandas.Series([1], name="b")),
        (pandas.Series([1]), pandas.Series([1.0])),
        (pandas.DataFrame({"a": [1]}), pandas.DataFrame({"a": [1]}, index=[1])),
        (pandas.DataFrame({"a": [1]}), pandas.DataFrame({"b": [1]})),
        (pandas.DataFrame(), pandas.DataFrame({"a": []})),
        (pandas.Index([1]), pandas.Index([1], name="x")), (pandas.NaT, pandas.NA), (pandas.NaT, None),
        (pandas.Timestamp("2024", tz="UTC"), pandas.Timestamp("2024")),
        (pandas.Timestamp("2024"), datetime(2024, 1, 1)),
        (pandas.Series(["a"]), pandas.Series(["a"], dtype="category")),
    ],
    ids=repr,
)  # fmt: skip
def test_R1_different_type_or_content_is_a_change(left: Any, right: Any) -> None:
    assert not equal(left, right)
    assert not equal(right, left)
    assert not equal([left], [right])
    assert equal(left, left) and equal(right, deep_copy(right))


def test_R1_nan_and_dict_order_are_not_a_change() -> None:
    nan, other_nan = float("nan"), float("nan")
    others = [other_nan, {other_nan}, {other_nan: nan}, complex(nan, 1)]
    assert equal([nan, {nan}, {nan: nan}, complex(nan, 1)], others)
    assert equal({"a": 1, "b": 2}, {"b": 2, "a": 1})
    assert equal(numpy.array([nan]), numpy.array([other_nan]))
    assert equal(pandas.DataFrame({"a": [nan]}), pandas.DataFrame({"a": [nan]}))


def test_R1_enum_of_an_earlier_script_run_is_equal() -> None:
    def run() -> type[Enum]:
        return Enum("Color", {"RED": 1}, module="script", qualname="Color")

    assert equal(run()["RED"], run()["RED"])
    assert equal({run()["RED"]: [run()["RED"]]}, {run()["RED"]: [run()["RED"]]})


def test_R1_comparison_never_raises() -> None:
    class Raises:
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            raise RuntimeError("ambiguous")

    class RaisesHashable:
        def __eq__(self, other: object) -> bool:
            raise RuntimeError("ambiguous")

        def __hash__(self) -> int:
            raise RuntimeError("no")

    assert not equal(Raises(), Raises())
    assert not equal([RaisesHashable()], [RaisesHashable()])
    assert not equal(numpy.array([1, 2]), [1, 2])


def test_deep_copy_does_not_follow_later_changes() -> None:
    value = {"list": [1, [2]], "set": {1}, "tuple": ([1],), "array": numpy.zeros(2), "bytes": bytearray(b"x")}
    frame = pandas.DataFrame({"a": [1]})
    copy, frame_copy = deep_copy(value), deep_copy(frame)
    value["list"][1].append(3)
    value["set"].add(2)
    value["tuple"][0].append(2)
    value["array"][0] = 1
    value["bytes"].append(1)
    frame.loc[0, "a"] = 5
    assert equal(copy["list"], [1, [2]]) and copy["set"] == {1} and copy["tuple"] == ([1],)
    assert equal(copy["array"], numpy.zeros(2)) and copy["bytes"] == b"x"
    assert frame_copy["a"].tolist() == [1]


def test_immutable_value_is_not_copied() -> None:
    for value in ("text", 5, (1, (2, "x")), frozenset({1}), date(2024, 1, 1), Color.RED):
        assert deep_copy(value) is value
