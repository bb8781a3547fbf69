"""The order in which a document can apply updates (rule S6)."""

from __future__ import annotations

from typing import Any

import pytest
from pycrdt import Array, Doc, Map, Text

from streamlit_crdt_server.yjs.safe_apply import validate_update
from streamlit_crdt_server.yjs.update_order import UpdateOrder


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
