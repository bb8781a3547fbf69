"""Seeds (R8): one default of several sessions is inserted once, and their edits of it are all kept."""

from __future__ import annotations

from typing import Any

import pytest

from streamlit_crdt.codec.values import equal
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.errors import ValueNotShareableError
from streamlit_crdt.merge import RULES

FIRST: list[tuple[str, Any]] = [
    ("text", "héllo 👍"), ("list", ["a", ["b"]]), ("map", {"a": {"b": 1}, "c": {}}), ("set", {"a", 1}),
    ("set", ["a", 1]), ("counter", 3), ("counter", 0.5),
]  # fmt: skip
EMPTY: list[tuple[str, Any]] = [
    ("text", ""),
    ("list", []),
    ("map", {}),
    ("set", set()),
    ("set", []),
    ("counter", 0),
]


def sync(replicas: list[Replica]) -> Any:
    """Sync all replicas. Return the value of "k", on which they agree."""
    for replica in replicas:
        for other in replicas:
            replica.apply(other.diff(replica.state_vector()))
    assert all(equal(replica.get("k"), replicas[0].get("k")) for replica in replicas)
    return replicas[0].get("k")


@pytest.mark.parametrize("count", [2, 5])
@pytest.mark.parametrize(("rule", "value"), [*FIRST, *EMPTY])
def test_R8_default_of_several_sessions_is_inserted_once(rule: str, value: Any, count: int) -> None:
    replicas = [Replica() for _ in range(count)]
    for replica in replicas:
        replica.edit("k", None, value, RULES[rule])
    assert equal(sync(replicas), value)


@pytest.mark.parametrize("count", [2, 5])
@pytest.mark.parametrize(("rule", "value"), FIRST)
def test_R8_default_is_inserted_once_after_each_deletion(rule: str, value: Any, count: int) -> None:
    replicas = [Replica() for _ in range(count)]
    for _ in range(3):
        for replica in replicas:
            replica.edit("k", None, value, RULES[rule])
        assert equal(sync(replicas), value)
        assert replicas[0].delete("k")
        assert sync(replicas) is None and "k" not in replicas[1]


def test_R8_concurrent_edits_of_one_default_are_all_kept() -> None:
    edits: list[tuple[str, Any, list[Any], Any]] = [
        ("text", "ab", ["Xab", "abY"], "XabY"), ("list", [1], [[0, 1], [1, 2]], [0, 1, 2]),
        ("map", {"a": 1}, [{"a": 1, "b": 2}, {"c": 3}], {"b": 2, "c": 3}), ("set", {1}, [{1, 2}, {3}], {2, 3}),
        ("counter", 10, [11, 15], 16),
    ]  # fmt: skip
    for rule, default, made, expected in edits:
        replicas = [Replica(), Replica()]
        for replica, after in zip(replicas, made, strict=True):
            replica.edit("k", default, after, RULES[rule])
        assert equal(sync(replicas), expected), rule


def test_R8_concurrent_different_defaults_are_all_kept() -> None:
    created: list[tuple[str, list[Any]]] = [
        ("text", ["abc", "xyz", "é"]), ("list", [[1, 2], [3], [4]]),
        ("set", [{1}, {2}, {1, 3}]), ("counter", [1, 2, 4]),
        ("map", [{"a": 1}, {"b": {"c": 2}}, {"b": {"d": 3}}]),
    ]  # fmt: skip
    for rule, values in created:
        replicas = [Replica() for _ in values]
        for replica, value in zip(replicas, values, strict=True):
            replica.edit("k", None, value, RULES[rule])
        check_all_kept(rule, sync(replicas), values)


def check_all_kept(rule: str, value: Any, parts: list[Any]) -> None:
    if rule == "map":
        assert value == {"a": 1, "b": {"c": 2, "d": 3}}
    elif rule == "set":
        assert value == set().union(*parts)
    elif rule == "counter":
        assert value == sum(parts)
    else:
        assert all(repr(part)[1:-1] in repr(value) for part in parts) and len(value) == sum(map(len, parts))


@pytest.mark.parametrize(("rule", "value"), EMPTY)
def test_empty_value_reaches_other_replicas(rule: str, value: Any) -> None:
    sender, receiver = Replica(), Replica()
    sender.edit("k", None, value, RULES[rule])
    assert receiver.apply(sender.diff()) == {"k"}
    assert equal(receiver.get("k"), value)


def test_R8_edits_pending_on_a_seed_are_not_part_of_it() -> None:
    one, two = Replica(), Replica()
    updates: list[bytes] = []
    one.subscribe(lambda update, origin: updates.append(update))
    for before, after in ((None, ["first"]), (["first"], ["first", 2, 3])):
        one.edit("k", before, after, RULES["list"])
    two.apply(updates[-1])
    two.edit("k", ["first"], [1, "first"], RULES["list"])
    assert sync([one, two]) == [1, "first", 2, 3]


@pytest.mark.parametrize(("rule", "value"), [*FIRST, *EMPTY])
def test_R1_equal_edit_sends_nothing(rule: str, value: Any) -> None:
    replica = Replica()
    assert replica.edit("k", None, value, RULES[rule])
    version, content = replica.version, replica.diff()
    for before in (None, value):
        assert not replica.edit("k", before, value, RULES[rule])
    assert (replica.version, replica.diff()) == (version, content)


@pytest.mark.parametrize("stored", ["nothing", "plain", "merged"])
@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [("list", [1], [1, object()]), ("set", ["a"], ["a", object()]), ("set", {1}, {1, object()}),
     ("map", {"a": 1}, {"a": 2, "b": {"c": [object()]}}), ("map", {"a": 1}, {"a": 2, object(): 1}),
     ("text", "a", object()), ("counter", 1, object())],
)  # fmt: skip
def test_R5_rejected_edit_leaves_the_replica_unchanged(rule: str, good: Any, bad: Any, stored: str) -> None:
    replica = Replica()
    if stored != "nothing":
        replica.edit("k", None, good, RULES[rule] if stored == "merged" else None)
    version, content = replica.version, replica.diff()
    with pytest.raises(ValueNotShareableError, match="'k'"):
        replica.edit("k", good, bad, RULES[rule])
    assert (replica.version, replica.diff()) == (version, content)
    assert equal(replica.get("k"), None if stored == "nothing" else good)


@pytest.mark.parametrize(
    ("rule", "value"), [("list", [object()]), ("set", [object()]), ("map", {"a": object()})]
)
def test_R5_edit_from_an_unshareable_base_is_accepted(rule: str, value: Any) -> None:
    replica = Replica()
    after: Any = {"b": 1} if rule == "map" else ["b"]
    assert replica.edit("k", value, after, RULES[rule])
    assert replica.get("k") == after
