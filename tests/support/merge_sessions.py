"""Sessions that edit merged values as the state binding does: from a stale value that their script saw last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from streamlit_crdt.document.replica import LOCAL
from streamlit_crdt.merge import RULES
from tests.support.fuzz import Peer, deliver_unreliably, make_peers, sync_all
from tests.support.unicode_texts import random_text, with_word

DEFAULTS: Final[dict[str, Any]] = {
    "text": "Dear 👩‍👩‍👧‍👦,\r\n", "list": ["first"], "records": [{"ticks": 0, "id": 0}], "map": {"a": {"b": 0}},
    "set": {"first"}, "counter": 0,
}  # fmt: skip


@dataclass
class EditRecord:
    """Insertions and removals of all sessions. Each inserted part is unique."""

    added: dict[str, set[Any]] = field(default_factory=lambda: {rule: set() for rule in DEFAULTS})
    removed: dict[str, set[Any]] = field(default_factory=lambda: {rule: set() for rule in DEFAULTS})
    total: int = 0
    count: int = 0

    def new_number(self) -> int:
        self.count += 1
        return self.count

    def remaining(self, rule: str) -> set[Any]:
        return self.added[rule] - self.removed[rule]


class Session:
    """A session: its replica, and the values that its script saw last."""

    def __init__(self, peer: Peer, made: EditRecord, random: Random) -> None:
        self.peer, self.made, self.random = peer, made, random
        self.seen: dict[str, Any] = dict(DEFAULTS)

    def read(self, rule: str) -> None:
        """Update the script's value from the replica."""
        self.seen[rule] = self.peer.replica.get(f"k-{rule}", DEFAULTS[rule])

    def edit(self, rule: str) -> None:
        before = self.seen[rule]
        after = EDITS[rule](self, before)
        self.peer.replica.edit(f"k-{rule}", before, after, RULES[rule])
        self.seen[rule] = after

    def record_parts(self, rule: str, before: Any, after: Any) -> None:
        """Record the insertions and removals of an edit."""
        self.made.added[rule] |= set(after) - set(before)
        self.made.removed[rule] |= set(before) - set(after)


def _edit_text(session: Session, before: str) -> str:
    """Insert a word with a unique character."""
    own = chr(0x4E00 + session.made.new_number())
    word = own + random_text(session.random, 2)
    after = with_word(before, word, session.random)
    session.made.added["text"].add(own)
    session.made.removed["text"] |= {letter for letter in before if letter not in after}
    return after


def _edit_list(session: Session, before: list[Any]) -> list[Any]:
    after = [item for item in before if session.random.random() < 0.95]
    for _ in range(session.random.randrange(3)):
        after.insert(session.random.randrange(len(after) + 1), session.made.new_number())
    session.record_parts("list", before, after)
    return after


def _edit_records(session: Session, before: list[Any]) -> list[Any]:
    """Remove, add, change and move items."""
    after = [dict(item) for item in before if session.random.random() < 0.95]
    for _ in range(session.random.randrange(3)):
        number = session.made.new_number()
        # The keys are not in order: pycrdt writes a dict with keys in order in a random one, and vectors are compared.
        item = {"ticks": 0, "id": number, "text": f"item {number}"}
        after.insert(session.random.randrange(len(after) + 1), item)
    if after:
        session.random.choice(after)["ticks"] = session.made.new_number()
        after.insert(session.random.randrange(len(after)), after.pop(session.random.randrange(len(after))))
    session.record_parts("records", *([item["id"] for item in items] for items in (before, after)))
    return after


def _edit_set(session: Session, before: set[Any]) -> set[Any]:
    removed = {item for item in sorted(before, key=str) if session.random.random() < 0.05}
    after = before - removed | {session.made.new_number()}
    session.record_parts("set", before, after)
    return after


def _edit_map(session: Session, before: dict[str, Any]) -> dict[str, Any]:
    entries = dict(flatten(before))
    after = {path: leaf for path, leaf in entries.items() if session.random.random() < 0.95}
    depth = session.random.randrange(3)
    path = (*session.random.choices("xyz/", k=depth), f"own {session.made.new_number()}")
    after[path] = session.made.count
    session.record_parts("map", entries, after)
    return unflatten(after)


def _edit_counter(session: Session, before: int) -> int:
    step = session.random.choice([1, -1, 7, 2**60 + 1, session.random.randrange(1000)])
    session.made.total += step
    return before + step


EDITS: Final[dict[str, Callable[[Session, Any], Any]]] = {
    "text": _edit_text, "list": _edit_list, "records": _edit_records, "map": _edit_map,
    "set": _edit_set, "counter": _edit_counter,
}  # fmt: skip


def flatten(value: dict[str, Any], path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """Return path and value of the leaves of nested dicts."""
    leaves = []
    for key, item in value.items():
        leaves += flatten(item, (*path, key)) if isinstance(item, dict) else [((*path, key), item)]
    return leaves


def unflatten(leaves: dict[tuple[str, ...], Any]) -> dict[str, Any]:
    """Return the nested dicts of these leaves."""
    value: dict[str, Any] = {}
    for path, leaf in leaves.items():
        inner = value
        for part in path[:-1]:
            inner = inner.setdefault(part, {})
        inner[path[-1]] = leaf
    return value


def run_merge_sessions(
    count: int, edits: int, random: Random, record: list[bytes] | None = None
) -> tuple[list[Peer], EditRecord]:
    """Return synced sessions that edited values of every rule on an unreliable network, and the record of their edits.

    Args:
        record: receives each local update.
    """
    made = EditRecord()
    peers = make_peers(count, random)
    for peer in peers:
        if record is not None:
            peer.replica.subscribe(lambda update, origin: record.append(update) if origin == LOCAL else None)
    sessions = [Session(peer, made, random) for peer in peers]
    for _ in range(edits):
        session, rule = random.choice(sessions), random.choice(list(DEFAULTS))
        if random.random() < 0.4:
            session.read(rule)
        session.edit(rule)
        if random.random() < 0.2:
            sender, receiver = random.sample(range(count), 2)
            waiting, peers[sender].outbox[receiver] = peers[sender].outbox[receiver], []
            for update in deliver_unreliably(waiting, random):
                peers[receiver].replica.apply(update)
    sync_all(peers)
    return peers, made
