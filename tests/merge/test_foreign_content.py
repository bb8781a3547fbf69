"""Content that another program has written: all replicas read it alike, and other keys are not affected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pycrdt import Array, Doc, Map, Text

from streamlit_crdt.document.document import Document
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.errors import ValueUnreadableError
from streamlit_crdt.merge import RULES, Edit


def update_of(write: Callable[[Doc[Any]], object]) -> bytes:
    document: Doc[Any] = Doc(client_id=77)
    with document.transaction():
        write(document)
    return bytes(document.get_update())


@pytest.mark.parametrize("parts", [65, 5000])
def test_N2_too_deep_map_path_is_unreadable_and_overwritable(parts: int) -> None:
    def write(document: Doc[Any]) -> None:
        document.get("state", type=Map)["m"] = {"$rule": ["map", "dict"]}
        document.get("map:m", type=Map)["/".join("a" * parts)] = 1

    replica = Replica()
    replica.apply(update_of(write))
    with pytest.raises(ValueUnreadableError):
        replica.get("m")
    assert replica.edit("m", None, {"b": 1}, RULES["map"]) and replica.get("m") == {"b": 1}


def test_R2_key_without_marker_has_one_value_in_all_replicas() -> None:
    def write(document: Doc[Any]) -> None:
        for number in range(20):
            document.get(f"set:k{number}", type=Map)["1"] = 1
            document.get(f"list:k{number}", type=Array).append(1)
            document.get(f"text:k{number}", type=Text).insert(0, "a")

    replica = Replica()
    replica.apply(update_of(write))
    assert dict(replica.items()) == {f"k{number}": "a" for number in range(20)}


@pytest.mark.parametrize("rule", ["text", "list"])
@pytest.mark.parametrize("kind", [Text, Array, Map])
def test_N2_edit_of_a_root_type_of_another_type_does_not_panic(rule: str, kind: Any) -> None:
    def write(document: Doc[Any]) -> None:
        document.get("state", type=Map)["nn"] = {"$rule": [rule, "str"]}
        shared: Any = document.get(f"{rule}:nn", type=kind)
        if kind is Text:
            shared.insert(0, "abc")
        elif kind is Array:
            shared.extend([1, 2, 3])
        else:
            shared.update({"a": 1})

    update = update_of(write)
    first: dict[str, Any] = {"text": "x", "list": [1]}
    for edit in ("set", "edit", "delete"):
        replica, peer = Replica(), Replica()
        replica.apply(update)
        if edit == "set":
            assert replica.set("nn", "x") and replica.get("nn") == "x"
        elif edit == "edit":
            assert replica.edit("nn", None, first[rule], RULES[rule])
        else:
            replica.delete("nn")
        replica.undo()
        replica.redo()
        replica.set("other", 1)
        peer.apply(replica.diff())
        assert peer.get("other") == 1


def test_int_counter_with_added_halves_is_an_int() -> None:
    replica = Replica()
    for before, after in ((0.0, 0.5), (0.5, 1.0), (1.0, 1)):
        replica.edit("n", before, after, RULES["counter"])
    assert replica.get("n") == 1 and type(replica.get("n")) is int


def test_read_makes_no_update_and_no_undo_item() -> None:
    document = Document(1)
    with document.transaction():
        for number in range(20):
            document.edit(f"k{number}", RULES["text"], Edit("", "a", 1))
    document.take_updates()
    document.history.begin_group()
    assert len(document.refresh({})) == 20 and document.take_updates() == []
    assert document.history.undo() and not document.history.can_undo
