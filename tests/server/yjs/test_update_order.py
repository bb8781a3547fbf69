"""The order in which a document can apply updates (rule S6)."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from pycrdt import Array, Doc, Map, Text

from streamlit_crdt_server.yjs.lib0 import EMPTY_UPDATE, encode_varuint
from streamlit_crdt_server.yjs.safe_apply import validate_update
from streamlit_crdt_server.yjs.update_order import UpdateOrder
from tests.server.support.expensive_updates import NULL, encode, struct


class Receiver:
    """A document behind an `UpdateOrder`."""

    def __init__(self) -> None:
        self.ydoc: Doc[Any] = Doc()
        self.order: UpdateOrder[int] = UpdateOrder()
        self.state = self.ydoc.get("state", type=Map)
        self.text = self.ydoc.get("text", type=Text)

    def receive(self, update: bytes, number: int) -> int:
        """Put an update, and apply what is ready. Return the number of applied parts."""
        self.order.put(validate_update(update), number)
        applied = 0
        while ready := self.order.take():
            self.ydoc.apply_update(ready.data)
            applied += 1
        return applied


def record(ydoc: Doc[Any]) -> list[bytes]:
    updates: list[bytes] = []
    ydoc.observe(lambda event: updates.append(event.update))
    return updates


def test_S6_overwritten_value_stays_until_the_new_value_is_complete() -> None:
    author: Doc[Any] = Doc()
    state = author.get("state", type=Map)
    updates = record(author)
    state["key"], state["other"], state["key"] = "old", 1, "new"
    first, missing, overwrite = updates
    receiver = Receiver()
    receiver.receive(first, 0)
    assert receiver.receive(overwrite, 2) == 0
    assert receiver.state.to_py() == {"key": "old"}
    receiver.receive(missing, 1)
    assert receiver.state.to_py() == {"key": "new", "other": 1}
    assert not receiver.order.pending_sources() and receiver.order.pending_bytes == 0


def test_S6_replaced_text_stays_until_its_replacement_is_complete() -> None:
    author: Doc[Any] = Doc()
    text, state = author.get("text", type=Text), author.get("state", type=Map)
    updates = record(author)
    text += "one two"
    state["other"] = 1
    with author.transaction():
        del text[4:7]
        text.insert(4, "three")
    first, missing, replacement = updates
    receiver = Receiver()
    receiver.receive(first, 0)
    receiver.receive(replacement, 2)
    assert str(receiver.text) == "one two"
    receiver.receive(missing, 1)
    assert str(receiver.text) == "one three"
    assert receiver.state.to_py() == {"other": 1}
    assert not receiver.order.pending_sources()


@pytest.mark.parametrize("last", range(3))
def test_S6_deletion_without_a_replacement_needs_only_its_units(last: int) -> None:
    author: Doc[Any] = Doc()
    array, state = author.get("a", type=Array), author.get("state", type=Map)
    updates = record(author)
    array.extend([1, 2, 3])
    state["other"] = 1
    del array[1]
    receiver = Receiver()
    items = receiver.ydoc.get("a", type=Array)
    for number in [number for number in range(3) if number != last] + [last]:
        receiver.receive(updates[number], number)
    assert (items.to_py(), receiver.state.to_py()) == ([1, 3], {"other": 1})
    assert not receiver.order.pending_sources()


def takes(update: bytes, units: int, max_structs: int | None = 10**9) -> int:
    """Return the steps in which a document with some units of replica 1 can apply an update."""
    order: UpdateOrder[int] = UpdateOrder({1: units})
    order.max_structs = max_structs
    order.put(validate_update(update), 0)
    steps = 0
    while ready := order.take():
        steps += ready.data != EMPTY_UPDATE
    assert not order.pending_sources()
    return steps


def test_N3_steps_are_limited_by_the_document() -> None:
    inserting = encode([(7, [struct(NULL, left=(1, 5 * number)) for number in range(100)])])
    deleting = encode([], b"\1\1\x64" + b"".join(encode_varuint(5 * n) + b"\1" for n in range(100)))
    assert [takes(inserting, units) for units in (500, 10_000, 10**6)] == [1, 12, 100]
    assert [takes(deleting, units) for units in (500, 10**6, 10**8)] == [1, 4, 100]
    assert takes(inserting, 10**6, max_structs=500) == takes(inserting, 10**6, max_structs=None) == 1


def test_N3_content_of_a_new_type_is_one_step_in_any_document() -> None:
    author: Doc[Any] = Doc()
    rows = author.get("rows", type=Array)
    with author.transaction():
        rows.extend([Map({"a": number, "b": Text("x")}) for number in range(100)])
    assert takes(author.get_update(), 10**6) == 1


def test_N3_limited_steps_give_the_same_document() -> None:
    random = Random(1)
    authors: list[Doc[Any]] = [Doc(client_id=number + 1) for number in range(5)]
    for _ in range(300):
        text = random.choice(authors).get("text", type=Text)
        at = random.randint(0, len(str(text)))
        if random.random() < 0.3 and at < len(str(text)):
            del text[at]
        text.insert(at, "ab")
        one, other = random.sample(authors, 2)
        if random.random() < 0.3:
            one.apply_update(other.get_update(one.get_state()))
    order: UpdateOrder[int] = UpdateOrder({99: 10**7})
    order.max_structs = 10**7
    limited, whole = Doc[Any](), Doc[Any]()
    for author in authors:
        order.put(validate_update(author.get_update()), author.client_id)
        whole.apply_update(author.get_update())
    while ready := order.take():
        limited.apply_update(ready.data)
    assert not order.pending_sources()
    assert limited.get_state() == whole.get_state()
    assert str(limited.get("text", type=Text)) == str(whole.get("text", type=Text))
