"""Sessions and clients that come back to a room that was rewritten meanwhile (rule N4)."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import pytest

from streamlit_crdt.document.replica import Replica
from streamlit_crdt.errors import FrameError
from streamlit_crdt.merge import RULES
from streamlit_crdt.transport.connection import RoomConnection
from streamlit_crdt.transport.frame import Frame, StatusReport
from streamlit_crdt_server import Hub, HubNotRunningError, KeyRing, LocalPeer, Settings

DEADLINE_S = 60.0
SETTINGS = Settings(require_token=False, evict_after_s=0.02, rewrite_over_bytes=1)
STEPS = 8


def until(condition: Callable[[], object]) -> None:
    ends_at = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < ends_at, "the deadline passed"
        time.sleep(0.002)


class Backend:
    """A hub in a thread, whose rooms leave memory at once and are rewritten then."""

    poll_s = None
    is_tab_only = False
    keys: KeyRing | None = None
    namespace = ""

    def __init__(self) -> None:
        self.hub = Hub(SETTINGS)
        self.started: Future[asyncio.AbstractEventLoop] = Future()
        self.stop = asyncio.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self.run()), daemon=True)

    async def run(self) -> None:
        async with self.hub:
            self.started.set_result(asyncio.get_running_loop())
            await self.stop.wait()

    def open(self, room: str, session_id: str | None = None) -> LocalPeer:
        return self.hub.open_local(room, session=session_id, timeout_s=DEADLINE_S)

    def socket_address(self, room: str) -> Mapping[str, Any]:
        return {}

    def rewrite(self) -> None:
        """Write much and overwrite it, leave, and wait until the room is rewritten. Nobody else is in it."""
        epoch = ""
        while not epoch:
            with suppress(HubNotRunningError):  # the room that it entered left memory at the same moment
                epoch = self.write_past()
        until(lambda: "room" not in self.hub.rooms)
        peer = self.open("room")
        assert peer.epoch != epoch
        peer.close()

    def write_past(self) -> str:
        peer, filler = self.open("room"), Replica()
        filler.apply(peer.drain() or b"")
        with filler.transaction():
            for number in range(1000):
                filler.set(f"filler{number % 2}", number)
        peer.push(filler.diff()).result(DEADLINE_S)
        peer.close()
        return peer.epoch


@pytest.fixture
def backend() -> Iterator[Backend]:
    running = Backend()
    running.thread.start()
    loop = running.started.result(DEADLINE_S)
    yield running
    loop.call_soon_threadsafe(running.stop.set)
    running.thread.join(DEADLINE_S)


def entered(backend: Backend) -> RoomConnection:
    connection = RoomConnection("room", backend)
    connection.attach()
    return connection


def settle(*connections: RoomConnection) -> None:
    """Wait until all edits are saved, and every session has them."""
    for connection in connections:
        connection.attach()
    for connection in connections:
        assert connection.unsaved.wait(DEADLINE_S)
    for connection in connections:
        until(lambda connection=connection: connection.drain() or not connection.unsaved_count)
    for connection in connections:
        connection.drain()


def edit(connection: RoomConnection, key: str, after: Any, rule: str | None) -> None:
    replica = connection.replica
    replica.edit(key, replica.get(key), after, RULES[rule] if rule else None)


class Model:
    """Expected content of a room, whatever the order of edits, absences and rewrites."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.clicks = 0
        self.items: Counter[int] = Counter()
        self.words: set[str] = set()
        self.members: set[int] = set()
        self.entries: dict[str, int] = {}
        self.tasks: dict[int, dict[str, Any]] = {}
        self.cells: Counter[int] = Counter()
        self.last: dict[int, set[int]] = {}
        self.count = 0

    def act(self, connection: RoomConnection, session: int) -> None:
        """Make a random edit."""
        self.count += 1
        replica, number = connection.replica, self.count
        match self.chance.randrange(11):
            case 0:
                amount = self.chance.choice((1, 5, -2))
                edit(connection, "clicks", replica.get("clicks", 0) + amount, "counter")
                self.clicks += amount
            case 1:
                items = replica.get("items", [])
                items.insert(self.chance.randrange(len(items) + 1), number)
                edit(connection, "items", items, "list")
                self.items[number] += 1
            case 2:
                items = [item for item in replica.get("items", []) if item % 3 == session]
                if items:
                    removed = self.chance.choice(items)
                    kept = [item for item in replica.get("items", []) if item != removed]
                    edit(connection, "items", kept, "list")
                    self.items[removed] = 0
            case 3:
                edit(connection, "text", f"{replica.get('text', '')}<{number}>", "text")
                self.words.add(f"<{number}>")
            case 4:
                edit(connection, "members", {*replica.get("members", set()), number}, "set")
                self.members.add(number)
            case 5:
                edit(connection, "map", {**replica.get("map", {}), f"s{session}": number}, "map")
                self.entries[f"s{session}"] = number
            case 6 | 7:
                self.act_on_records(connection, session)
            case 8 | 9:
                self.act_on_nested_list(connection, session)
            case _:
                replica.set(f"value{session}", number)
                self.entries[f"value{session}"] = number

    def act_on_records(self, connection: RoomConnection, session: int) -> None:
        """Add, move or remove a record, or change the field of a record that only this session changes."""
        number, tasks = self.count, connection.replica.get("tasks", [])
        own = [task for task in tasks if task["id"] % 3 == session]
        match self.chance.randrange(4):
            case 0 if own:
                changed = self.chance.choice(own)
                changed[f"s{session}"] = number
                self.tasks[changed["id"]][f"s{session}"] = number
            case 1 if tasks:
                self.chance.shuffle(tasks)
            case 2 if own:
                removed = self.chance.choice(own)
                tasks.remove(removed)
                del self.tasks[removed["id"]]
            case _:
                added = {"id": 3 * number + session, "parts": [number]}
                tasks.insert(self.chance.randrange(len(tasks) + 1), added)
                self.tasks[added["id"]] = added
        edit(connection, "tasks", tasks, "records")

    def act_on_nested_list(self, connection: RoomConnection, session: int) -> None:
        """Add a number to a list inside of a dict, or remove one that only this session removes."""
        number, board = 3 * self.count + session, connection.replica.get("board", {"cells": []})
        own = [cell for cell in board["cells"] if cell % 3 == session]
        if own and self.chance.random() < 0.3:
            removed = self.chance.choice(own)
            board["cells"].remove(removed)
            self.cells[removed] = 0
        else:
            board["cells"].insert(self.chance.randrange(len(board["cells"]) + 1), number)
            self.cells[number] += 1
        edit(connection, "board", board, "map")

    def check(self, replica: Replica) -> None:
        values = dict(replica.items())
        tasks = {task["id"]: task for task in values.get("tasks", [])}
        assert (tasks, len(values.get("tasks", []))) == (self.tasks, len(tasks))
        assert sorted(values.get("board", {"cells": []})["cells"]) == sorted(self.cells.elements())
        assert values.get("clicks", 0) == self.clicks
        assert sorted(values.get("items", [])) == sorted(self.items.elements())
        text = values.get("text", "")
        assert all(text.count(word) == 1 for word in self.words), text
        assert len(text) == sum(map(len, self.words))
        assert values.get("members", set()) == self.members
        found = {**values.get("map", {}), **{key: v for key, v in values.items() if key.startswith("value")}}
        assert found == self.entries


@pytest.mark.parametrize("seed", range(3))
def test_N4_edits_absences_and_rewrites_lose_and_double_nothing(backend: Backend, seed: int) -> None:
    chance = random.Random(seed)
    model = Model(chance)
    connections = [entered(backend) for _ in range(3)]
    for key, value, rule in (
        ("clicks", 0, "counter"), ("items", [], "list"), ("text", "", "text"), ("members", set(), "set"),
        ("map", {}, "map"), ("tasks", [], "records"), ("board", {"cells": []}, "map"),
    ):  # fmt: skip
        edit(connections[0], key, value, rule)
    settle(*connections)
    for _ in range(STEPS):
        for session, connection in enumerate(connections):
            connection.drain()
            for _ in range(chance.randrange(4)):
                model.act(connection, session)
        for connection in connections:
            if chance.random() < 0.4:
                connection.close()
            elif chance.random() < 0.5:
                connection.attach()
        if chance.random() < 0.4:
            for connection in connections:
                connection.close()
            if chance.random() < 0.3:
                model.act(connections[0], 0)  # after it left
            backend.rewrite()
    settle(*connections)
    settle(*connections)
    for connection in connections:
        model.check(connection.replica)
        assert not connection.is_deleted


def test_N4_unsaved_edit_of_each_kind_is_carried_over(backend: Backend) -> None:
    one = entered(backend)
    for key, value, rule in (
        ("text", "a base", "text"), ("gone", 1, None), ("undone", [1], "list"), ("n", 1, "counter"),
    ):  # fmt: skip
        edit(one, key, value, rule)
    settle(one)
    one.close()
    replica = one.replica
    edit(one, "text", "a new base", "text")
    replica.delete("gone")
    replica.begin_group()
    edit(one, "undone", [1, 2], "list")
    replica.undo()
    edit(one, "n", 4, "counter")
    replica.add_event("e1", {"name": "sound"})
    backend.rewrite()
    settle(one)
    other = entered(backend)
    assert other.replica.get("text") == "a new base"
    assert "gone" not in other.replica
    assert other.replica.get("undone") == [1]
    assert other.replica.get("n") == 4
    assert "e1" in other.replica.events
    assert not replica.can_undo
    assert one.replica is replica
    assert one.generation == "#2"


def test_N4_edit_that_the_room_has_is_not_repeated_if_its_ack_is_lost(backend: Backend) -> None:
    one = entered(backend)
    edit(one, "n", 1, "counter")
    settle(one)
    one.close()
    edit(one, "n", 3, "counter")
    peer = backend.open("room")
    peer.push(one.replica.diff()).result(DEADLINE_S)  # the room has it, and the session does not know
    peer.close()
    edit(one, "n", 7, "counter")
    assert one.unsaved_count == 2
    backend.rewrite()
    settle(one)
    assert entered(backend).replica.get("n") == 7


def test_N4_tab_of_the_former_document_is_replaced(backend: Backend) -> None:
    one = entered(backend)
    epoch, channel = one.epoch, one.channel
    one.close()
    backend.rewrite()
    one = entered(backend)  # another session, in a page with the tab of the first
    with pytest.raises(FrameError, match="before it was rewritten"):
        one.accept_epoch(epoch)
    assert one.generation == "#2"
    assert one.channel is not channel


class TabOnly(Backend):
    is_tab_only = True

    def open(self, room: str, session_id: str | None = None) -> Any:
        return None


def frame_of(tab: Replica, tab_id: int = 99) -> Frame:
    return Frame(id=tab_id, v=1, since=0, update=tab.diff())


def test_N4_session_behind_a_tab_repeats_its_edits_in_the_new_document() -> None:
    connection = RoomConnection("room", TabOnly())
    edit(connection, "n", 2, "counter")
    connection.receive(frame_of(connection.replica, 98), StatusReport(synced=True))
    edit(connection, "n", 5, "counter")
    first = connection.unsaved._edits[0].edits[0].clock
    connection.follow_rewrite(first)
    connection.follow_rewrite(first)  # the report is repeated until it is acknowledged
    assert connection.replica.get("n") == 5, "the script keeps its values until the new document is there"
    edit(connection, "n", 6, "counter")
    fresh = Replica()
    fresh.edit("n", None, 12, RULES["counter"])
    with pytest.raises(FrameError, match="before it was rewritten"):
        connection.receive(frame_of(connection.replica, 98), StatusReport(synced=True))
    connection.receive(frame_of(fresh), StatusReport(n=1))
    assert connection.replica.get("n") == 6
    connection.receive(frame_of(fresh), StatusReport(n=2, synced=True))
    assert connection.is_synced
    assert not connection.is_moving
    assert connection.replica.get("n") == 16
    assert connection.unsaved_count == 1
    fresh.apply(connection.channel.compose().update)
    assert fresh.get("n") == 16


def test_N4_deletion_that_made_no_operation_is_carried_over(backend: Backend) -> None:
    one = entered(backend)
    edit(one, "items", [1, 2, 3], "list")
    settle(one)
    for left in ([1, 3], [3]):  # the first edit of a new replica id, the second time
        one.close()
        edit(one, "items", left, "list")
        backend.rewrite()
        settle(one)
        other = entered(backend)
        assert other.replica.get("items") == left
        other.close()
