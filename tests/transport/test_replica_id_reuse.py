"""Sessions that continue with the replica ids of former sessions (N4)."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from streamlit_crdt.document.replica import LOCAL, Replica
from streamlit_crdt.merge import RULES
from streamlit_crdt.testing.network import MemoryServer, SimulatedNetwork
from streamlit_crdt.transport.connection import RoomConnection
from streamlit_crdt_server.yjs.update_decoder import decode_state_vector

COUNTER, TEXT = RULES["counter"], RULES["text"]


@pytest.fixture
def server() -> Iterator[MemoryServer]:
    with MemoryServer() as server:
        yield server


def enter(server: MemoryServer) -> RoomConnection:
    connection = RoomConnection("room", SimulatedNetwork(server))
    connection.attach()
    return connection


def leave(connection: RoomConnection) -> None:
    connection.unsaved.wait(30)
    connection.close()
    connection.end()


def increment(replica: Replica) -> None:
    replica.change("clicks", COUNTER, 0, lambda clicks: clicks + 1)


def ids_in(replica: Replica) -> dict[int, int]:
    return decode_state_vector(replica.state_vector())


def test_N4_sessions_in_turn_leave_one_replica_id(server: MemoryServer) -> None:
    seed_ids = 1
    for _ in range(20):
        connection = enter(server)
        increment(connection.replica)
        connection.replica.set("name", "Ada")
        leave(connection)
    last = enter(server)
    assert last.replica.get("clicks") == 20
    assert len(ids_in(last.replica)) == 1 + seed_ids


def test_N4_unsaved_session_does_not_return_its_id(server: MemoryServer) -> None:
    first = enter(server)
    increment(first.replica)
    first.unsaved.wait(30)
    first.close()
    increment(first.replica)  # reaches no room
    first.end()
    second = enter(server)
    increment(second.replica)
    assert second.replica.replica_id != first.replica.birth_id
    assert second.replica.get("clicks") == 2


def test_N4_edit_after_the_end_has_another_replica_id(server: MemoryServer) -> None:
    first = enter(server)
    increment(first.replica)
    leave(first)
    second = enter(server)
    assert second.replica.replica_id == first.replica.birth_id
    increment(first.replica)
    increment(second.replica)
    assert first.replica.replica_id != second.replica.replica_id
    first.attach()
    second.drain()
    assert second.replica.get("clicks") == 3


def test_N4_id_is_not_reused_if_the_room_lacks_its_edits() -> None:
    former, room = Replica(), Replica()
    former.set("a", 1)
    room.apply(former.diff())
    former.set("b", 2)
    replica = Replica()
    assert not replica.reuse_id(*former.retire(), room.diff())
    assert replica.get("a") == 1 and replica.replica_id not in ids_in(room)
    assert Replica().reuse_id(*former.retire(), former.diff())


def test_N4_reused_id_makes_valid_updates_and_can_be_undone() -> None:
    former = Replica()
    former.set("a", 1)
    replica, updates = Replica(), list[bytes]()
    assert replica.reuse_id(*former.retire(), former.diff())
    replica.subscribe(lambda update, origin: updates.append(update) if origin == LOCAL else None)
    replica.begin_group()
    replica.set("a", 2)
    assert former.apply(updates[-1]) == {"a"} and former.get("a") == 2
    replica.undo()
    assert former.apply(updates[-1]) == {"a"} and former.get("a") == 1


def test_N4_sessions_that_come_and_go_lose_no_edit(server: MemoryServer) -> None:
    """The sum and the texts of all sessions are in the room, whichever ids they reused."""
    for seed in range(3):
        random, sessions, clicks, words = Random(seed), list[RoomConnection](), 0, set[str]()
        room = f"room{seed}"
        for number in range(60):
            if not sessions or (len(sessions) < 4 and random.random() < 0.4):
                connection = RoomConnection(room, SimulatedNetwork(server))
                connection.attach()
                sessions.append(connection)
            connection = random.choice(sessions)
            connection.drain()
            if random.random() < 0.4:
                sessions.remove(connection)
                leave(connection)
                continue
            increment(connection.replica)
            text = connection.replica.get("text", "")
            connection.replica.edit("text", text, f"{text} {number}.", TEXT)
            clicks += 1
            words.add(f"{number}.")
        last = RoomConnection(room, SimulatedNetwork(server))
        last.attach()
        assert last.replica.get("clicks") == clicks, f"seed {seed}"
        assert sorted(last.replica.get("text").split()) == sorted(words), f"seed {seed}"
        assert len(ids_in(last.replica)) <= 4 + 2, f"seed {seed}"


def test_N4_tab_sees_another_session_behind_a_reused_id() -> None:
    former = Replica()
    former.set("a", 1)
    replica = Replica()
    replica.reuse_id(*former.retire(), former.diff())
    assert replica.replica_id == former.replica_id
    assert replica.birth_id != former.birth_id
