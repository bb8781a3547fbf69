"""Frames of a hostile server: `connect()` neither hangs nor grows, and an honest server saves its edits afterwards.

The client enters the room at an honest server. Then the server behind the same address changes.
"""

from __future__ import annotations

import asyncio
import itertools
import struct
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from streamlit_crdt import (
    EditsNotSavedError,
    JobRoom,
    RoomDeletedError,
    ServerUnavailableError,
    ViewOnlyError,
    connect,
)
from streamlit_crdt.client.sync_client import SyncClient
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.errors import UpdateRefusedError
from streamlit_crdt_server import CloseCode, EmbeddedServer, Settings, protocol
from streamlit_crdt_server.protocol import SaveStatus, StoreLevel, saved_answer
from streamlit_crdt_server.yjs.lib0 import encode_bytes, encode_varuint
from tests.support.hostile_server import HOST, HostileServer, Victim, hostile_server

DEADLINE_S = 60.0
REPLICA = 77
"""Replica id of hostile content."""

Send = Callable[[Victim], Awaitable[None]]


@pytest.fixture(scope="module")
def honest() -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(Settings(port=0, require_token=False))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def server(honest: EmbeddedServer) -> Iterator[HostileServer]:
    with hostile_server(None, honest.port) as running:
        yield running


@pytest.fixture
def room_name(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)[:100]


def item(clock: int, size_bytes: int) -> bytes:
    """Encode an update with one value at a clock. The units before it are missing unless it is 0."""
    head = encode_varuint(1) + encode_varuint(1) + encode_varuint(REPLICA) + encode_varuint(clock)
    return head + b"\x04\x01\x01a" + encode_bytes(b"x" * size_bytes) + b"\0"


def after_sync(send: Send) -> Send:
    """Sync the client before `send`, and read until it closes."""

    async def attack(victim: Victim) -> None:
        await victim.accept()
        await victim.sync(None)
        await send(victim)
        await victim.read_all()

    return attack


def answering(send: Send) -> Send:
    """Call `send` for each read of what the client sends after the sync."""

    async def attack(victim: Victim) -> None:
        await victim.accept()
        await victim.sync(None)
        while await victim.reader.read(65536):
            await send(victim)

    return attack


def repeating(message: bytes, count: int) -> Send:
    async def send(victim: Victim) -> None:
        for _ in range(count):
            await victim.send(message)
        await victim.close(CloseCode.TRY_AGAIN_LATER)

    return after_sync(send)


async def pending(victim: Victim) -> None:
    for number in itertools.count(1):
        await victim.send(protocol.sync_update(item(2 * number, 100_000)))


async def fragments_without_end(victim: Victim) -> None:
    while True:
        await victim.send(b"\x69\x01" + bytes(16 * 1024 * 1024))


async def continuations_without_end(victim: Victim) -> None:
    """Send a message in frames. The client must close when it is too large, and drop no more than for a second."""
    await victim.send_raw(b"\x02\x7f" + struct.pack("!Q", 2**40))
    while True:
        await victim.send_raw(bytes(1_000_000))


async def pings_without_reading(victim: Victim) -> None:
    await victim.accept()
    await victim.sync(None)
    while victim.sent_bytes < 200_000_000:
        await victim.ping(100)
    pytest.fail("the client answers pings that are not read without a limit")


async def byte_by_byte(victim: Victim) -> None:
    await victim.accept()
    for byte in (b"\x82\x20" + bytes(20)) * 3:
        await victim.send_raw(bytes((byte,)))
    await victim.read_all()


async def all_close_codes(victim: Victim) -> None:
    await victim.accept()
    number = next(_CODES)
    await victim.close(number)
    await victim.read_all()


_CODES = itertools.cycle(
    (0, 999, 1000, 1001, 1004, 1005, 1006, 1011, 1012, 3000, 4300, 4302, 4400, 4413, 65535)
)


async def redirect(victim: Victim) -> None:
    await victim.send_raw(b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/room\r\n\r\n")


async def no_upgrade(victim: Victim) -> None:
    await victim.send_raw(b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 100_000 + b"\r\n")


async def huge_vector(victim: Victim) -> None:
    await victim.accept()
    count = 1_500_000
    entries = b"".join(encode_varuint(2**21 + number) + b"\1" for number in range(1000)) * (count // 1000)
    await victim.send(protocol.sync_step1(encode_varuint(count) + entries))
    await victim.read_all()


async def vector_of_the_future(victim: Victim) -> None:
    await victim.accept()
    await victim.send(protocol.sync_step1(b"\x01" + encode_varuint(2**53 - 1) + encode_varuint(2**53 - 1)))
    await victim.send(protocol.sync_step1(b"\x01" + encode_varuint(2**53 - 1) + encode_varuint(2**60)))
    await victim.read_all()


async def answer_of_the_future(victim: Victim) -> None:
    await victim.send(saved_answer(2**53 - 1, StoreLevel.DISK, SaveStatus.SAVED, "f" * 32))


async def answer_wrongly(victim: Victim) -> None:
    await victim.send(bytes((102, 6, 1, 2, 9, 1, 97, 0)))


ATTACKS: dict[str, Send] = {
    "pings without reading": pings_without_reading,
    "updates that never complete": after_sync(pending),
    "no room for a fragment": repeating(protocol.fragment_limits(0), 1),
    "fragments of one byte": repeating(protocol.fragment_limits(1), 1),
    "a state vector of the future": vector_of_the_future,
    "an unknown save status": answering(answer_wrongly),
    "empty messages": repeating(b"", 10),
    "malformed updates": repeating(protocol.sync_update(b"\xff" * 1000), 1),
    "nested fragments": repeating(b"\x69\x02" * 1000, 1),
    "unknown messages": repeating(b"\x7f" + bytes(1000), 1000),
    "endless presences": repeating(protocol.awareness(()), 1000),
    "endless requests": repeating(protocol.sync_step1(b"\0"), 1000),
    "epochs that are none": after_sync(lambda victim: victim.sync("x\r\nHost: a\r\n\r\n")),
    "long epochs": after_sync(lambda victim: victim.sync("a" * 1_000_000)),
    "one byte after the other": byte_by_byte,
    "closes with every code": all_close_codes,
    "redirects": redirect,
    "another answer than an upgrade": no_upgrade,
}


LARGE_ATTACKS: dict[str, Send] = {
    "fragments without end": after_sync(fragments_without_end),
    "a message without end": after_sync(continuations_without_end),
    "a huge state vector": huge_vector,
}


def replace_server(room: JobRoom, server: HostileServer, attack: Send) -> None:
    """Edit while the server attacks, until an attack has ended."""
    room.state["before"] = 1
    assert room.flush(DEADLINE_S)
    server.set_attack(attack)
    room.state["during"] = "y" * 2000
    server.wait_attacked()
    assert room.unsaved_count == 1
    assert dict(room.state) == {"before": 1, "during": "y" * 2000}


def edit_during_attack(attack: Send, honest: EmbeddedServer, room_name: str) -> None:
    """Edit while the server attacks, and check that the next server gets the edits."""
    with (
        hostile_server(None, honest.port) as server,
        connect(room_name, server=server.address, flush_timeout_s=DEADLINE_S) as room,
    ):
        replace_server(room, server, attack)
        server.set_attack(None)
        assert room.flush(DEADLINE_S)
        with connect(room_name, server=f"ws://{HOST}:{honest.port}") as other:
            assert dict(other.state) == {"before": 1, "during": "y" * 2000}
        # Whatever the server sends, an attack ends. The limit is that of one frame.
        assert sum(victim.sent_bytes for victim in server.victims) < 20 * 128 * 1024 * 1024


def connect_to_attack(attack: Send) -> float:
    """Connect to a server that attacks from the first connection. Return the seconds that it took."""
    began_at = time.monotonic()
    with hostile_server(attack) as server:
        with (
            suppress(ServerUnavailableError, EditsNotSavedError),
            connect("room", server=server.address, timeout_s=0.5, flush_timeout_s=0.1) as room,
        ):
            room.state["a"] = 1
        assert server.victims
    return time.monotonic() - began_at


def test_N2_edits_during_an_attack_are_saved_by_the_next_server(honest: EmbeddedServer) -> None:
    with ThreadPoolExecutor(len(ATTACKS)) as threads:
        runs = {
            name: threads.submit(edit_during_attack, attack, honest, f"attacked{number}")
            for number, (name, attack) in enumerate(ATTACKS.items())
        }
    assert {name: error for name, run in runs.items() if (error := run.exception())} == {}


def test_N2_attack_at_the_first_connection_does_not_block_connect() -> None:
    with ThreadPoolExecutor(len(ATTACKS)) as threads:
        runs = {name: threads.submit(connect_to_attack, attack) for name, attack in ATTACKS.items()}
    assert {name: run.result() for name, run in runs.items() if run.result() > DEADLINE_S / 2} == {}


@pytest.mark.soak
@pytest.mark.parametrize("name", LARGE_ATTACKS)
def test_N2_large_attacks_end_and_the_edits_are_saved(name: str, honest: EmbeddedServer) -> None:
    edit_during_attack(LARGE_ATTACKS[name], honest, name.replace(" ", "_"))
    assert connect_to_attack(LARGE_ATTACKS[name]) < DEADLINE_S / 2


def test_S5_edits_that_a_server_falsely_confirms_reach_the_next_server(
    server: HostileServer, honest: EmbeddedServer, room_name: str
) -> None:
    """A server that claims to have everything gets no edits. The next one has less, and gets them."""

    async def claim_all(victim: Victim) -> None:
        await victim.accept()
        entry = encode_varuint(replica.replica_id) + encode_varuint(2**32 - 1)
        await victim.send(protocol.sync_step1(b"\1" + entry))
        await victim.send(protocol.sync_step2(b"\0\0"))
        claimed.set()
        await victim.read_all()

    claimed = asyncio.Event()
    with connect(room_name, server=server.address, flush_timeout_s=DEADLINE_S) as room:
        replica = room._client_membership.replica
        room.state["before"] = 1
        assert room.flush(DEADLINE_S)
        server.set_attack(claim_all)
        room.state["during"] = 2
        while not claimed.is_set():
            time.sleep(0.01)
        server.set_attack(None)
        with connect(room_name, server=f"ws://{HOST}:{honest.port}") as other:
            while "during" not in other.state:
                assert other.wait(DEADLINE_S)


def test_A1_denial_of_a_hostile_server_ends_with_its_connection(
    server: HostileServer, room_name: str
) -> None:
    async def deny(victim: Victim) -> None:
        await victim.send(protocol.permission_denied("no"))

    with connect(room_name, server=server.address, flush_timeout_s=DEADLINE_S) as room:
        server.set_attack(after_sync(deny))
        ends_at = time.monotonic() + DEADLINE_S
        with pytest.raises(ViewOnlyError):
            while time.monotonic() < ends_at:
                room.state["during"] = time.monotonic()
                time.sleep(0.01)
        server.set_attack(None)
        while room.status != "connected" or room._client_membership._sync_client.progress.is_denied:
            assert time.monotonic() < ends_at
            time.sleep(0.01)
        room.state["after"] = 1
        assert room.flush(DEADLINE_S)
        assert {"during", "after"} <= set(room.state)


def test_N2_epochs_in_quick_succession_end_the_client_at_the_second(
    server: HostileServer, room_name: str
) -> None:
    async def change_epochs(victim: Victim) -> None:
        for number in range(100):
            await victim.sync(f"{number:032x}")

    with (
        pytest.raises(RoomDeletedError),
        connect(room_name, server=server.address, flush_timeout_s=DEADLINE_S) as room,
    ):
        server.set_attack(after_sync(change_epochs))
        assert room.wait(DEADLINE_S) is not None
        while True:
            room.wait(1)


def test_N3_room_without_end_is_refused_and_keeps_the_edits() -> None:
    client = SyncClient("room", lambda: None, max_room_bytes=100_000)
    client.open()
    client.receive(protocol.sync_step2(Replica().diff()))
    client.replica.set("mine", 1)
    other = Replica()
    with pytest.raises(UpdateRefusedError, match="100000"):
        for number in range(1000):
            before = other.version
            other.set(f"k{number}", "x" * 1000)
            client.receive(protocol.sync_update(other.update_since(before) or b""))
    assert client.replica.get("mine") == 1
    assert len(client.replica.diff()) < 110_000


def test_N3_updates_that_replace_each_other_do_not_exceed_the_limit() -> None:
    client = SyncClient("room", lambda: None, max_room_bytes=100_000)
    client.open()
    other = Replica()
    for _ in range(300):
        before = other.version
        other.set("a", "x" * 1000)
        other.set("a", "y" * 1000)
        client.receive(protocol.sync_update(other.update_since(before) or b""))
    assert client.replica.get("a") == "y" * 1000
