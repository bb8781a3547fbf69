"""Convergence of merged values on an unreliable network without lost edits. A failure names the seed."""

from __future__ import annotations

from itertools import permutations
from random import Random
from typing import Any

import pytest

from streamlit_crdt.codec.values import equal
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.merge import RULES
from tests.support.fuzz import Peer
from tests.support.merge_sessions import DEFAULTS, EditRecord, flatten, run_merge_sessions

SEEDS = range(40)
SOAK_SEEDS = range(40, 1_040)
SEEDS_PER_TEST = 10
SESSIONS = 5
EDITS = 120


@pytest.mark.parametrize("first_seed", SEEDS[::SEEDS_PER_TEST])
def test_R2_R3_no_edit_is_lost_on_an_unreliable_network(first_seed: int) -> None:
    for seed in range(first_seed, first_seed + SEEDS_PER_TEST):
        check_convergence(seed)


@pytest.mark.soak
@pytest.mark.parametrize("first_seed", SOAK_SEEDS[::SEEDS_PER_TEST])
def test_R2_R3_no_edit_is_lost_on_an_unreliable_network_soak(first_seed: int) -> None:
    for seed in range(first_seed, first_seed + SEEDS_PER_TEST):
        check_convergence(seed)


def check_convergence(seed: int) -> None:
    peers, made = run_merge_sessions(SESSIONS, EDITS, Random(seed))
    values = [{rule: peer.replica.get(f"k-{rule}") for rule in DEFAULTS} for peer in peers]
    for value in values[1:]:
        assert equal(value, values[0]), f"seed {seed}: sessions differ"
    check_parts(values[0], made, f"seed {seed}")
    check_equal_edits_send_nothing(peers, f"seed {seed}")


def check_parts(values: dict[str, Any], made: EditRecord, hint: str) -> None:
    text = values["text"]
    assert made.remaining("text") <= set(text), f"{hint}: text {text!r}"
    assert all(text.count(own) <= 1 for own in made.added["text"]), f"{hint}: twice in {text!r}"
    assert sorted(set(values["list"]) - {"first"}) == sorted(made.remaining("list")), hint
    assert len(values["list"]) == len(set(values["list"])), f"{hint}: twice in {values['list']}"
    ids = [item["id"] for item in values["records"] if item["id"]]
    assert sorted(ids) == sorted(made.remaining("records")), hint
    assert values["set"] - {"first"} == made.remaining("set"), hint
    assert {path for path, _ in flatten(values["map"])} - {("a", "b")} == made.remaining("map"), hint
    assert values["counter"] == made.total, hint


def check_equal_edits_send_nothing(peers: list[Peer], hint: str) -> None:
    """Check that an edit to the current value sends nothing (R1)."""
    for peer in peers:
        version = peer.replica.version
        for rule in DEFAULTS:
            value = peer.replica.get(f"k-{rule}")
            assert not peer.replica.edit(f"k-{rule}", value, value, RULES[rule]), hint
        assert peer.replica.version == version, hint


def three(*ids: int) -> tuple[Replica, Replica, Replica]:
    one, two, three = (Replica(replica_id=number) for number in ids)
    return one, two, three


@pytest.mark.parametrize("ids", list(permutations([11, 22, 33])))
@pytest.mark.parametrize("kind", [set, list])
def test_set_addition_wins_over_concurrent_removal(ids: Any, kind: Any) -> None:
    one, two, other = three(*ids)
    rule = RULES["set"]
    one.edit("k", None, kind(["z"]), rule)
    two.apply(one.diff())
    one.edit("k", kind(["z"]), kind(["z", "x"]), rule)
    two.edit("k", kind(["z"]), kind(["z", "x"]), rule)
    other.apply(one.diff())
    other.edit("k", kind(["z", "x"]), kind(["z"]), rule)
    for replica in (one, two, other):
        for peer in (one, two, other):
            replica.apply(peer.diff())
        assert set(replica.get("k")) == {"z", "x"} and len(replica.get("k")) == 2


@pytest.mark.parametrize("ids", list(permutations([11, 22, 33])))
def test_readded_set_item_survives_removal_of_its_old_entry(ids: Any) -> None:
    one, two, other = three(*ids)
    rule = RULES["set"]
    one.edit("k", None, {"x"}, rule)
    two.apply(one.diff())
    other.apply(one.diff())
    for replica in (one, other):
        replica.edit("k", {"x"}, set(), rule)
    one.edit("k", set(), {"x"}, rule)
    two.edit("k", {"x"}, {"x", "y"}, rule)
    other.apply(two.diff())
    other.apply(one.diff())
    assert other.get("k") == {"x", "y"}
    other.edit("k", {"x", "y"}, {"y"}, rule)
    one.apply(other.diff())
    assert one.get("k") == {"y"}, "a removal that follows the addition takes effect"


@pytest.mark.parametrize("ids", list(permutations([11, 22])))
def test_map_entries_win_over_a_concurrent_leaf_for_good(ids: Any) -> None:
    one, two = (Replica(replica_id=number) for number in ids)
    rule = RULES["map"]
    one.edit("k", None, {"z": 0}, rule)
    two.apply(one.diff())
    one.edit("k", {"z": 0}, {"z": 0, "a": 5}, rule)
    two.edit("k", {"z": 0}, {"z": 0, "a": {"x": {"y": 1}}}, rule)
    one.apply(two.diff())
    two.apply(one.diff())
    assert one.get("k") == two.get("k") == {"z": 0, "a": {"x": {"y": 1}}}
    two.edit("k", two.get("k"), {"z": 0}, rule)
    assert two.get("k") == {"z": 0}


def test_concurrent_map_entries_are_all_kept() -> None:
    one, two = Replica(), Replica()
    rule = RULES["map"]
    one.edit("k", None, {"a": {}}, rule)
    two.apply(one.diff())
    one.edit("k", {"a": {}}, {"a": {"x": 1}}, rule)
    two.edit("k", {"a": {}}, {"a": {"y": {"z": 2}}}, rule)
    two.apply(one.diff())
    assert two.get("k") == {"a": {"x": 1, "y": {"z": 2}}}


def test_float_counter_adds_fractions_and_stays_a_float() -> None:
    one, two = Replica(), Replica()
    rule = RULES["counter"]
    one.edit("k", None, 0.5, rule)
    two.apply(one.diff())
    one.edit("k", 0.5, 0.75, rule)
    two.edit("k", 0.5, 1.5, rule)
    two.apply(one.diff())
    assert repr(two.get("k")) == "1.75"
    two.edit("k", 1.75, 2.0, rule)
    assert repr(two.get("k")) == "2.0"


def test_too_large_counter_is_stored_as_a_whole() -> None:
    replica = Replica()
    rule = RULES["counter"]
    for value in (5, 10**400, 10**400 + 1, float("inf"), 1.5, float("nan"), 2):
        replica.edit("k", replica.get("k"), value, rule)
        assert equal(replica.get("k"), value)
