"""Trees of entries: values of any nesting, incremental reading, and edits that every session computes alike."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from streamlit_crdt.codec.values import decode, deep_copy, encode, equal
from streamlit_crdt.merge.map_rule import MapRule
from streamlit_crdt.merge.records_rule import RecordsRule
from streamlit_crdt.merge.tree.changes import changes
from streamlit_crdt.merge.tree.matching import match
from streamlit_crdt.merge.tree.operations import Author, append_item, write
from streamlit_crdt.merge.tree.tree import Tree
from tests.support.tree_peers import sync, tree_peers

KEYS = ("a", "b", 1, 2.5, "$q", "/", "~i", "")
SCALARS = (1, True, 1.5, 2.0, "a", "$x", None, b"z", (1, 2))


def random_value(random: Random, depth: int = 0) -> Any:
    choice = random.random()
    if depth > 3 or choice < 0.4:
        return random.choice(SCALARS)
    if choice < 0.6:
        return {random.choice(KEYS): random_value(random, depth + 1) for _ in range(random.randrange(4))}
    if choice < 0.9:
        return [random_value(random, depth + 1) for _ in range(random.randrange(4))]
    return {random.choice(("a", "b", "/", 1, 2)) for _ in range(random.randrange(3))}


def changed(random: Random, value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if random.random() < 0.85}
        inner = {key: changed(random, item) if random.random() < 0.4 else item for key, item in kept.items()}
        return inner | ({random.choice(KEYS): random_value(random)} if random.random() < 0.4 else {})
    if isinstance(value, list):
        items = [changed(random, item) if random.random() < 0.3 else item for item in value]
        random.shuffle(items) if random.random() < 0.3 else None
        return items[: random.randrange(len(items) + 1)] + [random_value(random)] * random.randrange(3)
    if isinstance(value, set):
        return value ^ {random.choice(("a", "c", 1))}
    return random_value(random)


@pytest.mark.parametrize("is_list", [True, False], ids=["records", "map"])
def test_random_edits_of_nested_values_are_read_back(is_list: bool) -> None:
    for seed in range(40):
        random = Random(seed)
        value: Any = [random_value(random)] if is_list else {"a": random_value(random)}
        tree, shared = Tree({}, is_list=is_list), dict[str, Any]()
        for number in range(6):
            author = Author(random.choice([None, 1, 2]), is_seed=number == 0)
            write(shared, tree, changes(tree, tree, encode(value, key=None), author))  # type: ignore[arg-type]
            assert equal(decode(tree.value()), value), seed
            assert shared == tree.content, seed
            assert equal(decode(Tree(shared, is_list=is_list).value()), value), seed
            edited = changed(random, value)
            value = edited if isinstance(edited, type(value)) else value


def test_R9_equal_computed_edits_of_two_sessions_are_one() -> None:
    peers = tree_peers(3, RecordsRule(), [{"t": "a", "tags": []}])
    after = [{"t": "b", "tags": ["x"]}, {"t": "a", "tags": ["y"]}, {"t": "b", "tags": []}]
    for peer in peers:
        peer.edit(deep_copy(after), is_by_person=False)
    sync(peers)
    assert all(equal(peer.value(), after) for peer in peers)


def test_R9_equal_additions_of_two_people_are_two() -> None:
    peers = tree_peers(2, MapRule(), {"chat": [{"t": "hi"}]})
    for peer in peers:
        peer.edit({"chat": [{"t": "hi"}, {"t": "hi"}]})
    sync(peers)
    assert [peer.value() for peer in peers] == [{"chat": [{"t": "hi"}] * 3}] * 2


def test_stale_edit_changes_the_item_that_its_author_saw() -> None:
    ada, ben = peers = tree_peers(2, RecordsRule(), [{"n": 1, "x": 0}, {"n": 2, "x": 0}])
    ben.edit([{"n": 2, "x": 0}, {"n": 1, "x": 7}])
    ada.receive(ben)
    ada.edit([{"n": 1, "x": 0}, {"n": 9, "x": 9}])
    sync(peers)
    assert ada.value() == ben.value() == [{"n": 9, "x": 9}, {"n": 1, "x": 7}]


def test_undone_deletion_shows_the_edits_of_others_again() -> None:
    ada, ben = peers = tree_peers(2, RecordsRule(), [{"n": 1, "x": [1]}, {"n": 2, "x": []}])
    ada.edit([{"n": 2, "x": []}])
    ben.edit([{"n": 1, "x": [1, 5]}, {"n": 2, "x": []}])
    sync(peers)
    assert ada.value() == [{"n": 2, "x": []}]
    ada.undo.undo()
    sync(peers)
    assert ada.value() == ben.value() == [{"n": 1, "x": [1, 5]}, {"n": 2, "x": []}]


def test_long_list_keeps_one_entry_for_each_item_that_nobody_edited() -> None:
    rows = [{"id": number, **dict.fromkeys("abcdef", 0)} for number in range(500)]
    (peer,) = tree_peers(1, RecordsRule(), rows)
    rows[7]["a"] = 1
    peer.edit(deep_copy(rows))
    assert len(peer.content()) == 501
    peer.edit(sorted(deep_copy(rows), key=lambda row: (row["id"] == 3, row["id"])))
    assert len(peer.content()) == 502, "a sort moves as few items as possible"


def test_append_does_not_read_the_other_items() -> None:
    tree = Tree({}, is_list=True)
    write({}, tree, changes(tree, tree, [{"n": number} for number in range(50)], Author(None, is_seed=True)))  # type: ignore[arg-type]
    made = list(append_item(tree.root_place(), {"n": 50}, Author(1)))
    tree.apply(made)
    assert len(made) == 1 and tree.value()[-1] == {"n": 50}


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ([{"id": 1}, {"id": 2}], [{"id": 2, "x": 1}, {"id": 1}], [1, 0]),
        ([{"id": 1, "t": 1}], [{"id": 7, "t": 1}], [0]),
        ([{"id": 1, "t": 1}], [{"id": 7, "t": 2}], [None]),
        ([{"id": 1, "t": 1}, {"id": 1, "t": 2}], [{"id": 1, "t": 2}, {"id": 1, "t": 3}], [1, 0]),
        ([{"t": 1, "d": 0}, {"t": 2, "d": 0}], [{"t": 2, "d": 0}, {"t": 1, "d": 1}], [1, 0]),
        ([{"t": 1, "d": 0}], [{"t": 9, "d": 0}, {"t": 1, "d": 1}], [0, None]),
        ([{"t": 1}, {"t": 1}, {"t": 1}], [{"t": 1}, {"t": 1}], [0, 1]),
        ([{"t": 1}], [{"u": 1}], [None]),
        (["a", "b"], ["b", "c"], [1, None]),
        ([[0, 0], [0, 0]], [[0, 0], [0, 1]], [0, 1]),
    ],
)
def test_items_of_a_rebuilt_list_are_matched(
    old: list[Any], new: list[Any], wanted: list[int | None]
) -> None:
    assert match(old, new, "id") == wanted
