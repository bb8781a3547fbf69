"""Cutting of a large update: valid pieces of limited size that apply in order and together change the same."""

from __future__ import annotations

import random
from typing import Any

import pytest
from pycrdt import Array, Doc, Map, Text, merge_updates

from streamlit_crdt_server.yjs.lib0 import EMPTY_UPDATE
from streamlit_crdt_server.yjs.safe_apply import validate_update
from streamlit_crdt_server.yjs.update_decoder import decode_state_vector, read_update_meta
from streamlit_crdt_server.yjs.update_slices import cut_update

LETTERS = "aß漢👍\U0001f469\u200d\U0001f680 "


def edit(rng: random.Random, ydoc: Doc[Any]) -> None:
    text, items, entries = ydoc.get("t", type=Text), ydoc.get("l", type=Array), ydoc.get("m", type=Map)
    with ydoc.transaction():
        for _ in range(rng.randrange(1, 6)):
            kind = rng.randrange(6)
            if kind == 0:
                text += "".join(rng.choices(LETTERS, k=rng.randrange(1, 300)))
            elif kind == 1 and len(items) > 3:
                del items[rng.randrange(len(items))]
            elif kind == 2:
                items.insert(rng.randrange(len(items) + 1), rng.choice([1, "x" * 80, {"a": [1]}, b"\0" * 50]))
            elif kind == 3:
                items.extend([rng.random() for _ in range(rng.randrange(40))])
            elif kind == 4:
                entries[f"k{rng.randrange(5)}"] = rng.choice([True, Map({"n": Array([1, 2])}), "v" * 200])
            elif len(text):
                text.insert(0, "start")


def shared_document(seed: int) -> Doc[Any]:
    """Return a document that several replicas wrote, each on the content of the others."""
    rng = random.Random(seed)
    docs: list[Doc[Any]] = [Doc() for _ in range(4)]
    for _ in range(40):
        author, reader = rng.sample(docs, 2)
        edit(rng, author)
        if rng.random() < 0.7:
            reader.apply_update(author.get_update(reader.get_state()))
    for ydoc in docs[1:]:
        docs[0].apply_update(ydoc.get_update())
    return docs[0]


def content(ydoc: Doc[Any]) -> tuple[object, ...]:
    return str(ydoc.get("t", type=Text)), ydoc.get("l", type=Array).to_py(), ydoc.get("m", type=Map).to_py()


@pytest.mark.parametrize("seed", range(4))
def test_R3_pieces_apply_in_order_and_never_wait(seed: int) -> None:
    ydoc = shared_document(seed)
    update = ydoc.get_update()
    for max_bytes in (150, 1000, 4000):
        copy: Doc[Any] = Doc()
        pieces = cut_update(update, max_bytes)
        assert len(pieces) > 1
        for piece in pieces:
            validate_update(piece)
            copy.apply_update(piece)
            vector = decode_state_vector(copy.get_state())
            ends = {replica: block.end for replica, block in read_update_meta(piece).blocks.items()}
            assert {replica: vector.get(replica) for replica in ends} == ends, "a struct is pending"
        assert content(copy) == content(ydoc)
        assert decode_state_vector(copy.get_state()) == decode_state_vector(ydoc.get_state())
        assert all(len(piece) <= max(max_bytes, 300) for piece in pieces)


@pytest.mark.parametrize("seed", range(3))
def test_R3_a_difference_is_cut_like_a_whole_state(seed: int) -> None:
    ydoc = shared_document(seed)
    pieces = cut_update(ydoc.get_update(), 2000)
    for received in range(len(pieces)):
        copy: Doc[Any] = Doc()
        for piece in pieces[:received]:
            copy.apply_update(piece)
        for piece in cut_update(ydoc.get_update(copy.get_state()), 500):
            copy.apply_update(piece)
        assert content(copy) == content(ydoc)


def test_R3_a_merged_text_and_list_are_split_between_elements() -> None:
    ydoc: Doc[Any] = Doc(client_id=5)
    text, items = ydoc.get("t", type=Text), ydoc.get("l", type=Array)
    text += "👍é" * 1500
    text.insert(len("👍é".encode()) * 100, "middle")
    items.extend([{"n": n} for n in range(3000)])
    pieces = cut_update(ydoc.get_update(), 4096)
    assert max(map(len, pieces)) <= 4096
    assert sum(map(len, pieces)) < 1.1 * len(ydoc.get_update())
    copy: Doc[Any] = Doc()
    for piece in pieces:
        copy.apply_update(piece)
    assert str(copy.get("t", type=Text)) == str(text)
    assert copy.get("l", type=Array).to_py() == items.to_py()


def test_R3_an_element_above_the_limit_is_a_piece_of_its_own() -> None:
    ydoc: Doc[Any] = Doc()
    entries = ydoc.get("m", type=Map)
    for name in "abc":
        entries[name] = b"\1" * 10_000
        entries[f"small {name}"] = 1
    pieces = cut_update(ydoc.get_update(), 1000)
    assert sum(len(piece) > 1000 for piece in pieces) == 3
    assert max(map(len, pieces)) < 10_100


def test_R3_many_deletions_are_cut_and_come_last() -> None:
    ydoc: Doc[Any] = Doc()
    items = ydoc.get("l", type=Array)
    items.extend(list(range(1200)))
    for index in range(600):
        del items[index]
    pieces = cut_update(ydoc.get_update(), 500)
    assert max(map(len, pieces)) <= 500
    metas = [read_update_meta(piece) for piece in pieces]
    assert sum(len(meta.deletions) for meta in metas) == 1800
    first_deletion = next(index for index, meta in enumerate(metas) if meta.deletions)
    assert not any(meta.blocks for meta in metas[first_deletion + 1 :])


def test_R3_a_gap_in_an_update_stays_a_gap() -> None:
    ydoc: Doc[Any] = Doc(client_id=9)
    items = ydoc.get("l", type=Array)
    updates = list[bytes]()
    subscription = ydoc.observe(lambda event: updates.append(event.update))
    for number in range(30):
        items.append("x" * number)
    ydoc.unobserve(subscription)
    sparse = merge_updates(*updates[::3])
    copy: Doc[Any] = Doc()
    for piece in (*cut_update(sparse, 60), *updates):
        copy.apply_update(piece)
    assert copy.get("l", type=Array).to_py() == items.to_py()


def test_R3_a_circle_of_dependencies_is_cut_without_an_end() -> None:
    circle = (
        b"\x02"
        + b"\x01\x02\x00\xc8\x01\x00\x01\x00\x01\x7d\x01"
        + b"\x01\x01\x00\xc8\x02\x00\x02\x00\x01\x7d\x02\x00"
    )
    read_update_meta(circle)
    assert sum(len(read_update_meta(piece).blocks) for piece in cut_update(circle, 4)) == 2


def test_R3_a_small_update_stays_as_it_is() -> None:
    assert cut_update(EMPTY_UPDATE, 1) == [EMPTY_UPDATE]
    update = shared_document(1).get_update()
    assert cut_update(update, len(update)) == [update]
