"""CPU time of connections: the budget, its charge for applied updates, and limits of expensive updates (rule N3)."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import pytest
from pycrdt import Array, Doc

from streamlit_crdt_server import Room, Settings, protocol
from streamlit_crdt_server.errors import UpdateRefusedError
from streamlit_crdt_server.protocol import CloseCode
from streamlit_crdt_server.room.batch import BatchApplication, QueuedUpdate
from streamlit_crdt_server.room.cpu_budget import CpuBudget
from streamlit_crdt_server.room.message_validation import SLICE_BYTES, validate_in_slices
from streamlit_crdt_server.yjs.lib0 import encode_varuint
from streamlit_crdt_server.yjs.room_doc import RoomDoc
from streamlit_crdt_server.yjs.safe_apply import ValidatedUpdate, validate_update
from streamlit_crdt_server.yjs.surrogate_pairs import SurrogatePairs
from streamlit_crdt_server.yjs.update_decoder import decode_state_vector
from streamlit_crdt_server.yjs.update_order import UpdateOrder
from tests.server.support.expensive_updates import ARRAY, encode, row, struct
from tests.server.support.fake_channel import connected, until

pytestmark = pytest.mark.anyio


def competing(count: int, first_replica: int) -> bytes:
    """Encode a row, and as many structs of other replicas at its start, each of which is compared with the row."""
    first = first_replica
    others = ((first + n, [struct(ARRAY, right=(first, count - n))]) for n in range(2, count))
    return encode([row(count, ARRAY, first), *others])


def value_of(elements: int) -> bytes:
    """Encode one entry of a list: a list of numbers."""
    return encode([(7, [struct((8, b"\1\x75" + encode_varuint(elements) + b"\x7e" * elements))])])


class ChargedPeer:
    """A peer that records what it is charged, up to a limit."""

    def __init__(self, max_charged_s: float = inf) -> None:
        self.session: str | None = None
        self.is_leaving = False
        self.charged_s = 0.0
        self._max_charged_s = max_charged_s

    def deliver(self, frame: bytes, update: bytes | None) -> None: ...

    def request_state(self, vector: bytes) -> None: ...

    def disconnect(self, code: CloseCode, reason: str) -> None: ...

    def charge(self, cpu_s: float) -> bool:
        self.charged_s += cpu_s
        return self.charged_s > self._max_charged_s


def application(
    updates: Sequence[tuple[ChargedPeer, ValidatedUpdate]], max_s: float, ydoc: RoomDoc | None = None
) -> tuple[BatchApplication, UpdateOrder[QueuedUpdate | None]]:
    ydoc = ydoc or RoomDoc()
    clocks = decode_state_vector(ydoc.get_state())
    order: UpdateOrder[QueuedUpdate | None] = UpdateOrder(clocks)
    order.max_structs = sum(clocks.values())
    for peer, update in updates:
        order.put(update, QueuedUpdate(peer, update))
    return BatchApplication(ydoc, order, SurrogatePairs(), Room().log, max_s), order


def test_N3_debt_is_paid_with_time() -> None:
    now_s = [0.0]
    limits = {"max_cpu_ms_per_s_per_connection": 100, "max_cpu_burst_ms_per_connection": 1000}
    settings = Settings(**limits, max_cpu_debt_ms_per_connection=5000)
    budget = CpuBudget(settings, lambda: now_s[0])
    budget.charge(1.0)
    assert budget.delay_s() == 0
    budget.charge(1.0)
    assert budget.is_in_debt
    assert budget.delay_s() == pytest.approx(10, rel=0.01)
    now_s[0] = 5.0
    assert budget.delay_s() == pytest.approx(5, rel=0.01)
    now_s[0] = 100.0
    budget.charge(1.5)
    assert budget.delay_s() == pytest.approx(5, rel=0.01)  # an idle time adds no more than the burst
    budget.charge(6.0)
    assert budget.is_exceeded


def test_N3_application_ends_after_its_time() -> None:
    peer = ChargedPeer()
    updates = [(peer, validate_update(encode([row(3, replica=number)]))) for number in range(1, 6)]
    applying, order = application(updates, max_s=0.0)
    assert [len(applying.apply()) for _ in range(6)] == [1, 1, 1, 1, 1, 0]
    assert not order.has_ready


def test_N3_application_is_charged_to_the_sender() -> None:
    ada, eve = ChargedPeer(), ChargedPeer()
    expensive = validate_update(competing(300, 1000))
    applying, _ = application([(ada, validate_update(encode([row(1)]))), (eve, expensive)], max_s=10.0)
    applied = applying.apply()
    assert {entry.peer for entry in applied} == {ada, eve}
    assert eve.charged_s > 3 * ada.charged_s > 0


@pytest.mark.parametrize("is_of_many", [False, True])
def test_N3_small_update_of_many_insertions_takes_many_steps(is_of_many: bool) -> None:
    """Each insertion is compared with a row of 20 000 nested lists: all in one step hold the event loop for 0.5 s."""
    ydoc = RoomDoc()
    ydoc.apply_update(encode([row(20_000, ARRAY)]))
    ydoc.observe_changes(lambda change: None)
    own = [struct(ARRAY, right=(1, 19_999 - number)) for number in range(40)]
    blocks = [(7 + number, [struct(ARRAY)]) for number in range(40)] if is_of_many else [(7, own)]
    applying, order = application([(ChargedPeer(), validate_update(encode(blocks)))], 0.0, ydoc)
    flushes = 0
    while order.has_ready:
        flushes += 1
        applying.apply()
    assert flushes >= 8
    assert len(ydoc.get("t", type=Array)) == 20_040


def test_N3_updates_of_a_too_expensive_sender_are_dropped() -> None:
    eve, ada = ChargedPeer(max_charged_s=0.0), ChargedPeer()
    updates = [(eve, validate_update(encode([row(3, replica=number)]))) for number in range(1, 6)]
    updates.insert(4, (ada, validate_update(encode([row(3, replica=9)]))))
    applying, order = application(updates, 0.0)
    assert [len(applying.apply()) for _ in range(3)] == [1, 1, 0]
    assert not order.has_ready and not order.pending_sources()
    assert ada.charged_s > 0


async def test_N3_expensive_updates_are_applied_in_several_flushes() -> None:
    ydoc = RoomDoc()
    ydoc.apply_update(encode([row(60_000, ARRAY)]))  # each insertion at its start is compared with all of it
    async with Room(ydoc=ydoc) as room, connected(room) as ada, connected(room) as eve:
        seen = len(ada.channel.sent)
        for replica in range(100, 110):
            eve.channel.put(protocol.sync_update(encode([(replica, [struct(ARRAY)])])))
        eve.channel.put(protocol.saved_query(1))
        await until(lambda: room.document.has_ready and room.persister.is_idle)
        assert room.pipeline.has_unsaved
        await until(lambda: any(frame[:1] == b"\x66" for frame in eve.channel.sent))
        assert len(room.ydoc.get("t", type=Array)) == 60_010
        assert len([frame for frame in ada.channel.sent[seen:] if frame[:2] == b"\0\2"]) > 1


def test_N3_structs_that_compete_across_slices_are_refused() -> None:
    update = competing(2400, 1000)
    assert len(update) > SLICE_BYTES
    with pytest.raises(UpdateRefusedError, match="compete"):
        validate_in_slices(update)


def test_N3_value_with_too_many_elements_is_refused() -> None:
    with pytest.raises(UpdateRefusedError, match="too many elements"):
        validate_in_slices(value_of(1_000_001))


def test_N3_many_values_in_one_list_are_accepted() -> None:
    document: Doc[object] = Doc()
    for each in validate_in_slices(value_of(60_000)):
        document.apply_update(each.data)
    assert len(document.get("t", type=Array)) == 1
