"""Tests of reading only what has changed: its result is that of a full reading, whatever the updates are."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from pycrdt import Map

from streamlit_crdt.document.replica import Replica
from streamlit_crdt.document.root_types import RootTypes
from streamlit_crdt.document.shared_content import SharedContent
from streamlit_crdt.errors import CrdtError
from streamlit_crdt.merge import RULES
from tests.support.call_count import count_calls
from tests.support.hostile_documents import CONTENTS, Struct, encode, in_container, random_documents
from tests.support.hostile_trials import comparable_values

KEYS = ("a", "b", "k", "l")
STEPS = 40


def fully_read(replica: Replica) -> dict[str, Any]:
    """Return all values of a replica by a reading of its whole document."""
    document = replica._document
    roots = RootTypes(
        document._doc, document._doc.get("state", type=Map), SharedContent(document._doc, document._depths)
    )
    return comparable_values(roots.read_all())


def check(replica: Replica, hint: str) -> None:
    assert comparable_values(replica.stored()) == fully_read(replica), hint


def edit_list(items: list[Any], random: Random) -> list[Any]:
    at = random.randrange(len(items) + 1)
    new = [random.choice((1, "x", {"a": 1}, [2], None, b"b", 1.5)) for _ in range(random.randrange(3))]
    return [*items[:at], *new, *items[at + random.randrange(3) :]]


def edit_map(entries: dict[Any, Any], random: Random) -> dict[Any, Any]:
    changed = {**entries, random.choice("abc"): random.choice((1, {"x": random.random()}, [1], "t"))}
    changed.pop(random.choice("abcd"), None)
    return changed


EDITS: dict[str, tuple[Any, Callable[[Any, Random], Any]]] = {
    "list": ([], edit_list),
    "map": ({}, edit_map),
    "records": ([], lambda items, random: [{"n": random.randrange(9)}, *items[random.randrange(2) :]]),
    "set": (set(), lambda items, random: set(map(str, items)) ^ {random.choice("1234")}),
    "counter": (0, lambda value, random: value + random.randrange(-2, 3)),
    "text": (
        "",
        lambda text, random: text[: random.randrange(9)] + random.choice(("ab", "é", "😀", "")) + text[4:],
    ),
}


def operate(replica: Replica, random: Random) -> None:
    """Make one random operation of an editor."""
    key, number = random.choice(KEYS), random.randrange(4)
    operations: dict[str, Callable[[Any], object]] = {
        "list": lambda editor: (
            editor.insert(number, [random.choice((1, "x", {"a": 1}))])
            if random.random() < 0.6
            else editor.delete(range(min(1, len(editor))))
        ),
        "map": lambda editor: editor.set_field(random.choice("abc"), random.choice((1, {"x": 2}, [3]))),
        "set": lambda editor: random.choice((editor.add, editor.discard))(str(number)),
        "counter": lambda editor: editor.add(number),
        "text": lambda editor: editor.insert(0, random.choice(("ab", "é😀"))),
    }
    name = random.choice(list(operations))
    with suppress(CrdtError):
        replica.operate(key, RULES[name], EDITS[name][0], operations[name])


def edit(replica: Replica, random: Random) -> None:
    """Make one random edit, with a rule that may differ from the one that stores the key."""
    key, name = random.choice(KEYS), random.choice([*EDITS, "value", "delete", "undo", "redo", "group"])
    with suppress(CrdtError):
        if name == "value":
            replica.set(key, random.choice((1, "x", [1, {"b": 2}], {"a": 1})))
        elif name == "delete":
            replica.delete(key)
        elif name == "group":
            replica.begin_group()
        elif name in ("undo", "redo"):
            replica.undo() if name == "undo" else replica.redo()
        else:
            rule, (empty, change) = RULES[name], EDITS[name]
            value = replica.get(key, empty)
            before = value if rule.accepts(value) else empty
            replica.edit(key, before, change(before, random), rule)


def edit_several(replica: Replica, random: Random) -> None:
    with replica.transaction():
        for _ in range(random.randrange(1, 4)):
            random.choice((edit_in_transaction, operate))(replica, random)


def edit_in_transaction(replica: Replica, random: Random) -> None:
    key, name = random.choice(KEYS), random.choice(list(EDITS))
    empty, change = EDITS[name]
    with suppress(CrdtError):
        value = replica.get(key, empty)
        before = value if RULES[name].accepts(value) else empty
        replica.edit(key, before, change(before, random), RULES[name])
        replica.get(key)


def exchange(random: Random, inboxes: list[list[bytes]], replicas: list[Replica]) -> None:
    """Deliver some updates, in any order and sometimes twice."""
    number = random.randrange(len(replicas))
    inbox = inboxes[number]
    for _ in range(random.randrange(len(inbox) + 1)):
        update = inbox[random.randrange(len(inbox))] if random.random() < 0.3 else inbox.pop(0)
        with suppress(CrdtError):
            replicas[number].apply(update)
        if not inbox:
            break


def run(seed: int, *, hostile: bool) -> None:
    random = Random(seed)
    replicas = [Replica(replica_id=10 + number) for number in range(3)]
    inboxes: list[list[bytes]] = [[], [], []]

    def send(sender: int) -> Callable[[bytes, str], None]:
        def receive(update: bytes, origin: str) -> None:
            if origin == "local":
                for number in {0, 1, 2} - {sender}:
                    inboxes[number].append(update)

        return receive

    for number, replica in enumerate(replicas):
        replica.subscribe(send(number))
    foreign = [update for each in random_documents(seed, 0, 2) for update in each.updates] if hostile else []
    for step in range(STEPS):
        number = random.randrange(3)
        match random.choice(("edit", "operate", "several", "exchange", "exchange", "whole", "hostile")):
            case "operate":
                operate(replicas[number], random)
            case "edit":
                edit(replicas[number], random)
            case "several":
                edit_several(replicas[number], random)
            case "exchange":
                exchange(random, inboxes, replicas)
            case "whole":
                with suppress(CrdtError):
                    replicas[number].apply(replicas[(number + 1) % 3].diff(replicas[number].state_vector()))
            case "hostile":
                if foreign:
                    with suppress(CrdtError):
                        replicas[number].apply(foreign.pop(0))
        check(replicas[number], f"seed {seed}, step {step}")
    for replica in replicas:
        check(replica, f"seed {seed}, end")


@pytest.mark.parametrize("hostile", [False, True])
def test_reading_of_changes_equals_a_full_reading(hostile: bool) -> None:
    for seed in range(25):
        run(seed, hostile=hostile)


@pytest.mark.parametrize("container", ["list:k", "map:k", "text:k", "state", "array", "map", "text"])
def test_N2_changes_of_foreign_content_equal_a_full_reading(container: str) -> None:
    for name, content in CONTENTS.items():
        replica = Replica()
        replica.set("other", 1)
        for update in (
            in_container(container, content),
            encode([], [(5, 1, 1)]),
            encode([(6, 0, [Struct(CONTENTS["value"], left=(5, 0))])]),
            encode([], [(5, 2, 2)]),
        ):
            with suppress(CrdtError):
                replica.apply(update)
            check(replica, f"{container}, {name}")


def cost_of_remote_edit(count: int, kind: str) -> int:
    """Return the calls that one remote edit takes in a document with `count` keys, or with a value of `count` items."""
    author, reader = Replica(), Replica()
    match kind:
        case "keys":
            with author.transaction():
                for number in range(count):
                    author.set(f"k{number}", number)
        case "map":
            author.edit("k", None, {str(number): number for number in range(count)}, RULES["map"])
        case "list":
            author.edit("k", None, list(range(count)), RULES["list"])
    reader.apply(author.diff())
    reader.set("own", 1)
    author.apply(reader.diff(author.state_vector()))
    reader.apply(author.diff(reader.state_vector()))
    updates: list[bytes] = []
    author.subscribe(lambda update, origin: updates.append(update))
    match kind:
        case "keys":
            author.set("k3", "changed")
        case "map":
            author.edit("k", author.get("k"), {**author.get("k"), "3": "changed"}, RULES["map"])
        case "list":
            author.edit("k", author.get("k"), [*author.get("k"), "more"], RULES["list"])
    changed: set[str] = set()
    calls = count_calls(lambda: changed.update(reader.apply(updates[-1])))
    assert changed == {"k3" if kind == "keys" else "k"}
    assert comparable_values(reader.stored()) == comparable_values(author.stored())
    return calls


@pytest.mark.parametrize("kind", ["keys", "map", "list"])
def test_remote_edit_costs_what_it_changes(kind: str) -> None:
    assert cost_of_remote_edit(2_000, kind) <= 1.1 * cost_of_remote_edit(20, kind)
