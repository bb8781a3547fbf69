"""Updates that arrive reordered, repeated, merged or late, compared with Yjs (rule S6)."""

from __future__ import annotations

import base64
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from streamlit_crdt.document.document import Document
from streamlit_crdt_server import Settings
from streamlit_crdt_server.room.batch import QueuedUpdate
from streamlit_crdt_server.room.document import RoomDocument
from streamlit_crdt_server.yjs.room_doc import RoomDoc
from streamlit_crdt_server.yjs.safe_apply import validate_update
from tests.support.hostile_trials import PEER
from tests.support.reordered_updates import Case, cases, read

SEEDS = 750
SOAK_SEEDS = 100_000
SEEDS_PER_PROCESS = 1_000

LOG = logging.getLogger(__name__)


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


def deliver(case: Case) -> RoomDocument:
    """Return a room's document after the deliveries."""
    document = opened([])
    for update in case.deliveries:
        document.apply([QueuedUpdate(PEER, validate_update(update))])
    check_partial(read(document.ydoc.get_update()), case, is_complete=not document.pending())
    return document


def complete(document: RoomDocument, case: Case) -> None:
    """Apply the rest of a case to a room's document."""
    for update in case.rest:
        document.apply([QueuedUpdate(PEER, validate_update(update))])
    assert read(document.ydoc.get_update()) == case.complete, case.seed
    assert not document.pending(), case.seed


def check_room(case: Case) -> None:
    """Apply the case to a room's document, and load its log."""
    document = deliver(case)
    complete(document, case)
    assert read(opened(document.outbox).ydoc.get_update()) == case.complete, case.seed


def check_restarted_room(case: Case) -> None:
    """Apply the case to a room's document, with a restart after the deliveries."""
    before = deliver(case)
    complete(opened([*before.outbox, before.encode_received_pending()]), case)


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


CHECKS = (check_room, check_restarted_room, check_replica)


def test_S6_reordered_updates_give_the_document_of_yjs() -> None:
    """Give each seed to one check. Three seeds share a history of edits, so that each history gets every check."""
    for case in cases(0, SEEDS):
        CHECKS[case.seed % len(CHECKS)](case)


@pytest.mark.soak
@pytest.mark.parametrize("first", range(SEEDS, SOAK_SEEDS, SEEDS_PER_PROCESS))
def test_S6_reordered_updates_give_the_document_of_yjs_soak(first: int) -> None:
    for case in cases(first, SEEDS_PER_PROCESS):
        for check in CHECKS:
            check(case)


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
