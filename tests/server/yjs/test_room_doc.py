"""Changes of a document with a long past, derived from updates (N4)."""

from __future__ import annotations

import time
from collections.abc import Iterable
from random import Random
from typing import Any

import pytest
from pycrdt import Array, Doc, Map, Text

from streamlit_crdt_server.errors import UpdateRefusedError
from streamlit_crdt_server.yjs import room_doc, safe_apply
from streamlit_crdt_server.yjs.room_doc import RoomDoc
from streamlit_crdt_server.yjs.update_decoder import UpdateMeta, decode_state_vector
from tests.server.support.fake_channel import POISON
from tests.server.support.hostile_updates import MISPLACED, VALUE
from tests.support.past_replicas import counted_by


class Follower:
    """A copy of a document that receives its reported changes only."""

    def __init__(self, doc: RoomDoc) -> None:
        self.copy: Doc[Any] = Doc()
        self.changes: list[bytes] = []
        doc.observe_changes(lambda change: self.changes.append(change.update))

    def look(self) -> Doc[Any]:
        for change in self.changes:
            self.copy.apply_update(change)
        self.changes.clear()
        return self.copy


@pytest.fixture
def derives_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room_doc, "OBSERVED_REPLICAS", 0)
    monkeypatch.setattr(room_doc, "COUNT_AFTER_BATCHES", 1)


def apply(doc: RoomDoc, updates: Iterable[bytes]) -> None:
    with doc.applying():
        for update in updates:
            safe_apply.apply_update(doc, update)


def recorded_writers(count: int, updates: list[bytes]) -> list[Doc[Any]]:
    writers: list[Doc[Any]] = [Doc() for _ in range(count)]
    for writer in writers:
        writer.observe(lambda event: updates.append(event.update))
    return writers


def edit_at_random(random: Random, doc: Doc[Any]) -> None:
    state, text, items = doc.get("m", type=Map), doc.get("t", type=Text), doc.get("l", type=Array)
    match random.randrange(5):
        case 0:
            state[random.choice("ab")] = random.randrange(100)
        case 1:
            state.pop(random.choice("ab"), None)
        case 2:
            text.insert(random.randrange(len(text) + 1), "xyz")
        case 3:
            items.append(random.randrange(100))
        case _ if len(text) > 4:
            del text[1:3]


def clocks(doc: Doc[Any]) -> dict[int, int]:
    return decode_state_vector(doc.get_state())


def content(doc: Doc[Any]) -> tuple[Any, str, Any]:
    return (
        doc.get("m", type=Map).to_py(),
        str(doc.get("t", type=Text)),
        doc.get("l", type=Array).to_py(),
    )


@pytest.mark.usefixtures("derives_all")
def test_N4_reported_changes_are_complete() -> None:
    """Batches with new, repeated, merged and late updates, and edits of the server between them."""
    for seed in range(40):
        random, updates = Random(seed), list[bytes]()
        writers = recorded_writers(3, updates)
        doc = RoomDoc()
        follower = Follower(doc)
        sent = 0
        for _ in range(12):
            for _ in range(random.randrange(1, 8)):
                writer = random.choice(writers)
                edit_at_random(random, writer)
                if random.random() < 0.2:
                    writer.apply_update(random.choice(writers).get_update())
            batch, sent = updates[sent:], len(updates)
            batch += random.sample(updates, min(len(updates), random.randrange(3)))
            if random.random() < 0.2:
                batch.append(random.choice(writers).get_update())
            if random.random() < 0.3:
                random.shuffle(batch)
            apply(doc, batch)
            if random.random() < 0.2:
                edit_at_random(random, doc)
        apply(doc, [writer.get_update() for writer in writers])
        copy = follower.look()
        assert clocks(copy) == clocks(doc), f"seed {seed}"
        assert content(copy) == content(doc), f"seed {seed}"


@pytest.mark.usefixtures("derives_all")
def test_N4_repeated_updates_are_reported_once() -> None:
    updates: list[bytes] = []
    (writer,) = recorded_writers(1, updates)
    state = writer.get("m", type=Map)
    state["a"] = 1
    state["b"] = 2
    del state["a"]
    doc = RoomDoc()
    follower = Follower(doc)
    apply(doc, updates[:1])
    apply(doc, updates)
    follower.changes.clear()
    apply(doc, [*updates, writer.get_update()])
    assert follower.changes == []


@pytest.mark.usefixtures("derives_all")
def test_N2_partly_applied_update_is_reported() -> None:
    doc = RoomDoc()
    follower = Follower(doc)
    apply(doc, [VALUE])
    with doc.applying(), pytest.raises(UpdateRefusedError):
        safe_apply.apply_update(doc, MISPLACED)
    assert clocks(follower.look()) == clocks(doc)


@pytest.mark.usefixtures("derives_all")
def test_N2_damaged_document_can_be_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    doc = RoomDoc()
    follower = Follower(doc)
    apply(doc, [counted_by(2)])
    follower.changes.clear()
    monkeypatch.setattr(room_doc, "read_update_meta", lambda update: UpdateMeta())  # an unknown bug
    with pytest.raises(BaseException, match="divide by zero"), doc.applying():  # pyo3's PanicException
        doc.apply_update(POISON)
    doc.observe_changes(None)
    assert follower.changes == []


def test_N4_batch_costs_the_same_after_many_replicas() -> None:
    def measure() -> float:
        young, old = (median_s(replica_ids) for replica_ids in (300, 12_000))
        return old / young

    assert any(measure() <= 2 for _ in range(5))


def median_s(replica_ids: int) -> float:
    doc = RoomDoc()
    Follower(doc)
    apply(doc, [counted_by(replica_ids)])
    durations = []
    for number in range(60):
        author: Doc[Any] = Doc(client_id=77 + number)
        author.get("m", type=Map)["x"] = number
        began = time.process_time()
        apply(doc, [author.get_update()])
        durations.append(time.process_time() - began)
    return sorted(durations)[len(durations) // 2]
