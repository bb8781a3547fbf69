"""Fingerprints: they never take a changed value for the former one, and recognize an unchanged one (R1)."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from random import Random
from typing import Any

import numpy
import pandas
import pytest

from streamlit_crdt.codec.equality import equal
from streamlit_crdt.codec.fingerprint import fingerprint

LEAVES: tuple[Any, ...] = (
    0, 1, True, False, 1.0, 0.0, -0.0, float("nan"), None, "1", "", b"1", bytearray(b"1"), 2**70,
    numpy.int64(0), numpy.float64(0), numpy.zeros(1), numpy.zeros(1, "i8"), b"\0" * 8,
)  # fmt: skip
"""Leaves that are equal in Python, or have the same bytes, and are different values."""


def tree(random: Random, depth: int = 0) -> Any:
    kind = random.randrange(3 if depth < 3 else 1)
    if kind == 0:
        return random.choice(LEAVES)
    items = [tree(random, depth + 1) for _ in range(random.randrange(4))]
    return items if kind == 1 else {str(number): item for number, item in enumerate(items)}


def replace_leaf(value: Any, random: Random) -> None:
    """Replace one part of a list or dict in place."""
    while isinstance(value, list | dict) and value:
        place: Any = random.choice(list(value) if isinstance(value, dict) else range(len(value)))
        if not (isinstance(value[place], list | dict) and value[place]) or random.random() < 0.2:
            value[place] = random.choice(LEAVES)
            return
        value = value[place]


def test_R1_fingerprint_matches_no_changed_value() -> None:
    random, found = Random(1), 0
    for _ in range(3_000):
        value = [tree(random), tree(random)]
        known = fingerprint(value)
        former = deepcopy(value)
        if known is None:
            continue
        found += 1
        assert known.matches(former)
        replace_leaf(value, random)
        assert not known.matches(value) or equal(value, former)
    assert found > 300


@pytest.mark.parametrize("value", [[b"\0" * 8], {"a": numpy.int64(0)}, [object()], {1, b"x"}, 5, "text"])
def test_R1_value_with_bytes_or_objects_has_no_fingerprint(value: Any) -> None:
    assert fingerprint(value) is None


def set_cell(frame: Any) -> None:
    frame.loc[1, "a"] = 7.5


FRAMES: dict[str, tuple[Callable[[], Any], Callable[[Any], None]]] = {
    "number in a frame": (lambda: pandas.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]}), set_cell),
    "text in a frame": (
        lambda: pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]}),
        lambda frame: frame.loc.__setitem__((0, "b"), "z"),
    ),
    "object in a frame": (
        lambda: pandas.DataFrame({"b": pandas.Series(["x", 1, None], dtype=object)}),
        lambda frame: frame.loc.__setitem__((0, "b"), True),
    ),
    "column name": (lambda: pandas.DataFrame({"a": [1]}), lambda frame: setattr(frame, "columns", ["b"])),
    "new column": (lambda: pandas.DataFrame({"a": [1]}), lambda frame: frame.insert(0, "n", [0])),
    "index": (lambda: pandas.DataFrame({"a": [1]}), lambda frame: setattr(frame, "index", [5])),
    "series": (lambda: pandas.Series([1, 2]), lambda series: series.__setitem__(0, 3)),
    "category": (
        lambda: pandas.Series(["a", "b"], dtype="category"),
        lambda series: series.__setitem__(0, "b"),
    ),
    "array": (lambda: numpy.zeros(5), lambda array: array.__setitem__(2, -0.0)),
    "array of objects": (lambda: numpy.array([1, "a"], dtype=object), lambda array: array.__setitem__(0, True)),
    "strided array": (lambda: numpy.zeros((4, 4))[::2, ::-1], lambda array: array.__setitem__((1, 3), 1)),
    "complex array": (lambda: numpy.zeros(3, "c16"), lambda array: array.__setitem__(1, 1j)),
    "big-endian array": (lambda: numpy.zeros(3, ">i4"), lambda array: array.__setitem__(1, 1)),
    "times": (lambda: numpy.zeros(3, "M8[s]"), lambda array: array.__setitem__(1, 1)),
    "texts": (lambda: numpy.array(["a", "b"]), lambda array: array.__setitem__(1, "c")),
    "shape": (lambda: numpy.zeros(6), lambda array: setattr(array, "shape", (2, 3))),
    "empty array": (lambda: numpy.zeros((0, 3)), lambda array: setattr(array, "shape", (3, 0))),
}  # fmt: skip


@pytest.mark.parametrize("name", FRAMES)
def test_R1_change_of_an_array_in_place_is_noticed(name: str) -> None:
    make, change = FRAMES[name]
    value = make()
    known = fingerprint(value)
    assert known is not None and known.matches(value) and known.matches(make())
    change(value)
    assert not known.matches(value)
