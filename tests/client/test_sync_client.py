"""What a program in a room sends, and what it believes, without a network."""

from __future__ import annotations

import pytest

from streamlit_crdt.client.errors import RoomDeletedError
from streamlit_crdt.client.server_messages import News, Question, SavedAnswer, read
from streamlit_crdt.client.sync_client import SyncClient
from streamlit_crdt.document.replica import MAX_LOG_UPDATES, ROOM, Replica
from streamlit_crdt_server import MalformedFrameError, protocol
from streamlit_crdt_server.protocol import SaveStatus, StoreLevel

EPOCH = "0" * 32
QUERY = protocol.MessageType.SAVED


class Server:
    """The other end: a replica that takes in what is sent, and answers when it is told to."""

    def __init__(self, exchange: SyncClient) -> None:
        self.exchange = exchange
        self.replica = Replica()
        self.asked: list[int] = []

    def meet(self) -> None:
        """Open a connection, and exchange what each lacks."""
        opening = read(self.exchange.open())
        assert isinstance(opening, Question)
        self.exchange.receive(protocol.sync_step1(self.replica.state_vector()))
        self.exchange.receive(protocol.sync_step2(self.replica.diff(opening.state_vector)))
        self.look()

    def look(self) -> None:
        """Take in what the program sends now."""
        for frame in self.exchange.take():
            if frame[0] == QUERY:
                self.asked.append(frame[-1])
            elif isinstance(message := read(frame), News):
                self.replica.apply(message.update, origin=ROOM)

    def answer(self, version: int, status: SaveStatus = SaveStatus.SAVED, epoch: str = EPOCH) -> None:
        self.exchange.receive(protocol.saved_answer(version, StoreLevel.DISK, status, epoch))


@pytest.fixture
def server() -> Server:
    """A server that a program has met, and that has told its epoch."""
    met = Server(SyncClient("room", lambda: None))
    met.meet()
    met.answer(0)
    assert met.exchange.enter()
    return met


def edit(server: Server, *keys: str) -> None:
    for key in keys:
        server.exchange.replica.set(key, key)


def test_s5_an_edit_is_saved_when_the_server_says_so_and_not_before(server: Server) -> None:
    edit(server, "a")
    server.look()
    progress = server.exchange.progress
    assert (server.asked, progress.unsaved) == ([0, 1], 1)
    server.answer(1)
    assert progress.unsaved == 0


def test_s5_an_answer_to_another_question_confirms_nothing(server: Server) -> None:
    edit(server, "a")
    server.look()
    edit(server, "b")
    server.look()
    server.answer(0)
    server.answer(2)
    assert (server.asked, server.exchange.progress.unsaved) == ([0, 1], 2)
    server.answer(1)
    server.look()
    assert (server.asked, server.exchange.progress.unsaved) == ([0, 1, 2], 1)


def test_s5_a_connection_that_is_lost_takes_its_answer_along(server: Server) -> None:
    edit(server, "a")
    server.look()
    server.exchange.close("lost")
    server.answer(1)
    assert server.exchange.progress.unsaved == 1
    server.meet()
    server.answer(1)
    assert server.exchange.progress.unsaved == 0


def test_s4_a_store_that_fails_confirms_nothing_until_it_is_mended(server: Server) -> None:
    edit(server, "a")
    server.look()
    server.answer(0, SaveStatus.FAILING)
    assert server.exchange.progress.is_failing and server.exchange.progress.unsaved == 1
    server.answer(1)
    assert not server.exchange.progress.is_failing and server.exchange.progress.unsaved == 0


def test_a1_what_the_server_denies_is_not_saved_whatever_it_answers(server: Server) -> None:
    edit(server, "a")
    server.look()
    server.exchange.receive(protocol.permission_denied("no"))
    server.answer(1)
    assert server.exchange.progress.unsaved == 1


def test_r3_what_the_log_no_longer_holds_is_sent_all_the_same(server: Server) -> None:
    edit(server, "gone")
    server.look()
    server.exchange.replica.delete("gone")
    edit(server, *(f"k{number}" for number in range(MAX_LOG_UPDATES + 10)))
    server.look()
    assert dict(server.replica.items()) == dict(server.exchange.replica.items())
    assert "gone" not in server.replica


def test_r3_what_a_connection_lost_on_its_way_is_sent_by_the_next(server: Server) -> None:
    edit(server, "a")
    server.exchange.take()
    server.exchange.replica.delete("a")
    edit(server, "b")
    server.exchange.take()
    server.exchange.close("lost")
    server.meet()
    assert dict(server.replica.items()) == {"b": "b"}


def test_a_large_value_that_was_overwritten_often_while_away_is_sent_once(server: Server) -> None:
    server.exchange.close("lost")
    for number in range(40):
        server.exchange.replica.begin_group()
        server.exchange.replica.set("large", f"{number}{'x' * 1_000_000}")
    server.exchange.open()
    server.exchange.receive(protocol.sync_step1(server.replica.state_vector()))
    frames = server.exchange.take()
    assert sum(map(len, frames)) < 2_000_000
    server.exchange.close("lost")
    server.meet()
    assert str(server.replica.get("large")).startswith("39x")
    assert server.exchange.replica.undo()
    server.look()
    assert str(server.replica.get("large")).startswith("38x")


def test_r6_what_comes_from_the_server_is_not_sent_back(server: Server) -> None:
    server.replica.set("a", 1)
    server.exchange.receive(protocol.sync_update(server.replica.diff()))
    assert server.exchange.take() == []
    assert server.exchange.progress.unsaved == 0


def test_another_epoch_ends_it(server: Server) -> None:
    server.answer(0, epoch="1" * 32)
    assert isinstance(server.exchange.progress.fault, RoomDeletedError)


def test_a_connection_that_is_lost_before_the_epoch_is_known_leaves_nothing_of_the_room() -> None:
    """It may have been deleted since."""
    first = Server(SyncClient("room", lambda: None))
    first.replica.set("old", 1)
    first.meet()
    assert not first.exchange.enter()
    first.exchange.close("lost")
    second = Server(first.exchange)
    second.meet()
    second.answer(0)
    assert second.exchange.enter()
    assert "old" not in second.replica and "old" not in second.exchange.replica


def test_a_server_that_never_answers_is_asked_for_its_document_instead() -> None:
    exchange = SyncClient("room", lambda: None)
    stock = Server(exchange)
    stock.meet()
    exchange.progress.set(is_silent=True)
    assert exchange.enter()
    edit(stock, "a")
    stock.look()
    assert exchange.progress.arrived == 0
    exchange.receive(protocol.sync_step2(stock.replica.diff()))
    assert (exchange.progress.arrived, exchange.progress.unsaved) == (1, 1)


@pytest.mark.parametrize("frame", [b"\x66\x01", b"\x66\x04\x00\x02\x09\x00", b"\x00\x02\x05a", b"\xff"])
def test_n2_a_malformed_frame_is_refused(server: Server, frame: bytes) -> None:
    with pytest.raises(MalformedFrameError):
        server.exchange.receive(frame)


def test_an_answer_is_read_as_it_was_written() -> None:
    frame = protocol.saved_answer(300, StoreLevel.MEMORY, SaveStatus.REFUSED, EPOCH)
    assert read(frame) == SavedAnswer(300, 1, SaveStatus.REFUSED, EPOCH)
