"""Updates that arrive reordered, repeated, merged or late, compared with Yjs (rule S6)."""

from __future__ import annotations

import base64
import json
import logging
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from pycrdt import Array, Doc, Map, Text

from streamlit_crdt.document.document import Document
from streamlit_crdt_server import Settings
from streamlit_crdt_server.room.batch import QueuedUpdate
from streamlit_crdt_server.room.document import RoomDocument
from streamlit_crdt_server.room.peers import Peer
from streamlit_crdt_server.yjs.room_doc import RoomDoc
from streamlit_crdt_server.yjs.safe_apply import validate_update
from streamlit_crdt_server.yjs.update_decoder import decode_state_vector

SCRIPT = Path(__file__).parents[1] / "support" / "reordered_updates.mjs"
SEEDS = 100
SOAK_SEEDS = 100_000
SEEDS_PER_PROCESS = 1_000
PEER = cast(Peer, None)
LOG = logging.getLogger(__name__)


class Case:
    """Deliveries of one seed, and the documents of Yjs after them."""

    def __init__(self, line: str) -> None:
        content = json.loads(line)
        self.seed: int = content["seed"]
        self.deliveries = [base64.b64decode(update) for update in content["deliveries"]]
        self.rest = [base64.b64decode(update) for update in content["rest"]]
        self.partial: dict[str, Any] = content["partial"]
        self.complete: dict[str, Any] = content["complete"]


def cases(first: int, count: int) -> Iterator[Case]:
    """Generate the cases of some seeds in one Node process."""
    command = ["node", str(SCRIPT), str(first), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=SCRIPT.parents[2])
    return map(Case, done.stdout.splitlines())


def read(state: bytes) -> dict[str, Any]:
    ydoc: Doc[Any] = Doc()
    text = ydoc.get("t", type=Text)
    roots = {"state": ydoc.get("state", type=Map), "a": ydoc.get("a", type=Array)}
    ydoc.apply_update(state)
    clocks = {str(replica): clock for replica, clock in decode_state_vector(ydoc.get_state()).items()}
    return {**{name: root.to_py() for name, root in roots.items()}, "t": str(text), "clocks": clocks}


def opened(rows: Sequence[bytes]) -> RoomDocument:
    document = RoomDocument(RoomDoc(), "room", Settings(), LOG)
    assert not document.load(rows)
    document.observe()
    document.apply([])
    return document


def check_partial(content: dict[str, Any], case: Case, *, is_complete: bool) -> None:
    """Compare a document with that of Yjs, which applies the deletions of a pending update at once. Ours wait."""
    assert content["clocks"] == case.partial["clocks"], case.seed
    assert content == case.partial or not is_complete, case.seed


def check_room(case: Case) -> None:
    """Apply the case to a room's document, with a restart after the deliveries."""
    document, finished = opened([]), 0
    for update in case.deliveries:
        finished += len(document.apply([QueuedUpdate(PEER, validate_update(update))]))
    check_partial(read(document.ydoc.get_update()), case, is_complete=not document.pending())
    rows = [*document.outbox, document.encode_received_pending()]
    for again in (document, opened(rows)):
        for update in case.rest:
            again.apply([QueuedUpdate(PEER, validate_update(update))])
        assert read(again.ydoc.get_update()) == case.complete, case.seed
        assert not again.pending(), case.seed
        assert read(
            opened(again.outbox if again is document else [*rows, *again.outbox]).ydoc.get_update()
        ) == (case.complete), case.seed


def check_replica(case: Case) -> None:
    """Apply the case to the document of a session or of `connect()`, and its updates to another one."""
    document, copy = Document(None), Document(None)
    for update in case.deliveries:
        document.apply(update)
    check_partial(read(document.diff(None)), case, is_complete=document.oldest_pending is None)
    for update in case.rest:
        document.apply(update)
    assert read(document.diff(None)) == case.complete, case.seed
    assert document.oldest_pending is None, case.seed
    for update in document.take_updates():
        copy.apply(update)
    assert read(copy.diff(None)) == case.complete, case.seed


def test_S6_reordered_updates_give_the_document_of_yjs() -> None:
    for case in cases(0, SEEDS):
        check_room(case)
        check_replica(case)


@pytest.mark.soak
@pytest.mark.parametrize("first", range(0, SOAK_SEEDS, SEEDS_PER_PROCESS))
def test_S6_reordered_updates_give_the_document_of_yjs_soak(first: int) -> None:
    for case in cases(first, SEEDS_PER_PROCESS):
        check_room(case)
        check_replica(case)


def test_S6_three_updates_of_one_client_in_any_order_are_applied() -> None:
    updates = [
        base64.b64decode(update)
        for update in (
            "AQHP4ukDAAgBAWECfQB3AXEA",
            "AQHP4ukDAsjP4ukDAM/i6QMBAn0CdwFxAA==",
            "AQHP4ukDBCgBBXN0YXRlAXgBdwJ2NAA=",
        )
    ]
    for order in ((1, 2, 0), (2, 1, 0), (2, 0, 1)):
        document = Document(None)
        for index in order:
            document.apply(updates[index])
        content = read(document.diff(None))
        assert (content["state"], len(content["a"])) == ({"x": "v4"}, 4), order
