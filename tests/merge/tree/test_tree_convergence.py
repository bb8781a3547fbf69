"""Random edits of records by several people: convergence, and no lost or doubled item. A failure names the seed."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Final

import pytest

from streamlit_crdt.codec.values import deep_copy, equal
from streamlit_crdt.merge.map_rule import MapRule
from streamlit_crdt.merge.records_rule import RecordsRule
from tests.support.tree_peers import TreePeer, exchange, sync, tree_peers

SEEDS = range(40)
SOAK_SEEDS = range(40, 3_000)
EDITS = 25


class Model:
    """Acts of all people: the items that each added or deleted, and the values that each wrote."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.count = 0
        self.added: set[str] = {"first"}
        self.deleted: set[str] = set()
        self.ticks: dict[str, set[Any]] = {}
        self.tags: dict[str, set[int]] = {}
        self.removed_tags: set[int] = set()

    def new_number(self) -> int:
        self.count += 1
        return self.count


def add(model: Model, items: list[Any]) -> None:
    for _ in range(model.random.randrange(1, 3)):
        name = f"t{model.new_number()}"
        model.added.add(name)
        items.insert(model.random.randrange(len(items) + 1), {"name": name, "done": None, "tags": []})


def delete(model: Model, items: list[Any]) -> None:
    if items:
        item = items.pop(model.random.randrange(len(items)))
        model.deleted.add(item["name"])


def tick(model: Model, items: list[Any]) -> None:
    if items:
        item = model.random.choice(items)
        item["done"] = model.new_number()
        model.ticks.setdefault(item["name"], set()).add(item["done"])


def tag(model: Model, items: list[Any]) -> None:
    if items:
        item = model.random.choice(items)
        number = model.new_number()
        item["tags"].insert(model.random.randrange(len(item["tags"]) + 1), number)
        model.tags.setdefault(item["name"], set()).add(number)


def untag(model: Model, items: list[Any]) -> None:
    tagged = [item for item in items if item["tags"]]
    if tagged:
        tags = model.random.choice(tagged)["tags"]
        model.removed_tags.add(tags.pop(model.random.randrange(len(tags))))


def move(model: Model, items: list[Any]) -> None:
    if items:
        items.insert(model.random.randrange(len(items)), items.pop(model.random.randrange(len(items))))


def sort(model: Model, items: list[Any]) -> None:
    items.sort(key=lambda item: item["name"], reverse=model.random.random() < 0.5)


ACTS: Final[tuple[Callable[[Model, list[Any]], None], ...]] = (
    add,
    add,
    delete,
    tick,
    tick,
    tag,
    untag,
    move,
    sort,
)


def run(seed: int) -> tuple[list[TreePeer], Model]:
    random = Random(seed)
    model = Model(random)
    peers = tree_peers(
        random.randrange(2, 5),
        RecordsRule(random.choice(["name", "id"])),
        [{"name": "first", "done": None, "tags": []}],
    )
    for _ in range(EDITS):
        peer = random.choice(peers)
        if random.random() < 0.5:
            peer.read()
        after = deep_copy(peer.seen)
        random.choice(ACTS)(model, after)
        peer.edit(after)
        if random.random() < 0.3:
            exchange(peers, random)
    sync(peers)
    return peers, model


def check(seed: int) -> None:
    peers, model = run(seed)
    values = [peer.value() for peer in peers]
    hint = f"seed {seed}"
    assert all(equal(value, values[0]) for value in values), hint
    names = [item["name"] for item in values[0]]
    assert sorted(names) == sorted(model.added - model.deleted), hint
    for item in values[0]:
        written = model.ticks.get(item["name"], set())
        assert item["done"] in (written or {None}), hint
        wanted = model.tags.get(item["name"], set()) - model.removed_tags
        assert sorted(item["tags"]) == sorted(wanted), hint
    for peer in peers:
        peer.read()
        before = peer.content()
        peer.edit(deep_copy(peer.seen))
        assert peer.content() == before, f"{hint}: an equal edit changes the document"


@pytest.mark.parametrize("first", SEEDS[::20])
def test_people_converge_without_lost_or_doubled_items(first: int) -> None:
    for seed in range(first, first + 20):
        check(seed)


@pytest.mark.soak
@pytest.mark.parametrize("first", SOAK_SEEDS[::20])
def test_people_converge_without_lost_or_doubled_items_soak(first: int) -> None:
    for seed in range(first, first + 20):
        check(seed)


def run_board(seed: int) -> tuple[list[TreePeer], set[str], set[str]]:
    """Add, move and delete cards of a board with three columns. Return the peers and the added and deleted cards."""
    random = Random(f"board {seed}")
    added, deleted = {"first"}, set[str]()
    peers = tree_peers(random.randrange(2, 5), MapRule(), {"a": [{"name": "first"}], "b": [], "c": []})
    for number in range(EDITS):
        peer = random.choice(peers)
        if random.random() < 0.5:
            peer.read()
        board = deep_copy(peer.seen)
        column, other = (board[name] for name in random.sample("abc", 2))
        if random.random() < 0.25 or not column:
            added.add(f"card {number}")
            other.append({"name": f"card {number}"})
        elif random.random() < 0.15:
            deleted.add(column.pop(random.randrange(len(column)))["name"])
        else:
            other.insert(random.randrange(len(other) + 1), column.pop(random.randrange(len(column))))
        peer.edit(board)
        if random.random() < 0.3:
            exchange(peers, random)
    sync(peers)
    return peers, added, deleted


@pytest.mark.parametrize("first", SEEDS[::20])
def test_moved_cards_of_a_board_are_in_one_column(first: int) -> None:
    for seed in range(first, first + 20):
        peers, added, deleted = run_board(seed)
        values = [peer.value() for peer in peers]
        assert all(equal(value, values[0]) for value in values), f"seed {seed}"
        names = [card["name"] for column in values[0].values() for card in column]
        assert len(names) == len(set(names)), f"seed {seed}: {values[0]}"
        assert added - deleted <= set(names) <= added, f"seed {seed}"
