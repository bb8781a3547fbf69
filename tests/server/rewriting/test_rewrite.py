"""Rewriting of a document: what is copied, what is refused."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from pycrdt import Array, Doc, Map, Text, XmlFragment, XmlText

from streamlit_crdt_server.rewriting import NotCopyableError, RoomPast, rewrite_state
from streamlit_crdt_server.rewriting.room_past import MAX_CHECKED, MAX_EPOCHS
from streamlit_crdt_server.yjs.update_decoder import decode_state_vector
from tests.server.support.expensive_updates import encode, struct

ROUNDS = 150
STRING, ANY, BINARY = 4, 8, 3


def read(doc: Doc[Any]) -> dict[str, Any]:
    return {
        "text": doc.get("text:a", type=Text).diff(),
        "list": doc.get("list:b", type=Array).to_py(),
        "state": doc.get("state", type=Map).to_py(),
        "total": sum((doc.get("counter:c", type=Map).to_py() or {}).values()),
    }


def loaded(state: bytes) -> Doc[Any]:
    doc: Doc[Any] = Doc()
    doc.apply_update(state)
    return doc


def edit_text(doc: Doc[Any], chance: random.Random) -> None:
    text = doc.get("text:a", type=Text)
    length = len(str(text).encode())
    if length and chance.random() < 0.3:
        at = chance.randrange(length)
        del text[at : min(length, at + 3)]
    elif length and chance.random() < 0.2:
        at = chance.randrange(length)
        text.format(at, min(length, at + 2), {"bold": chance.choice((True, None))})
    else:
        text.insert(chance.randrange(length + 1), chance.choice(("a", "word", "two words")))


def edit_list(doc: Doc[Any], chance: random.Random) -> None:
    items = doc.get("list:b", type=Array)
    if len(items) and chance.random() < 0.3:
        del items[chance.randrange(len(items))]
    else:
        item = chance.choice((1, 2.5, "x", None, True, {"a": [1, "y"]}, b"bytes"))
        items.insert(chance.randrange(len(items) + 1), item)


def edit_state(doc: Doc[Any], chance: random.Random) -> None:
    state, key = doc.get("state", type=Map), chance.choice("abcd")
    if key in state and chance.random() < 0.3:
        del state[key]
    elif chance.random() < 0.3:
        state[key] = chance.choice((Map({"q": Array([1, Text("zz")])}), Text("abc"), Array([1, [2]])))
    else:
        state[key] = chance.choice((1, -7, 2.5, "text", {"x": [1]}, None, b"bytes"))


def edit_counter(doc: Doc[Any], chance: random.Random) -> None:
    doc.get("counter:c", type=Map)[str(doc.client_id)] = chance.randrange(-1000, 1000)


EDITS: tuple[Callable[[Doc[Any], random.Random], None], ...] = (
    edit_text, edit_list, edit_state, edit_counter,
)  # fmt: skip


def random_document(seed: int) -> Doc[Any]:
    """Return the merge of three replicas that edit at once and meet now and then."""
    chance = random.Random(seed)
    docs: list[Doc[Any]] = [Doc() for _ in range(3)]
    for _ in range(chance.randrange(60)):
        doc = chance.choice(docs)
        chance.choice(EDITS)(doc, chance)
        if chance.random() < 0.15:
            doc.apply_update(chance.choice(docs).get_update())
    for doc in docs[1:]:
        docs[0].apply_update(doc.get_update())
    return docs[0]


def test_N4_rewritten_document_has_equal_content_and_one_replica_id() -> None:
    for seed in range(ROUNDS):
        document = random_document(seed)
        fresh = rewrite_state(document.get_update())
        assert read(loaded(fresh)) == read(document), f"seed {seed}"
        assert len(decode_state_vector(loaded(fresh).get_state())) <= 1


def test_N4_rewritten_document_can_be_edited_and_rewritten_again() -> None:
    document = random_document(7)
    once = loaded(rewrite_state(document.get_update()))
    for edit in EDITS:
        edit(once, random.Random(1))
    assert read(loaded(rewrite_state(once.get_update()))) == read(once)


def test_N4_content_keeps_its_bytes() -> None:
    kinds = bytes((127, 126, 122, 0, 0, 0, 0, 0, 0, 0, 9, 123)) + b"\x40\x04\0\0\0\0\0\0"
    values = struct((ANY, b"\x04" + kinds))
    fresh = rewrite_state(encode([(1, [values])]))
    assert kinds in fresh
    assert b"\x04" + kinds in fresh


def test_N4_overwritten_values_are_gone() -> None:
    document: Doc[Any] = Doc()
    state = document.get("state", type=Map)
    for number in range(2000):
        state[f"key{number % 2}"] = number
    before = document.get_update()
    assert len(rewrite_state(before)) * 50 < len(before)


@pytest.mark.parametrize("fraction", [0.1, 1, -2])
def test_N4_counter_of_many_participants_becomes_one_sum(fraction: float) -> None:
    document: Doc[Any] = Doc()
    for number in range(500):
        one: Doc[Any] = Doc(client_id=number + 1)
        one.get("counter:clicks", type=Map)[str(number + 1)] = fraction if number % 2 else number
        document.apply_update(one.get_update())
    before = document.get("counter:clicks", type=Map).to_py() or {}
    state = document.get_update()
    after = loaded(rewrite_state(state)).get("counter:clicks", type=Map).to_py() or {}
    assert list(after.values()) == [sum(before[key] for key in sorted(before))]
    assert len(rewrite_state(state)) * 50 < len(state)


def test_N4_counter_with_other_entries_is_copied_as_it_is() -> None:
    document: Doc[Any] = Doc()
    document.get("counter:c", type=Map).update({"1": 1, "2": {"$float": "inf"}})
    fresh = loaded(rewrite_state(document.get_update()))
    assert fresh.get("counter:c", type=Map).to_py() == {"1": 1, "2": {"$float": "inf"}}


def with_xml(document: Doc[Any]) -> None:
    document.get("page", type=XmlFragment).children.append(XmlText("text"))


def with_subdocument(document: Doc[Any]) -> None:
    document.get("state", type=Map)["doc"] = Doc()


@pytest.mark.parametrize("add", [with_xml, with_subdocument])
def test_N4_document_with_other_content_is_refused(add: Callable[[Doc[Any]], None]) -> None:
    document: Doc[Any] = Doc()
    document.get("state", type=Map)["x"] = 1
    add(document)
    with pytest.raises(NotCopyableError):
        rewrite_state(document.get_update())


def test_N4_characters_among_list_items_are_refused() -> None:
    item, text = struct((ANY, b"\x01\x7e")), struct((STRING, b"\x02ab"), left=(1, 0))
    with pytest.raises(NotCopyableError):
        rewrite_state(encode([(1, [item, text])]))


def test_N4_past_survives_its_encoding_and_is_bounded() -> None:
    past = RoomPast()
    for number in range(MAX_EPOCHS + 5):
        past = past.extend(f"{number:032x}", {number: number + 1, 2**53 - 1: number})
    read_again = RoomPast.decode(past.encode())
    assert read_again == past
    assert len(past.epochs) == MAX_EPOCHS
    assert past.epochs[-1] == f"{MAX_EPOCHS + 4:032x}"
    assert past.clocks[2**53 - 1] == MAX_EPOCHS + 4
    assert RoomPast.decode(b"") == RoomPast()
    assert past.has_any([9]) and not past.has_any([MAX_EPOCHS + 5])
    assert dict(past.clocks) == {**{n: n + 1 for n in range(MAX_EPOCHS + 5)}, 2**53 - 1: MAX_EPOCHS + 4}
    assert not past.has_any(range(-MAX_CHECKED, MAX_CHECKED)), "the work for a hostile client is bounded"
    with pytest.raises(ValueError, match="cut off"):
        RoomPast.decode(past.encode()[:-1])
