"""Operations of a replica on one key: content, foreign items, undo, merging, cost."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from pycrdt import Array, Doc, Map, Text

from streamlit_crdt.document.replica import Replica
from streamlit_crdt.errors import SharedTypeError, ValueNotShareableError
from streamlit_crdt.merge import RULES

LIST, TEXT, SET, COUNTER = (RULES[name] for name in ("list", "text", "set", "counter"))
ALPHABET = "aé👍\n"


def reread(replica: Replica) -> dict[str, Any]:
    """Return the values that a new replica reads."""
    other = Replica()
    other.apply(replica.diff())
    return {key: other.get(key) for key in other.keys()}  # noqa: SIM118


def merge(*replicas: Replica) -> None:
    for one in replicas:
        for other in replicas:
            one.apply(other.diff())


def list_step(choose: random.Random, editor: Any, plain: list[Any]) -> None:
    value = choose.choice([1, 1.0, "x", {"a": [choose.random()]}, b"b", None])
    at = choose.randint(-2, len(plain) + 1)
    if choose.random() < 0.6 or not plain:
        editor.insert(at, [value, 2])
        plain[at:at] = [value, 2]
    elif choose.random() < 0.5:
        at = choose.randrange(len(plain))
        editor.set_item(at, value)
        plain[at] = value
    else:
        places = range(len(plain))[choose.randrange(len(plain)) :: choose.choice([1, 2])]
        editor.delete(places)
        for place in reversed(places):
            del plain[place]


@pytest.mark.parametrize("seed", range(3))
def test_R1_list_operations_equal_those_of_a_list(seed: int) -> None:
    choose, replica, plain = random.Random(seed), Replica(), [0]
    replica.edit("k", None, [0], LIST)
    for _ in range(40):
        replica.operate("k", LIST, [], lambda editor: list_step(choose, editor, plain))
        assert replica.get("k", []) == plain
        assert replica.inspect("k", LIST, [], lambda editor: (len(editor), list(editor.items()))) == (
            len(plain),
            plain,
        )
    assert reread(replica).get("k", []) == plain


@pytest.mark.parametrize("seed", range(3))
def test_text_operations_count_characters(seed: int) -> None:
    choose, replica, plain = random.Random(seed), Replica(), ""
    for _ in range(40):
        first, last = sorted(choose.randint(0, len(plain)) for _ in range(2))
        text = "".join(choose.choices(ALPHABET, k=3))
        replica.operate("k", TEXT, "", lambda editor: editor.insert(first, text))  # noqa: B023
        plain = plain[:first] + text + plain[first:]
        replica.operate("k", TEXT, "", lambda editor: editor.delete(first, last))  # noqa: B023
        plain = plain[:first] + plain[last:]
        assert replica.get("k") == plain
    assert reread(replica)["k"] == plain


@pytest.mark.parametrize("seed", range(3))
def test_set_operations_merge_with_those_of_others(seed: int) -> None:
    choose, replicas = random.Random(seed), [Replica(), Replica()]
    for _ in range(30):
        replica, item = choose.choice(replicas), choose.choice([1, "1", (1,), "x"])
        method = choose.choice(["add", "add", "discard"])
        before = replica.get("k", set())
        replica.operate("k", SET, set(), lambda editor: getattr(editor, method)(item))  # noqa: B023
        assert replica.get("k", set()) == (before | {item} if method == "add" else before - {item})
        if choose.random() < 0.3:
            merge(*replicas)
    merge(*replicas)
    assert replicas[0].get("k") == replicas[1].get("k") == reread(replicas[0])["k"]


def with_foreign_items() -> Replica:
    doc: Doc[Any] = Doc()
    items = doc.get("list:k", type=Array)
    for value in ("a", Doc(), "b", Doc()):
        items.append(value)
    doc.get("state", type=Map)["k"] = {"$rule": ["list", "list"]}
    replica = Replica()
    replica.apply(doc.get_update())
    return replica


def test_N2_list_operations_skip_items_without_a_value() -> None:
    replica = with_foreign_items()
    for operation in (
        lambda editor: editor.insert(1, ["between"]),
        lambda editor: editor.set_item(2, "B"),
        lambda editor: editor.insert(9, ["last"]),
        lambda editor: editor.delete(range(1)),
    ):
        replica.operate("k", LIST, [], operation)
    assert replica.get("k") == reread(replica)["k"] == ["between", "B", "last"]
    doc: Doc[Any] = Doc()
    doc.apply_update(replica.diff())
    assert len(doc.get("list:k", type=Array)) == 5


def test_N2_list_operations_delete_texts_of_other_programs() -> None:
    doc: Doc[Any] = Doc()
    doc.get("list:k", type=Text).insert(0, "é")
    doc.get("list:k", type=Array).append(1)
    doc.get("state", type=Map)["k"] = {"$rule": ["list", "list"]}
    replica = Replica()
    replica.apply(doc.get_update())
    replica.operate("k", LIST, [], lambda editor: editor.insert(1, [2]))
    assert replica.get("k") == reread(replica)["k"] == [1, 2]


def test_text_operations_keep_embedded_objects() -> None:
    doc: Doc[Any] = Doc()
    text = doc.get("text:k", type=Text)
    text.insert(0, "éb")
    text.insert_embed(2, {"image": "x"})
    doc.get("state", type=Map)["k"] = {"$rule": ["text", "str"]}
    replica = Replica()
    replica.apply(doc.get_update())
    replica.operate("k", TEXT, "", lambda editor: editor.insert(2, "!"))
    replica.operate("k", TEXT, "", lambda editor: editor.delete(1, 2))
    doc.apply_update(replica.diff())
    assert [part for part, _ in text.diff()] == ["é", {"image": "x"}, "!"]
    assert replica.get("k") == "é!"


def test_R1_operation_without_a_change_sends_nothing() -> None:
    replica, updates = Replica(), list[bytes]()
    replica.operate("l", LIST, [], lambda editor: editor.insert(0, [1]))
    replica.operate("s", SET, set(), lambda editor: editor.add(1))
    replica.subscribe(lambda update, origin: updates.append(update))
    replica.operate("l", LIST, [], lambda editor: editor.set_item(0, 1))
    replica.operate("s", SET, set(), lambda editor: editor.add(1))
    replica.operate("s", SET, set(), lambda editor: editor.discard(2))
    replica.operate("n", COUNTER, 0, lambda editor: editor.add(0))
    replica.operate("absent", LIST, [], lambda editor: editor.delete(range(0)))
    assert (updates, "absent" in replica, "n" in replica) == ([], False, False)


def test_R5_rejected_operation_changes_nothing() -> None:
    replica = Replica()
    replica.operate("l", LIST, [], lambda editor: editor.insert(0, [1]))
    before = replica.diff()
    with pytest.raises(ValueNotShareableError, match="'l'"):
        replica.operate("l", LIST, [], lambda editor: editor.insert(0, [2, object()]))
    with pytest.raises(SharedTypeError):
        replica.operate("l", COUNTER, 0, lambda editor: editor.add(1))
    assert replica.diff() == before and replica.get("l") == [1]


def test_operations_are_undone_and_redone() -> None:
    replica = Replica()
    replica.operate("l", LIST, [], lambda editor: editor.insert(0, [1, 2]))
    replica.begin_group()
    replica.operate("l", LIST, [], lambda editor: editor.insert(1, ["x"]))
    replica.edit("l", [1, "x", 2], [1, "x", 2, 3], LIST)
    replica.operate("l", LIST, [], lambda editor: editor.delete(range(1)))
    assert replica.get("l") == ["x", 2, 3]
    assert replica.undo() == {"l"} and replica.get("l") == [1, 2]
    assert replica.redo() == {"l"} and replica.get("l") == ["x", 2, 3]
    replica.operate("l", LIST, [], lambda editor: editor.insert(3, [4]))
    assert replica.get("l") == reread(replica)["l"] == ["x", 2, 3, 4]


def test_operations_and_edits_in_one_transaction_follow_each_other() -> None:
    replica = Replica()
    with replica.transaction():
        replica.operate("l", LIST, [], lambda editor: editor.insert(0, [1]))
        replica.operate("l", LIST, [], lambda editor: editor.insert(1, [2]))
        replica.edit("l", [1, 2], [1, 2, 3], LIST)
        replica.operate("l", LIST, [], lambda editor: editor.insert(3, [4]))
        replica.delete("l")
        replica.operate("l", LIST, [], lambda editor: editor.insert(0, [5]))
    assert replica.get("l") == reread(replica)["l"] == [5]


def test_taken_values_do_not_change_with_later_operations() -> None:
    replica = Replica()
    replica.operate("l", LIST, [], lambda editor: editor.insert(0, [1]))
    taken = replica.stored()["l"]
    replica.operate("l", LIST, [], lambda editor: editor.insert(0, [0]))
    assert taken.value() == [1]


def repeated(base: Any, rule: Any, present: Any, operation: Callable[[Any], object]) -> Any:
    """Return the value if an unsaved operation on `base` is repeated in a room that has `present` by now."""
    author, room = Replica(), Replica()
    author.edit("k", None, base, rule)
    room.edit("k", None, present, rule)
    author.take_edits()
    author.operate("k", rule, base, operation)
    author.restart(room.diff(), author.take_edits)
    return author.get("k")


def test_S5_unsaved_operations_are_repeated_at_equal_items() -> None:
    base, present = [1, 2, 3], [0, 1, 2, 9, 3]
    assert repeated(base, LIST, present, lambda e: e.insert(2, ["x"])) == [0, 1, 2, "x", 9, 3]
    assert repeated(base, LIST, present, lambda e: e.insert(3, ["x"])) == [*present, "x"]
    assert repeated(base, LIST, present, lambda e: e.delete(range(1, 3))) == [0, 1, 9]
    assert repeated(base, LIST, present, lambda e: e.set_item(2, "x")) == [0, 1, 2, 9, "x"]
    assert repeated(base, LIST, [5], lambda e: e.delete(range(1))) == [5]
    assert repeated("one two", TEXT, "and one two!", lambda e: e.insert(3, "-")) == "and one- two!"
    assert repeated("one two", TEXT, "and one two!", lambda e: e.delete(4, 7)) == "and one !"
    assert repeated("one", TEXT, "one!", lambda e: e.insert(3, "x")) == "one!x"
    assert repeated({1}, SET, {1, 2}, lambda e: (e.add(3), e.discard(1))) == {2, 3}
    assert repeated(4, COUNTER, 7, lambda e: e.add(2)) == 9
    assert repeated(4, COUNTER, 7, lambda e: (e.reset(), e.add(1))) == 1


def counting(*numbers: float) -> Replica:
    replica = Replica()
    for number in numbers:
        replica.operate("n", COUNTER, 0, lambda editor: editor.add(number))  # noqa: B023
    return replica


def reset(replica: Replica) -> None:
    replica.operate("n", COUNTER, 0, lambda editor: editor.reset())


def test_R9_counter_reset_twice_at_once_is_reset_once() -> None:
    ada, ben, eve = counting(3, -1), counting(0.5, -2), counting(4)
    merge(ada, ben, eve)
    reset(ada)
    reset(ben)
    eve.operate("n", COUNTER, 0, lambda editor: editor.add(7))
    merge(ada, ben, eve)
    assert [one.get("n") for one in (ada, ben, eve)] == [7, 7, 7]
    reset(eve)
    merge(ada, ben, eve)
    assert ada.get("n") == 0


def test_counter_resets_of_different_sums_take_off_the_larger() -> None:
    for first, second in ((1, 2), (2, 1)):
        ada, ben = Replica(replica_id=first), Replica(replica_id=second)
        ada.operate("n", COUNTER, 0, lambda editor: editor.add(5))
        merge(ada, ben)
        ada.operate("n", COUNTER, 0, lambda editor: editor.add(1))
        reset(ada)
        reset(ben)
        merge(ada, ben)
        assert (ada.get("n"), ben.get("n")) == (0, 0)


def test_counter_reset_is_undone() -> None:
    ada, ben = counting(5), Replica()
    merge(ada, ben)
    ben.begin_group()
    reset(ben)
    merge(ada, ben)
    ada.operate("n", COUNTER, 0, lambda editor: editor.add(2))
    merge(ada, ben)
    assert ada.get("n") == 2
    ben.undo()
    merge(ada, ben)
    assert (ada.get("n"), ben.get("n")) == (7, 7)


def test_counter_undo_of_what_was_reset_changes_nothing() -> None:
    ada, ben = counting(5), Replica()
    ada.begin_group()
    ada.operate("n", COUNTER, 0, lambda editor: editor.add(1))
    merge(ada, ben)
    reset(ben)
    merge(ada, ben)
    ada.undo()
    merge(ada, ben)
    assert (ada.get("n"), ben.get("n")) == (0, 0)


OPERATIONS: dict[str, tuple[Any, Callable[[int], Any], Callable[[Any, int], object]]] = {
    "append": (LIST, lambda n: list(range(n)), lambda e, i: e.insert(len(e), [{"n": i}])),
    "insert": (LIST, lambda n: list(range(n)), lambda e, i: e.insert(len(e) // 2, [i])),
    "delete": (LIST, lambda n: list(range(n)), lambda e, i: e.delete(range(len(e) // 2, len(e) // 2 + 1))),
    "replace": (LIST, lambda n: list(range(n)), lambda e, i: e.set_item(len(e) // 2, f"new {i}")),
    "add": (SET, lambda n: {f"item {i}" for i in range(n)}, lambda e, i: e.add(f"new {i}")),
    "discard": (SET, lambda n: {f"item {i}" for i in range(n)}, lambda e, i: e.discard(f"item {i}")),
    "write": (TEXT, lambda n: "é" * n, lambda e, i: e.insert(len(e.content) // 2, "x")),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_costs_what_it_changes(name: str) -> None:
    rule, content, operation = OPERATIONS[name]
    few, many = (_seconds(rule, content(count), operation) for count in (200, 4_000))
    assert many < 3 * few + 0.0005, (few, many)  # 0.5 ms for a slow machine; the whole list takes 100 ms


def _seconds(rule: Any, content: Any, operation: Callable[[Any, int], object]) -> float:
    replica = Replica()
    replica.edit("k", None, content, rule)
    times = []
    for number in range(30):
        started_at = time.process_time()
        replica.operate("k", rule, rule.value(rule.empty, ""), lambda editor: operation(editor, number))  # noqa: B023
        times.append(time.process_time() - started_at)
    return sorted(times[5:])[5]
