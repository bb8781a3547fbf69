"""How large a room's document becomes by being edited, and how much longer that takes to load.

Each workload edits as sessions do, through `Replica`, and a document stands for the room: it applies what they send.
Its encoded state is what the room server's store keeps once it has compacted the log. The peer is a document into which
the visible content was written once, by one replica: nothing that shows the same can be smaller or faster in Yjs.
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
"""So many edits of each session are undone together, and exchanged together."""

REPLICA_ID = 0x1A2B3C4D5E6F7
"""Of the first session; as long as most that are drawn, because each item names the one that it follows."""

LIST_ITEMS = 200
"""A list that is longer is only taken from: reading it takes in proportion, and that is not what is measured."""

Work = Callable[["Bench", int], None]


@dataclass(frozen=True, slots=True)
class Growth:
    """What a workload has made.

    Attributes:
        edits: how many edits it was.
        sent_bytes: the updates that they made, which is what the log would hold without compaction.
        state: the room's document, encoded.
        fresh: one with the same visible content, written once.
    """

    edits: int
    sent_bytes: int
    state: bytes
    fresh: bytes

    @property
    def history_bytes_per_edit(self) -> float:
        """What an edit leaves in the document beyond what it shows."""
        return (len(self.state) - len(self.fresh)) / self.edits

    def load_ratio(self, rounds: int) -> float:
        """The time that loading takes, by that of the peer; medians, taken in turn."""
        times: dict[bytes, list[float]] = {self.state: [], self.fresh: []}
        for _ in range(rounds):
            for state, taken in times.items():
                began_at = time.perf_counter()
                Doc().apply_update(state)
                taken.append(time.perf_counter() - began_at)
        return statistics.median(times[self.state]) / statistics.median(times[self.fresh])


class Bench:
    """Some sessions and the room that they are in."""

    def __init__(self, sessions: int) -> None:
        self.room: Doc[Any] = Doc()
        self.sessions = [Replica(replica_id=REPLICA_ID + number) for number in range(sessions)]
        self.edits = self.sent_bytes = 0
        self._updates: list[list[bytes]] = [[] for _ in range(sessions)]
        for session, updates in zip(self.sessions, self._updates, strict=True):
            session.subscribe(lambda update, origin, kept=updates: self._note(update, origin, kept))

    def _note(self, update: bytes, origin: str, kept: list[bytes]) -> None:
        if origin == LOCAL:
            self.sent_bytes += len(update)
            kept.append(update)

    def edited(self) -> None:
        """Note an edit; now and then a run is over, and everybody gets what the others have done."""
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
            bench.edited()

    return work


def _edit_lists(bench: Bench, edits: int) -> None:
    """Append, insert, append, delete, in both sessions at once."""
    for number in range(edits):

        def change(items: list[Any], number: int = number) -> list[Any]:
            place = (number * 7919) % max(1, len(items))
            if number // 2 % 4 == 3 or len(items) > LIST_ITEMS:
                return items[:place] + items[place + 1 :]
            if number // 2 % 4 == 1:
                return [*items[:place], number, *items[place:]]
            return [*items, number]

        bench.sessions[number % 2].change("key", RULES["list"], [], change)
        bench.edited()


def _edit_texts(bench: Bench, edits: int) -> None:
    """Type at the end, and take back every tenth character, in both sessions at once."""
    for number in range(edits):
        session = bench.sessions[number % 2]
        is_deleted = number // 2 % 10 == 9
        session.change(
            "key", RULES["text"], "", lambda text, gone=is_deleted: text[:-1] if gone else text + "x"
        )
        bench.edited()


def _count_up(bench: Bench, edits: int) -> None:
    for number in range(edits):
        session = bench.sessions[number % len(bench.sessions)]
        session.change("key", RULES["counter"], 0, lambda value: value + 1)
        bench.edited()
    bench.exchange()


@dataclass(frozen=True, slots=True)
class Workload:
    """Something that people do for long.

    Attributes:
        name: what the table calls it.
        edits: how many edits it is.
        sessions: how many sessions make them.
        work: makes them.
        max_bytes_per_edit: what each may leave in the document beyond what it shows.
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
    """Do a workload, or a part of it."""
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
    """Do all workloads and print the table."""
    say("| workload | edits | sent | document | same content, fresh | history per edit | load / fresh |")
    say("|---|---|---|---|---|---|---|")
    for workload in workloads:
        grown = measure(workload)
        say(
            f"| {workload.name} | {grown.edits:,} | {grown.sent_bytes:,} B | {len(grown.state):,} B "
            f"| {len(grown.fresh):,} B | {grown.history_bytes_per_edit:.2f} B | {grown.load_ratio(rounds):.1f} |"
        )
