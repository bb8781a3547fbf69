"""Trials of hostile documents: a room accepts them, and replicas read, edit and encode them (rule N2).

`python -m tests.support.hostile_trials matrix`, `... random SEED FIRST COUNT IN_ORDER` and `... files SEED FIRST COUNT`
(see `hostile_files`) run trials in this process, and print the name of each before it. The process may crash or hang:
`watch` runs it as a child with a time limit.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from pycrdt import Doc, Map

from streamlit_crdt.document.json_state import state_of
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.errors import CrdtError
from streamlit_crdt.merge import RULES, MergedValue
from streamlit_crdt_server import Settings
from streamlit_crdt_server.errors import ServerError
from streamlit_crdt_server.room.batch import QueuedUpdate
from streamlit_crdt_server.room.document import RoomDocument
from streamlit_crdt_server.room.peers import Peer
from streamlit_crdt_server.yjs.lib0 import EMPTY_UPDATE
from streamlit_crdt_server.yjs.room_doc import RoomDoc
from streamlit_crdt_server.yjs.safe_apply import validate_update
from tests.support.hostile_documents import Document, matrix, random_documents

HANG_S = 60.0
"""Time limit of one trial in seconds. A trial takes milliseconds."""


class _Sender:
    """A sender without limits."""

    def charge(self, cpu_s: float) -> bool:
        """Charge nothing."""
        return False


PEER = cast(Peer, _Sender())
_LOG = logging.getLogger(__name__)


class HostileRoom:
    """The document of a room, with its log in memory.

    Attributes:
        log: The changes of the document, as the store gets them.
    """

    def __init__(self, runner: asyncio.Runner, log: Sequence[bytes] = ()) -> None:
        self.log = list(log)
        self._runner = runner
        self._document = RoomDocument(RoomDoc(), "room", Settings(), _LOG)
        bad_rows = self._document.load(self.log)
        assert not bad_rows, bad_rows
        self._document.observe()
        self._document.apply([])

    def accept(self, update: bytes) -> list[bytes]:
        """Apply an update. Return the changes that the other peers get.

        Raises:
            ServerError: The room refuses it.
        """
        entry = QueuedUpdate(PEER, validate_update(update), Future())
        self._document.apply(self._runner.run(self._document.repair([entry])))
        changes, self._document.outbox = self._document.outbox, []
        self.log += changes
        assert entry.done is not None
        if entry.done.done() and (error := entry.done.exception()) is not None:
            assert isinstance(error, ServerError)
            raise error
        return changes

    def state(self) -> bytes:
        return self._document.read_state()

    def reopened(self) -> HostileRoom:
        """Return the room after a stop and a start."""
        pending = self._document.encode_received_pending()
        return HostileRoom(self._runner, [*self.log, *([] if pending == EMPTY_UPDATE else [pending])])

    def compacted(self) -> HostileRoom:
        """Return the room after a compaction and a start."""
        state = self._document.read_whole_state()
        assert state is not None
        return HostileRoom(self._runner, [state])


def use(document: Document) -> None:
    """Pass a document through a room to replicas. Read, edit, undo, delete and encode everything."""
    _use_directly(document.updates)
    with asyncio.Runner() as runner:
        room, by_changes = HostileRoom(runner), Replica()
        by_changes.subscribe(lambda update, origin: room.accept(update) if origin == "local" else None)
        by_changes.set("other", 1)
        for update in document.updates:
            try:
                changes = room.accept(update)
            except ServerError:
                continue
            for change in changes:
                by_changes.apply(change)
            _read(by_changes)
        _check(document, room, by_changes)
        assert by_changes.get("other") == 1
        room.accept(_without_keys(room.state()))
        by_changes.apply(room.state())
        by_changes.set("other", 1)
        _edit(by_changes)
        by_changes.set("other", 2)
        _check(document, room, by_changes)
        assert by_changes.get("other") == 2


def use_shortly(document: Document) -> None:
    """Use a document without a room, and load the state of a room that has it."""
    _use_directly(document.updates)
    with asyncio.Runner() as runner:
        room = HostileRoom(runner)
        for update in document.updates:
            with suppress(ServerError):
                room.accept(update)
        Doc[Any]().apply_update(room.state())


def _check(document: Document, room: HostileRoom, by_changes: Replica) -> None:
    """Compare the replica that got each change with replicas that enter later."""
    expected = comparable_values(by_changes.stored())
    for state in (room.state(), by_changes.diff(), room.reopened().state(), room.compacted().state()):
        replica = Replica()
        replica.apply(state)
        _read(replica)
        values = comparable_values(replica.stored())
        assert values.get("other") == expected.get("other")
        assert not document.converges or values == expected


def comparable_values(stored: Mapping[str, Any]) -> dict[str, object]:
    """Return encoded values by key in a form that is equal for equal content."""
    return {key: _comparable(value) for key, value in stored.items()}


def _comparable(stored: Any) -> object:
    """Return a value that is equal for equal content, with NaN, and in any order of entries."""
    if isinstance(stored, MergedValue):
        return stored.rule.name, stored.container_tag, _comparable(stored.content)
    if isinstance(stored, dict):
        return [(key, _comparable(stored[key])) for key in sorted(stored)]
    return [_comparable(item) for item in stored] if isinstance(stored, list) else repr(stored)


def _use_directly(updates: Sequence[bytes]) -> None:
    """Apply updates to a replica without a room, as those of a hostile tab."""
    replica = Replica()
    replica.set("other", 1)
    for update in updates:
        with suppress(CrdtError):
            replica.apply(update)
        _read(replica)
    assert "other" in replica and replica.get("other") == 1
    _edit(replica)
    replica.set("other", 2)
    peer = Replica()
    peer.apply(replica.diff())
    assert peer.get("other") == 2
    _read(peer)


def _without_keys(state: bytes) -> bytes:
    """Return the state of a program that deletes the entries of two root maps."""
    copy: Doc[Any] = Doc()
    copy.apply_update(state)
    for name in ("state", "map:k"):
        shared = copy.get(name, type=Map)
        with copy.transaction() as transaction:
            for key in shared.integrated.keys(transaction._txn):
                with suppress(KeyError):
                    shared.integrated.remove(transaction._txn, key)
    return copy.get_update()


def _read(replica: Replica) -> None:
    dict(replica.items())
    dict(replica.events)
    for name in replica.snapshots():
        replica.snapshot(name)
    with suppress(CrdtError):
        state_of(replica.stored())


_EDITS: Mapping[type, tuple[str, Any]] = {
    list: ("list", lambda value: [*value, 5]),
    str: ("text", lambda value: value + "z"),
    dict: ("map", lambda value: {**value, "z": 1}),
    set: ("set", lambda value: value | {5}),
    int: ("counter", lambda value: value + 1),
}


def _edit(replica: Replica) -> None:
    for key in set(replica.keys()) - {"other"}:
        replica.begin_group()
        with suppress(CrdtError):
            value = replica.get(key)
            if type(value) in _EDITS:
                rule, change = _EDITS[type(value)]
                replica.edit(key, value, change(value), RULES[rule])
        replica.undo()
        replica.redo()
        replica.begin_group()
        replica.delete(key)
        replica.undo()
        _read(replica)
        replica.set(key, 3)
        replica.undo()
        replica.delete(key)
    _read(replica)


@dataclass(frozen=True, slots=True)
class Watched:
    """Result of a child: the number of finished trials, and the trial in which it ended or hung."""

    tried: int
    failures: Sequence[str]


def watch(arguments: Sequence[str]) -> Watched:
    """Run this module as a child. It ends itself if a trial takes longer than `HANG_S`."""
    child = subprocess.run([sys.executable, "-m", __name__, *arguments], capture_output=True, text=True)
    trials = child.stdout.splitlines()
    if child.returncode == 0:
        return Watched(len(trials), [])
    last = trials[-1] if trials else "start"
    return Watched(max(len(trials) - 1, 0), [f"{last}: exit code {child.returncode}\n{child.stderr[-3000:]}"])


def fuzz(
    seed: int, budget_s: float, max_trials: int, *, mode: str = "random", in_order: bool = False
) -> Watched:
    """Try random documents or files until the time or their number is reached. A failed one is reported and skipped."""
    ends_at, tried, failures = time.monotonic() + budget_s, 0, list[str]()
    order = [str(int(in_order))] if mode == "random" else []
    while tried < max_trials and time.monotonic() < ends_at:
        count = min(50, max_trials - tried)
        result = watch([mode, str(seed), str(tried), str(count), *order])
        failures += result.failures
        tried += result.tried + len(result.failures)
    return Watched(tried, failures)


def _trials(mode: str, numbers: Sequence[int]) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield the name of each trial, and the trial."""
    if mode == "files":
        from tests.support import hostile_files

        for file in hostile_files.random_files(*numbers):
            yield file.name, partial(hostile_files.use_file, file)
        return
    for document in matrix() if mode == "matrix" else random_documents(*numbers):
        yield document.name, partial(use_shortly if mode == "matrix" else use, document)


def main(mode: str, *numbers: str) -> None:
    import faulthandler

    logging.disable()
    for name, trial in _trials(mode, list(map(int, numbers))):
        print(name, flush=True)
        faulthandler.dump_traceback_later(HANG_S, exit=True)
        trial()
    faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    main(*sys.argv[1:])
