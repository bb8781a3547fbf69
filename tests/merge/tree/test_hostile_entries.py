"""Entries of a tree that another program wrote: reading and editing them costs what they contain, and loses no edit."""

from __future__ import annotations

from time import process_time
from typing import Any

import pytest
from pycrdt import Doc, Map

from streamlit_crdt.document.replica import Replica
from streamlit_crdt.errors import ValueUnreadableError
from streamlit_crdt.merge import RULES
from streamlit_crdt.merge.tree.tree import Tree
from tests.support.call_count import count_calls


def replica_of(rule: str, entries: dict[str, Any]) -> Replica:
    document: Doc[Any] = Doc(client_id=77)
    document.get("state", type=Map)["k"] = {"$rule": [rule, "list"]}
    document.get(f"{rule}:k", type=Map).update(entries)
    replica = Replica()
    replica.apply(document.get_update())
    return replica


def growth(rule: str, make: Any, after: Any) -> float:
    """Return how much more an edit costs with eight times the entries."""
    costs = []
    for count in (50, 400):
        replica = replica_of(rule, make(count))
        before = replica.get("k")

        def edit(replica: Replica = replica, before: Any = before) -> object:
            return replica.edit("k", before, after, RULES[rule])

        costs.append(count_calls(edit))
        assert replica.get("k") == after
    return costs[1] / costs[0]


def test_N2_many_names_of_one_key_cost_linear_time() -> None:
    def seconds(count: int) -> float:
        entries = {"$1" + " " * (1000 + each): each for each in range(count)}
        started = process_time()
        assert Tree(entries, is_list=False).value() == {"$dict": [[1, 0]]}
        return process_time() - started

    times = [(seconds(125), seconds(1000)) for _ in range(3)]
    assert min(many for _, many in times) < 32 * min(few for few, _ in times)


def test_N2_many_removed_members_cost_linear_time() -> None:
    members = {"s": {"$set": []}}
    assert growth("map", lambda n: members | {f"s/~s{each}:": each for each in range(n)}, {"s": {1}}) < 16


def test_N2_path_of_half_a_million_parts_costs_little() -> None:
    def read() -> None:
        with pytest.raises(ValueUnreadableError):
            replica.get("k")

    replica = replica_of("map", {"a/" * 500_000: 1})
    assert count_calls(read) < 1_000


@pytest.mark.parametrize("entry", ["a", "a/b", "~sX:1", ""])
def test_N2_records_with_foreign_fields_stay_a_list(entry: str) -> None:
    replica = replica_of("records", {entry: 1, "~iX": ["a0", {"what": "bread"}]})
    before = replica.get("k")
    assert before == [{"what": "bread"}]
    for after in ([*before, {"what": "wine"}], [], [{"what": "salt"}]):
        replica.edit("k", replica.get("k"), after, RULES["records"])
        assert replica.get("k") == after


def test_emptied_dict_stays_a_dict_beside_a_concurrent_list() -> None:
    replica = replica_of("map", {"a": [], "a/~iX": ["a0", 1], "a/b": 1})
    assert replica.get("k") == {"a": {"b": 1}}
    replica.edit("k", {"a": {"b": 1}}, {"a": {}}, RULES["map"])
    assert replica.get("k") == {"a": {}}
