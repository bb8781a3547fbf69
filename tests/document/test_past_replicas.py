"""Cost of a remote edit in a document with a long past (N4), and its exactness without an observer."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random

import pytest
from pycrdt import Doc, Map, Text

import streamlit_crdt.document.document as document_module
from streamlit_crdt.document.replica import LOCAL, ROOM, Replica
from streamlit_crdt.merge import RULES
from streamlit_crdt_server.yjs.applied_clocks import AppliedClocks, step_of
from streamlit_crdt_server.yjs.update_decoder import decode_state_vector, read_update_meta
from tests.support.past_replicas import counted_by

MAX_RATIO = 2.0
"""A cost in proportion to the replica ids has a ratio of 40 here."""


def remote_edits(count: int) -> list[bytes]:
    """Return edits of another key: each of another replica, and the text edits of one replica."""
    edits = []
    for number in range(count):
        doc = Doc(client_id=77 + number)
        doc.get("state", type=Map)["x"] = number
        edits.append(doc.get_update())
    author = Doc(client_id=9)
    text = author.get("text:t", type=Text)
    text += "some text"
    edits.append(author.get_update())
    author.observe(lambda event: edits.append(event.update))
    for _ in range(count):
        text.insert(3, "abc")
        del text[4:6]
    return edits


def median_s(replica: Replica, edits: list[bytes]) -> float:
    durations = []
    for edit in edits:
        began = time.process_time()
        replica.apply(edit)
        durations.append(time.process_time() - began)
    return sorted(durations)[len(durations) // 2]


def test_N4_remote_edit_costs_the_same_after_many_replicas() -> None:
    def measure() -> float:
        young, old = Replica(replica_id=11), Replica(replica_id=11)
        young.apply(counted_by(300))
        old.apply(counted_by(12_000))
        edits = remote_edits(15)
        return median_s(old, edits) / median_s(young, edits)

    assert any(measure() <= MAX_RATIO for _ in range(5))


def test_N4_applied_clocks_equal_the_state_vector() -> None:
    """Whenever an update counts as next, a document applies it completely, and all of it is new."""
    nexts = 0
    for seed in range(30):
        random = Random(seed)
        writers = [Replica() for _ in range(3)]
        updates: list[bytes] = []
        for writer in writers:
            writer.subscribe(collector(updates))
        for number in range(30):
            edit_at_random(random, random.choice(writers), number)
            if random.random() < 0.3:
                random.choice(writers).apply(random.choice(writers).diff())
        if random.random() < 0.5:
            random.shuffle(updates)
        doc, applied, changes = Doc(), AppliedClocks(), list[bytes]()
        doc.observe(lambda event, changes=changes: changes.append(event.update))
        for update in updates:
            meta = read_update_meta(update)
            step = step_of(meta)
            if step is not None and step.is_next(applied):
                nexts += 1
                changes.clear()
                doc.apply_update(update)
                applied.advance(step.ends)
                assert dict(applied) == decode_state_vector(doc.get_state()), f"seed {seed}"
                assert len(changes) == 1, f"seed {seed}"
    assert nexts > 200


@pytest.mark.parametrize("observed_replicas", [0, 256])
def test_N4_replicas_converge_without_an_observer(
    observed_replicas: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each replica receives only what another one published, on two paths, in any order."""
    monkeypatch.setattr(document_module, "OBSERVED_REPLICAS", observed_replicas)
    for seed in range(12):
        random = Random(seed)
        replicas = [Replica() for _ in range(3)]
        relay = Replica()
        queue: list[tuple[Replica, bytes]] = []
        for replica in replicas:
            relay.subscribe(sender_to(replica, queue, (LOCAL, ROOM)))
            replica.subscribe(sender_to(relay, queue, (LOCAL,)))
        for number in range(40):
            edit_at_random(random, random.choice(replicas), number)
            random.shuffle(queue)
            for _ in range(random.randrange(len(queue) + 1)):
                receiver, update = queue.pop()
                receiver.apply(update, origin=ROOM)
                if random.random() < 0.2:
                    queue.insert(0, (receiver, update))
        while queue:
            receiver, update = queue.pop(0)
            receiver.apply(update, origin=ROOM)
        values = dict(relay.items())
        for replica in replicas:
            assert dict(replica.items()) == values, f"seed {seed}"
            assert relay.diff(replica.state_vector())[0] == 0, f"seed {seed}: something is missing"


def collector(updates: list[bytes]) -> Callable[[bytes, str], None]:
    return lambda update, origin: updates.append(update) if origin == LOCAL else None


def sender_to(
    receiver: Replica, queue: list[tuple[Replica, bytes]], origins: tuple[str, ...]
) -> Callable[[bytes, str], None]:
    return lambda update, origin: queue.append((receiver, update)) if origin in origins else None


def edit_at_random(random: Random, replica: Replica, number: int) -> None:
    key = random.choice("abt")
    if key == "t":
        text = replica.get("t", "") or ""
        cut = random.randrange(len(text) + 1)
        replica.edit("t", text, text[:cut] + f"[{number}]" + text[cut + random.randrange(4) :], RULES["text"])
    elif random.random() < 0.7:
        replica.set(key, number)
    else:
        replica.delete(key)
