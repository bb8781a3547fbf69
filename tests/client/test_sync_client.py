"""`SyncClient` without a network: the frames that it sends, and its save status."""

from __future__ import annotations

import os

import pytest

from streamlit_crdt.client.errors import RoomDeletedError
from streamlit_crdt.client.sync_client import MAX_SENT_FRAME_BYTES, SyncClient
from streamlit_crdt.document.replica import ROOM, Replica
from streamlit_crdt.document.update_log import MAX_LOG_UPDATES
from streamlit_crdt.errors import UpdateRefusedError
from streamlit_crdt_server import MalformedFrameError, protocol
from streamlit_crdt_server.protocol import (
    FragmentBuffer,
    SavedAnswer,
    SaveStatus,
    StoreLevel,
    SyncStep1,
    SyncStep2,
    SyncUpdate,
    parse_server_frame,
)
from streamlit_crdt_server.yjs.update_order import MAX_PENDING_BYTES

EPOCH = "0" * 32
SAVED = protocol.MessageType.SAVED


class Server:
    """A fake server: a replica that applies received frames, and answers on request."""

    def __init__(self, client: SyncClient) -> None:
        self.client = client
        self.replica = Replica()
        self.queries: list[int] = []

    def connect(self) -> None:
        """Open a connection, and sync both replicas."""
        opening = parse_server_frame(self.client.open())
        assert isinstance(opening, SyncStep1)
        self.client.receive(protocol.sync_step1(self.replica.state_vector()))
        self.client.receive(protocol.sync_step2(self.replica.diff(opening.state_vector)))
        self.receive_frames()

    def receive_frames(self) -> None:
        """Apply the frames that the client sends now."""
        for frame in self.client.next_frames():
            if frame[0] == SAVED:
                self.queries.append(frame[-1])
            elif isinstance(message := parse_server_frame(frame), SyncStep2 | SyncUpdate):
                self.replica.apply(message.update, origin=ROOM)

    def answer(self, version: int, status: SaveStatus = SaveStatus.SAVED, epoch: str = EPOCH) -> None:
        self.client.receive(protocol.saved_answer(version, StoreLevel.DISK, status, epoch))


@pytest.fixture
def server() -> Server:
    """A server to which a client is connected, after it has reported its epoch."""
    connected = Server(SyncClient("room", lambda: None))
    connected.connect()
    connected.answer(0)
    assert connected.client.enter()
    return connected


def edit(server: Server, *keys: str) -> None:
    for key in keys:
        server.client.replica.set(key, key)


def test_S5_edit_is_saved_once_the_server_confirms_it(server: Server) -> None:
    edit(server, "a")
    server.receive_frames()
    progress = server.client.progress
    assert (server.queries, progress.unsaved_count) == ([0, 1], 1)
    server.answer(1)
    assert progress.unsaved_count == 0


def test_S5_answer_to_another_query_confirms_nothing(server: Server) -> None:
    edit(server, "a")
    server.receive_frames()
    edit(server, "b")
    server.receive_frames()
    server.answer(0)
    server.answer(2)
    assert (server.queries, server.client.progress.unsaved_count) == ([0, 1], 2)
    server.answer(1)
    server.receive_frames()
    assert (server.queries, server.client.progress.unsaved_count) == ([0, 1, 2], 1)


def test_S5_answer_after_a_lost_connection_is_ignored(server: Server) -> None:
    edit(server, "a")
    server.receive_frames()
    server.client.close("lost")
    server.answer(1)
    assert server.client.progress.unsaved_count == 1
    server.connect()
    server.answer(1)
    assert server.client.progress.unsaved_count == 0


def test_S4_failing_store_confirms_nothing_until_it_recovers(server: Server) -> None:
    edit(server, "a")
    server.receive_frames()
    server.answer(0, SaveStatus.FAILING)
    assert server.client.progress.is_failing and server.client.progress.unsaved_count == 1
    server.answer(1)
    assert not server.client.progress.is_failing and server.client.progress.unsaved_count == 0


def test_A1_denied_edit_stays_unsaved(server: Server) -> None:
    edit(server, "a")
    server.receive_frames()
    server.client.receive(protocol.permission_denied("no"))
    server.answer(1)
    assert server.client.progress.unsaved_count == 1


def test_R3_updates_dropped_from_the_log_are_sent(server: Server) -> None:
    edit(server, "gone")
    server.receive_frames()
    server.client.replica.delete("gone")
    edit(server, *(f"k{number}" for number in range(MAX_LOG_UPDATES + 10)))
    server.receive_frames()
    assert dict(server.replica.items()) == dict(server.client.replica.items())
    assert "gone" not in server.replica


def test_R3_updates_of_a_lost_connection_are_sent_again(server: Server) -> None:
    edit(server, "a")
    server.client.next_frames()
    server.client.replica.delete("a")
    edit(server, "b")
    server.client.next_frames()
    server.client.close("lost")
    server.connect()
    assert dict(server.replica.items()) == {"b": "b"}


def test_large_value_overwritten_while_offline_is_sent_once(server: Server) -> None:
    server.client.close("lost")
    for number in range(40):
        server.client.replica.begin_group()
        server.client.replica.set("large", f"{number}{'x' * 1_000_000}")
    server.client.open()
    server.client.receive(protocol.sync_step1(server.replica.state_vector()))
    frames = server.client.next_frames()
    assert sum(map(len, frames)) < 2_000_000
    server.client.close("lost")
    server.connect()
    assert str(server.replica.get("large")).startswith("39x")
    assert server.client.replica.undo()
    server.receive_frames()
    assert str(server.replica.get("large")).startswith("38x")


def test_R6_update_from_the_server_is_not_sent_back(server: Server) -> None:
    server.replica.set("a", 1)
    server.client.receive(protocol.sync_update(server.replica.diff()))
    assert server.client.next_frames() == []
    assert server.client.progress.unsaved_count == 0


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def consecutive_updates(count: int, size: int = 1) -> list[bytes]:
    """Return updates of one replica. Each depends on the earlier ones."""
    author, updates = Replica(), list[bytes]()
    author.subscribe(lambda update, _: updates.append(update))
    for number in range(count):
        author.set(f"k{number}", "x" * size)
    return updates


def test_S6_client_requests_the_updates_that_the_server_left_out() -> None:
    clock, woken = Clock(), list[float]()
    gapped = Server(SyncClient("room", lambda: woken.append(clock.now), clock=clock))
    gapped.connect()
    gapped.answer(0)
    first, second = consecutive_updates(2)
    gapped.replica.apply(first)
    woken.clear()
    gapped.client.receive(protocol.sync_update(second))
    assert woken and gapped.client.next_frames() == [] and gapped.client.wait_s == 1.0
    clock.now = 1.0
    (frame,) = gapped.client.next_frames()
    request = parse_server_frame(frame)
    assert isinstance(request, SyncStep1)
    assert gapped.client.next_frames() == [] and gapped.client.wait_s == 1.0
    gapped.client.receive(protocol.sync_step2(gapped.replica.diff(request.state_vector)))
    assert gapped.client.replica.keys() == ["k0", "k1"]
    clock.now = 2.0
    assert gapped.client.next_frames() == [] and gapped.client.wait_s is None


def test_N3_permanent_gap_causes_ever_fewer_requests() -> None:
    clock, requests = Clock(), 0
    gapped = Server(SyncClient("room", lambda: None, clock=clock))
    gapped.connect()
    gapped.answer(0)
    for update in consecutive_updates(200)[1:]:
        gapped.client.receive(protocol.sync_update(update))
        requests += len(gapped.client.next_frames())
        clock.now += 5.0
    assert 2 <= requests <= 10  # 2 to the power of 10 seconds


def test_S6_client_recovers_from_more_pending_updates_than_it_takes(server: Server) -> None:
    first, *others = consecutive_updates(MAX_PENDING_BYTES // 100_000 + 2, size=100_000)
    with pytest.raises(UpdateRefusedError):
        for update in others:
            server.client.receive(protocol.sync_update(update))
    for update in (first, *others):
        server.replica.apply(update)
    server.client.close("an update was refused")
    server.connect()
    assert server.client.replica.keys() == server.replica.keys()


def test_other_epoch_ends_the_client(server: Server) -> None:
    server.answer(0, epoch="1" * 32)
    assert isinstance(server.client.progress.fault, RoomDeletedError)


def test_replica_is_discarded_if_the_epoch_was_unknown() -> None:
    # The room may have been deleted between the two connections.
    first = Server(SyncClient("room", lambda: None))
    first.replica.set("old", 1)
    first.connect()
    assert not first.client.enter()
    first.client.close("lost")
    second = Server(first.client)
    second.connect()
    second.answer(0)
    assert second.client.enter()
    assert "old" not in second.replica and "old" not in second.client.replica


def test_server_without_save_status_is_sent_sync_step1() -> None:
    client = SyncClient("room", lambda: None)
    stock = Server(client)
    stock.connect()
    client.progress.set(lacks_save_status=True)
    assert client.enter()
    edit(stock, "a")
    stock.receive_frames()
    assert client.progress.received_count == 0
    client.receive(protocol.sync_step2(stock.replica.diff()))
    assert (client.progress.received_count, client.progress.unsaved_count) == (1, 1)


@pytest.mark.parametrize("frame", [b"\x66\x01", b"\x66\x04\x00\x02\x09\x00", b"\x00\x02\x05a", b"\xff"])
def test_N2_malformed_frame_is_rejected(server: Server, frame: bytes) -> None:
    with pytest.raises(MalformedFrameError):
        server.client.receive(frame)


def test_saved_answer_decodes_to_its_encoded_fields() -> None:
    frame = protocol.saved_answer(300, StoreLevel.MEMORY, SaveStatus.REFUSED, EPOCH)
    assert parse_server_frame(frame) == SavedAnswer(300, 1, SaveStatus.REFUSED, EPOCH)


def test_R3_large_diff_leaves_in_pieces_and_step2_is_last(server: Server) -> None:
    server.client.close("test")
    with server.client.replica.transaction():
        for number in range(40):
            server.client.replica.set(f"k{number}", os.urandom(100_000))
    server.client.open()
    server.client.receive(protocol.sync_step1(server.replica.state_vector()))
    frames = [frame for frame in server.client.next_frames() if frame[0] != SAVED]
    assert max(map(len, frames)) <= MAX_SENT_FRAME_BYTES + 8
    assert [frame[1] for frame in frames] == [protocol.SyncType.UPDATE] * (len(frames) - 1) + [
        protocol.SyncType.STEP2
    ]
    for frame in frames:
        message = parse_server_frame(frame)
        assert isinstance(message, SyncStep2 | SyncUpdate)
        server.replica.apply(message.update)
    assert len(server.replica) == 40


def test_large_value_leaves_in_fragments_only_if_the_server_takes_them(server: Server) -> None:
    server.client.replica.set("whole", os.urandom(50_000))
    uncut = server.client.next_frames()
    assert max(map(len, uncut)) > 50_000
    server.client.receive(protocol.fragment_limits(10_000))
    server.client.replica.set("cut", os.urandom(50_000))
    messages = server.client.next_frames()
    assert max(map(len, messages)) <= 10_000
    buffer = FragmentBuffer()
    for message in (*uncut, *messages):
        if (whole := buffer.receive(message)) is not None and whole[0] != SAVED:
            update = parse_server_frame(whole)
            assert isinstance(update, SyncUpdate)
            server.replica.apply(update.update)
    assert "cut" in server.replica


def test_fragments_of_the_server_are_one_frame(server: Server) -> None:
    server.replica.set("large", os.urandom(50_000))
    frame = protocol.sync_update(server.replica.diff())
    for message in protocol.fragments(frame, 10_000):
        assert "large" not in server.client.replica
        server.client.receive(message)
    assert "large" in server.client.replica
