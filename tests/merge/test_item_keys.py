"""Item keys, tokens and paths: each value has its own and is decoded from it."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycrdt import Doc, Map

from streamlit_crdt.codec.values import MAX_DEPTH, equal
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.merge import RULES
from streamlit_crdt.merge.item_keys import encode, item_key, token
from streamlit_crdt.merge.tree.names import canonical_key

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


def roundtrip(rule: str, value: Any) -> Any:
    """Return the value that another replica reads after a sync."""
    sender, receiver = Replica(), Replica()
    sender.edit("k", None, value, RULES[rule])
    receiver.apply(sender.diff())
    assert equal(receiver.get("k"), sender.get("k"))
    return receiver.get("k")


@QUICK
@given(value=DICTS)
def test_dict_with_any_keys_roundtrips_through_paths(value: dict[Any, Any]) -> None:
    assert equal(roundtrip("map", value), with_canonical_keys(value))


def with_canonical_keys(value: Any) -> Any:
    """Return a dict of dicts with the int for each key that equals one, such as True and 1.0."""
    if type(value) is not dict:
        return value
    return {canonical_key(key): with_canonical_keys(item) for key, item in value.items()}


@pytest.mark.parametrize("keys", list(combinations([1, 1.0, True, Decimal(1), 1 + 0j], 2)))
def test_keys_that_are_equal_in_python_are_one_key(keys: tuple[Any, Any]) -> None:
    one, two = Replica(), Replica()
    for replica, key in zip((one, two), keys, strict=True):
        replica.edit("m", {}, {key: str(key), (key, "x"): 1}, RULES["map"])
        replica.edit("s", set(), {key}, RULES["set"])
    one.apply(two.diff())
    two.apply(one.diff())
    assert one.get("m") == two.get("m") and len(one.get("m")) == 2
    one.edit("m", one.get("m"), {keys[0]: "again"}, RULES["map"])
    assert equal(one.get("m"), {1: "again"})
    one.edit("m", one.get("m"), {}, RULES["map"])
    one.edit("s", one.get("s"), set(), RULES["set"])
    two.apply(one.diff())
    assert two.get("m") == {} and two.get("s") == set()


def test_equal_keys_in_an_older_document_are_one_key() -> None:
    document: Doc[Any] = Doc()
    document.get("map:m", type=Map).update({"$1": "old", '${"$float":"1.0"}': "older", "$true/a": 1})
    document.get("set:s", type=Map).update({"5:1": 1, '6:{"$float":"1.0"}': {"$float": "1.0"}})
    replica = Replica()
    replica.apply(document.get_update())
    assert replica.get("m") == {1: {"a": 1}} and replica.get("s") == {1}
    replica.edit("m", replica.get("m"), {True: "new"}, RULES["map"])
    replica.edit("s", replica.get("s"), set(), RULES["set"])
    assert equal(replica.get("m"), {1: "new"}) and replica.get("s") == set()
    replica.edit("m", replica.get("m"), {}, RULES["map"])
    assert replica.get("m") == {}


@QUICK
@given(items=st.lists(ITEMS, max_size=5))
def test_list_roundtrips(items: list[Any]) -> None:
    assert equal(roundtrip("list", items), items)


@QUICK
@given(items=st.sets(KEYS, max_size=6))
def test_set_roundtrips(items: set[Any]) -> None:
    assert equal(roundtrip("set", items), items)


@QUICK
@given(value=st.text(st.characters(exclude_categories=["Cs"])))
def test_text_roundtrips(value: str) -> None:
    assert roundtrip("text", value) == value


@QUICK
@given(value=st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_number_roundtrips(value: float) -> None:
    assert equal(roundtrip("counter", value), value + 0 if value == 0 else value)


@QUICK
@given(left=ITEMS, right=ITEMS)
def test_key_and_token_are_equal_exactly_for_equal_items(left: Any, right: Any) -> None:
    are_equal = equal(encode(left), encode(right))
    assert (item_key(encode(left)) == item_key(encode(right))) == are_equal
    assert (token(encode(left)) == token(encode(right))) == are_equal


@QUICK
@given(item=ITEMS)
def test_key_and_token_survive_pycrdt(item: Any) -> None:
    sender, receiver = Replica(), Replica()
    sender.set("k", [item])
    receiver.apply(sender.diff())
    (read,) = receiver.stored()["k"]
    assert (item_key(read), token(read)) == (item_key(encode(item)), token(encode(item)))


SIMILAR_ITEMS = [
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


def test_similar_items_have_distinct_keys_and_tokens() -> None:
    assert (
        len({item_key(encode(item)) for item in SIMILAR_ITEMS})
        == len({token(encode(item)) for item in SIMILAR_ITEMS})
        == len(SIMILAR_ITEMS)
    )


@pytest.mark.parametrize("depth", [MAX_DEPTH - 1, MAX_DEPTH])
def test_dict_may_have_the_maximum_depth(depth: int) -> None:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"in": value, "beside": 1}
    if depth < MAX_DEPTH:
        assert equal(roundtrip("map", value), value)
