"""Names of entries and items: each value has its own, and comes back from it."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlit_crdt.codec.values import MAX_DEPTH, equal
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.merge import RULES
from streamlit_crdt.merge.item_keys import encode, item_key, token

QUICK = settings(max_examples=70, deadline=None, database=None)
NAMES = st.sampled_from(
    ["", "a", "a/b", "/", "~", "~0", "~1", "~2", "~2$", "$", "$1", "$null", '$"a"', "é", "\ud800"]
)
ATOMS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), NAMES, st.text(max_size=3),
    st.binary(max_size=3), st.dates(), st.decimals(allow_nan=False), st.complex_numbers(allow_nan=False),
)  # fmt: skip
KEYS = st.one_of(ATOMS, st.tuples(ATOMS, ATOMS), st.frozensets(ATOMS, max_size=2))
ITEMS = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(KEYS, inner, max_size=3)
    ),
)
DICTS = st.dictionaries(
    KEYS, st.recursive(ITEMS, lambda inner: st.dictionaries(KEYS, inner, max_size=3)), max_size=4
)


def through(rule: str, value: Any) -> Any:
    """Return what another replica reads of `value`."""
    sender, receiver = Replica(), Replica()
    sender.edit("k", None, value, RULES[rule])
    receiver.apply(sender.diff())
    assert equal(receiver.get("k"), sender.get("k"))
    return receiver.get("k")


@QUICK
@given(value=DICTS)
def test_a_dict_of_any_keys_comes_back_from_the_paths_of_its_entries(value: dict[Any, Any]) -> None:
    assert equal(through("map", value), value)


@QUICK
@given(items=st.lists(ITEMS, max_size=5))
def test_a_list_comes_back_as_it_was(items: list[Any]) -> None:
    assert equal(through("list", items), items)


@QUICK
@given(items=st.sets(KEYS, max_size=6))
def test_a_set_comes_back_as_it_was(items: set[Any]) -> None:
    assert equal(through("set", items), items)


@QUICK
@given(value=st.text(st.characters(exclude_categories=["Cs"])))
def test_a_text_comes_back_as_it_was(value: str) -> None:
    assert through("text", value) == value


@QUICK
@given(value=st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_comes_back_as_it_was(value: float) -> None:
    assert equal(through("counter", value), value + 0 if value == 0 else value)


@QUICK
@given(left=ITEMS, right=ITEMS)
def test_two_items_have_one_name_and_one_token_exactly_if_they_are_the_same(left: Any, right: Any) -> None:
    same = equal(encode(left), encode(right))
    assert (item_key(encode(left)) == item_key(encode(right))) == same
    assert (token(encode(left)) == token(encode(right))) == same


@QUICK
@given(item=ITEMS)
def test_an_item_that_pycrdt_has_read_has_the_name_and_token_that_it_went_in_with(item: Any) -> None:
    sender, receiver = Replica(), Replica()
    sender.set("k", [item])
    receiver.apply(sender.diff())
    (read,) = receiver._values.document.get_all()["k"]
    assert (item_key(read), token(read)) == (item_key(encode(item)), token(encode(item)))


ALIKE = [
    1,
    1.0,
    True,
    "1",
    b"1",
    "True",
    "true",
    None,
    "null",
    (1,),
    [1],
    "[1]",
    {"a": 1},
    date(2026, 1, 1),
    0.0,
    -0.0,
]


def test_items_that_python_takes_for_one_another_have_names_of_their_own() -> None:
    assert (
        len({item_key(encode(item)) for item in ALIKE})
        == len({token(encode(item)) for item in ALIKE})
        == len(ALIKE)
    )


@pytest.mark.parametrize("depth", [MAX_DEPTH - 1, MAX_DEPTH])
def test_a_dict_may_be_as_deep_as_any_value(depth: int) -> None:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"in": value, "beside": 1}
    if depth < MAX_DEPTH:
        assert equal(through("map", value), value)
