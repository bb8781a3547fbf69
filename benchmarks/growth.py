"""Size and load time of a room's document after many edits.

Each workload edits through `Replica`, as sessions do. A document represents the room, and applies their updates. Its
encoded state is the content of the store after compaction. It is compared with a fresh document, into which one replica
has written the same visible content once: Yjs cannot store that content in fewer bytes, or load it faster.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pycrdt import Doc

from streamlit_crdt.document.document import merge_updates
from streamlit_crdt.document.replica import LOCAL, ROOM, Replica
from streamlit_crdt.merge import RULES

DEFAULT_ROUNDS = 20
RUN_EDITS = 100
"""Edits of a session that form one undo step, and that are exchanged together."""

REPLICA_ID = 0x1A2B3C4D5E6F7
"""Replica id of the first session. It has the length of a random one, because each item refers to its predecessor."""

LIST_ITEMS = 200
"""Maximum length of a list. A read takes time proportional to the length, which is not measured here."""

Work = Callable[["Bench", int], None]


@dataclass(frozen=True, slots=True)
class Growth:
    """Result of a workload.

    Attributes:
        edits: number of edits.
        sent_bytes: bytes of all updates, which is the size of the log without compaction.
        state: encoded document of the room.
        fresh: encoded document with the same visible content, written once.
    """

    edits: int
    sent_bytes: int
    state: bytes
    fresh: bytes

    @property
    def history_bytes_per_edit(self) -> float:
        """Bytes that an edit leaves in the document in addition to the visible content."""
        return (len(self.state) - len(self.fresh)) / self.edits

    def load_ratio(self, rounds: int) -> float:
        """Median load time of the document, divided by that of the fresh one. The loads alternate."""
        times: dict[bytes, list[float]] = {self.state: [], self.fresh: []}
        for _ in range(rounds):
            for state, durations in times.items():
                began_at = time.perf_counter()
                Doc().apply_update(state)
                durations.append(time.perf_counter() - began_at)
        return statistics.median(times[self.state]) / statistics.median(times[self.fresh])


class Bench:
    """A room and its sessions."""

    def __init__(self, sessions: int) -> None:
        self.room: Doc[Any] = Doc()
        self.sessions = [Replica(replica_id=REPLICA_ID + number) for number in range(sessions)]
        self.edits = self.sent_bytes = 0
        self._updates: list[list[bytes]] = [[] for _ in range(sessions)]
        for session, updates in zip(self.sessions, self._updates, strict=True):
            session.subscribe(
                lambda update, origin, pending=updates: self._on_update(update, origin, pending)
            )

    def _on_update(self, update: bytes, origin: str, pending: list[bytes]) -> None:
        if origin == LOCAL:
            self.sent_bytes += len(update)
            pending.append(update)

    def count_edit(self) -> None:
        """Count an edit. After `RUN_EDITS` edits of each session, exchange the updates."""
        self.edits += 1
        if self.edits % (RUN_EDITS * len(self.sessions)) == 0:
            self.exchange()

    def exchange(self) -> None:
        batch = merge_updates([update for updates in self._updates for update in updates])
        if batch:
            self.room.apply_update(batch)
        for session, updates in zip(self.sessions, self._updates, strict=True):
            session.begin_group()
            session.acknowledge(session.version)
            if len(self.sessions) > 1:
                session.apply(batch, origin=ROOM)
            updates.clear()


def _overwrite(keys: int) -> Work:
    def work(bench: Bench, edits: int) -> None:
        for number in range(edits):
            bench.sessions[0].set(f"key{number % keys}", number)
            bench.count_edit()

    return work


def _edit_lists(bench: Bench, edits: int) -> None:
    """Append, insert, append and delete, concurrently in both sessions."""
    for number in range(edits):

        def change(items: list[Any], number: int = number) -> list[Any]:
            index = (number * 7919) % max(1, len(items))
            if number // 2 % 4 == 3 or len(items) > LIST_ITEMS:
                return items[:index] + items[index + 1 :]
            if number // 2 % 4 == 1:
                return [*items[:index], number, *items[index:]]
            return [*items, number]

        bench.sessions[number % 2].change("key", RULES["list"], [], change)
        bench.count_edit()


def _edit_texts(bench: Bench, edits: int) -> None:
    """Type at the end, and delete every tenth character, concurrently in both sessions."""
    for number in range(edits):
        session = bench.sessions[number % 2]
        is_deleted = number // 2 % 10 == 9
        session.change(
            "key", RULES["text"], "", lambda text, deletes=is_deleted: text[:-1] if deletes else text + "x"
        )
        bench.count_edit()


def _count_up(bench: Bench, edits: int) -> None:
    for number in range(edits):
        session = bench.sessions[number % len(bench.sessions)]
        session.change("key", RULES["counter"], 0, lambda value: value + 1)
        bench.count_edit()
    bench.exchange()


@dataclass(frozen=True, slots=True)
class Workload:
    """A long series of edits.

    Attributes:
        name: name in the table.
        edits: number of edits.
        sessions: number of sessions.
        work: makes the edits.
        max_bytes_per_edit: limit of `Growth.history_bytes_per_edit`.
    """

    name: str
    edits: int
    sessions: int
    work: Work
    max_bytes_per_edit: float


WORKLOADS = (
    Workload("a slider dragged for an hour", 36_000, 1, _overwrite(1), 0.1),
    Workload("one key overwritten", 100_000, 1, _overwrite(1), 0.1),
    Workload("two keys, alternating", 100_000, 1, _overwrite(2), 16.0),
    Workload("50 keys in turn", 100_000, 1, _overwrite(50), 16.0),
    Workload("a list, two sessions", 10_000, 2, _edit_lists, 16.0),
    Workload("a text, two sessions", 10_000, 2, _edit_texts, 16.0),
    Workload("a counter, 100 sessions", 10_000, 100, _count_up, 16.0),
)


def measure(workload: Workload, edits: int | None = None) -> Growth:
    """Run a workload, or its first `edits` edits."""
    bench = Bench(workload.sessions)
    workload.work(bench, workload.edits if edits is None else edits)
    bench.exchange()
    fresh = Replica(replica_id=REPLICA_ID)
    with fresh.transaction():
        for key, value in bench.sessions[0].items():
            rule = next((rule for name, rule in RULES.items() if _rule_of(bench.room, key) == name), None)
            fresh.edit(key, None, value, rule)
    return Growth(bench.edits, bench.sent_bytes, bench.room.get_update(), fresh.diff())


def _rule_of(room: Doc[Any], key: str) -> str | None:
    return next((name for name in RULES if f"{name}:{key}" in room.keys()), None)  # noqa: SIM118


def run(
    rounds: int, *, say: Callable[[str], None] = print, workloads: Sequence[Workload] = WORKLOADS
) -> None:
    """Run all workloads, and print the table."""
    say("| workload | edits | sent | document | same content, fresh | history per edit | load / fresh |")
    say("|---|---|---|---|---|---|---|")
    for workload in workloads:
        grown = measure(workload)
        say(
            f"| {workload.name} | {grown.edits:,} | {grown.sent_bytes:,} B | {len(grown.state):,} B "
            f"| {len(grown.fresh):,} B | {grown.history_bytes_per_edit:.2f} B | {grown.load_ratio(rounds):.1f} |"
        )
