"""`room.records`: ids, moves, live records, concurrent edits, undo, cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from streamlit_crdt import Room, SharedTypeError, ValueNotShareableError, crdt_sync
from streamlit_crdt.merge import RULES
from streamlit_crdt.room.session_membership import DetachedMembership


@pytest.fixture
def room() -> Room:
    """A room without other participants."""
    return crdt_sync(None)


def sync(*rooms: Room) -> None:
    for one in rooms:
        for other in rooms:
            one._membership.replica.apply(other._membership.replica.diff())


def test_records_with_an_id_field_are_found_by_it(room: Room) -> None:
    tasks = room.records("tasks")
    assert tasks.append({"id": 7, "text": "a"}) == 7
    assert tasks.extend([{"id": "x", "text": "b"}, {"id": 2.0, "text": "c"}]) == ["x", 2.0]
    assert tasks.ids() == [7, "x", 2] and len(tasks) == 3
    assert (7 in tasks, 7.0 in tasks, "7" in tasks, None in tasks) == (True, True, False, False)
    tasks["x"]["text"] = "B"
    assert tasks["x"] == {"id": "x", "text": "B"} and tasks.index("x") == 1
    tasks.remove(7)
    del tasks[2]
    assert list(tasks) == [{"id": "x", "text": "B"}] == tasks.copy()
    for access in (
        lambda: tasks[7],
        lambda: tasks.remove(7),
        lambda: tasks.move(7, 0),
        lambda: tasks.index(7),
    ):
        with pytest.raises(KeyError):
            access()
    assert tasks.get(7) is None and tasks.get("x", 1) == tasks.at(-1)


def test_records_without_an_id_field_have_hidden_ids(room: Room) -> None:
    tasks = room.records("tasks")
    first, second = tasks.extend([{"text": "a"}, {"text": "a"}])
    assert first != second and tasks.ids() == [first, second]
    tasks[second]["text"] = "b"
    middle = tasks.insert(1, {"text": "between"})
    tasks.move(first, -1)
    assert [record["text"] for record in tasks] == ["between", "b", "a"]
    assert tasks.ids() == [middle, second, first] == [record_id for record_id, _ in tasks.items()]
    tasks[first] = {"text": "A", "n": [1]}
    tasks[first]["n"].append(2)
    assert tasks[first] == {"text": "A", "n": [1, 2]} and tasks.at(2) == tasks[first]


def test_records_with_one_id_are_both_kept(room: Room) -> None:
    tasks = room.records("tasks")
    tasks.extend([{"id": 1, "n": "first"}, {"id": 1, "n": "second"}])
    assert tasks[1]["n"] == "first" and len(set(map(str, tasks.ids()))) == 2
    second = tasks.ids()[1]
    tasks.remove(1)
    assert tasks[1]["n"] == tasks[second]["n"] == "second" and tasks.ids() == [1]
    tasks[1]["id"] = 5
    assert (1 in tasks, tasks[5]["n"], tasks.ids()) == (False, "second", [5])


@pytest.mark.parametrize("target", range(-6, 6))
@pytest.mark.parametrize("source", range(4))
def test_moved_record_stands_at_the_index(room: Room, source: int, target: int) -> None:
    tasks, plain = room.records("tasks"), [{"id": number} for number in range(4)]
    tasks.extend(plain)
    tasks.move(source, target)
    record = plain.pop(source)
    plain.insert(min(max(target + 4 if target < 0 else target, 0), 3), record)
    assert list(tasks) == plain


def test_concurrent_edits_moves_and_deletions_merge() -> None:
    ada, ben = crdt_sync(None), Room(None, DetachedMembership())
    ada.records("t").extend([{"id": number, "n": 0, "m": 0} for number in range(4)])
    sync(ada, ben)
    ada.records("t")[1]["n"] = "ada"
    ada.records("t").move(3, 0)
    ada.records("t").append({"id": "ada"})
    ben.records("t")[1]["m"] = "ben"
    ben.records("t").remove(0)
    ben.records("t").move(3, 0)
    ben.records("t").append({"id": "ben"})
    sync(ada, ben)
    assert ada.records("t") == ben.records("t")
    assert set(ada.records("t").ids()) == {3, 1, 2, "ada", "ben"} and ada.records("t").ids()[0] == 3
    assert ada.records("t")[1] == {"id": 1, "n": "ada", "m": "ben"}


def test_undo_of_a_deletion_shows_edits_of_others() -> None:
    ada, ben = crdt_sync(None), Room(None, DetachedMembership())
    ada.records("t").append({"id": 1, "n": 0})
    sync(ada, ben)
    ada._membership.replica.begin_group()
    ada.records("t").remove(1)
    ben.records("t")[1]["n"] = 5
    sync(ada, ben)
    assert len(ada.records("t")) == len(ben.records("t")) == 0
    ada.undo()
    sync(ada, ben)
    assert ada.records("t")[1] == ben.records("t")[1] == {"id": 1, "n": 5}


def test_list_and_records_of_one_key_show_the_same_value(room: Room) -> None:
    items, tasks = room.list("k"), room.records("k")
    items.append({"id": 1})
    tasks.append({"id": 2})
    items.insert(1, {"id": 3})
    assert tasks.ids() == [1, 3, 2] and items == [{"id": 1}, {"id": 3}, {"id": 2}]
    items[0] = {"id": 1, "n": 1}
    items[1]["n"] = 2
    assert tasks[1] == {"id": 1, "n": 1} and tasks[3] == {"id": 3, "n": 2}
    assert items.pop() == {"id": 2} and tasks.ids() == [1, 3]
    items.sort(key=lambda item: -item["id"])
    assert tasks.ids() == [3, 1]
    items[0] = {"id": 9}
    assert tasks.ids() == [9, 1] and items.index({"id": 9}) == 0
    items.remove({"id": 9})
    items.clear()
    assert (len(items), len(tasks), room.state["k"]) == (0, 0, [])


def test_records_of_a_list_that_is_stored_as_a_list(room: Room) -> None:
    replica = room._membership.replica
    replica.edit("k", None, [{"n": 1}, {"n": 1}], RULES["list"])
    tasks = room.records("k")
    first, second = tasks.ids()
    tasks[second]["n"] = 2
    assert tasks.ids() == [first, second] and list(tasks) == [{"n": 1}, {"n": 2}]
    assert replica.rule_name("k") == "records"


def test_other_values_are_rejected(room: Room) -> None:
    with pytest.raises(ValueNotShareableError, match="a record is a dict"):
        room.records("t").append(5)  # type: ignore[arg-type]
    room.state["text"] = "x"
    with pytest.raises(SharedTypeError, match=r"room\.records\('text'\)"):
        room.records("text").append({})
    assert "t" not in room.state


OPERATIONS: dict[str, Callable[[Any, Any, int], object]] = {
    "records.append": lambda records, entries, i: records.append({"id": f"new {i}"}),
    "records.remove": lambda records, entries, i: records.remove(i),
    "records.move": lambda records, entries, i: records.move(90 - i, 10),
    "records[id][field]": lambda records, entries, i: records[50].__setitem__("n", f"{i}"),
    "map[key]": lambda records, entries, i: entries.__setitem__(5, {"n": f"{i}"}),
    "map[key][field]": lambda records, entries, i: entries[5].__setitem__("n", f"{i}"),
    "map.pop": lambda records, entries, i: entries.pop(i + 10),
}


def test_operation_costs_what_it_changes() -> None:
    few, many = (_times(count) for count in (200, 3_000))
    slow = {name: (few[name], many[name]) for name in OPERATIONS if many[name] > 3 * few[name] + 0.001}
    assert not slow


def _times(count: int) -> dict[str, float]:
    room = crdt_sync(None)
    replica = room._membership.replica
    replica.edit("r", None, [{"id": number, "n": "0"} for number in range(count)], RULES["records"])
    replica.edit("m", None, {number: {"n": "0"} for number in range(count)}, RULES["map"])
    records, entries = room.records("r"), room.map("m")
    return {name: _median(lambda i: operation(records, entries, i)) for name, operation in OPERATIONS.items()}  # noqa: B023


def _median(operation: Callable[[int], object]) -> float:
    times = []
    for number in range(20):
        started_at = time.process_time()
        operation(number)
        times.append(time.process_time() - started_at)
    return sorted(times)[10]
