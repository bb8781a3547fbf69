"""Sessions that edit merged values as the mirror does: from what their script saw, while the replica is further on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from streamlit_crdt.document.replica import LOCAL
from streamlit_crdt.merge import RULES
from tests.support.fuzz import Peer, exchange_everything, make_peers, unreliably
from tests.support.unicode_texts import random_text, typed

DEFAULTS: Final[dict[str, Any]] = {
    "text": "Dear 👩‍👩‍👧‍👦,\r\n", "list": ["first"], "map": {"a": {"b": 0}}, "set": {"first"}, "counter": 0,
}  # fmt: skip


@dataclass
class Made:
    """What all sessions together have put in and taken out, each part unlike any other."""

    added: dict[str, set[Any]] = field(default_factory=lambda: {rule: set() for rule in DEFAULTS})
    removed: dict[str, set[Any]] = field(default_factory=lambda: {rule: set() for rule in DEFAULTS})
    total: int = 0
    count: int = 0

    def new(self) -> int:
        self.count += 1
        return self.count

    def kept(self, rule: str) -> set[Any]:
        return self.added[rule] - self.removed[rule]


class Session:
    """One session: what its script saw last, and its edits of that."""

    def __init__(self, peer: Peer, made: Made, random: Random) -> None:
        self.peer, self.made, self.random = peer, made, random
        self.shown: dict[str, Any] = dict(DEFAULTS)

    def look(self, rule: str) -> None:
        """Let the script see what the replica holds by now."""
        self.shown[rule] = self.peer.replica.get(f"k-{rule}", DEFAULTS[rule])

    def edit(self, rule: str) -> None:
        before = self.shown[rule]
        after = EDITS[rule](self, before)
        self.peer.replica.edit(f"k-{rule}", before, after, RULES[rule])
        self.shown[rule] = after

    def parts(self, rule: str, before: Any, after: Any) -> None:
        """Note what an edit put in and took out."""
        self.made.added[rule] |= set(after) - set(before)
        self.made.removed[rule] |= set(before) - set(after)


def _edit_text(session: Session, before: str) -> str:
    """Put in a word with a character of its own, which stands nowhere else."""
    own = chr(0x4E00 + session.made.new())
    word = own + random_text(session.random, 2)
    after = typed(before, word, session.random)
    session.made.added["text"].add(own)
    session.made.removed["text"] |= {letter for letter in before if letter not in after}
    return after


def _edit_list(session: Session, before: list[Any]) -> list[Any]:
    after = [item for item in before if session.random.random() < 0.95]
    for _ in range(session.random.randrange(3)):
        after.insert(session.random.randrange(len(after) + 1), session.made.new())
    session.parts("list", before, after)
    return after


def _edit_set(session: Session, before: set[Any]) -> set[Any]:
    gone = {item for item in sorted(before, key=str) if session.random.random() < 0.05}
    after = before - gone | {session.made.new()}
    session.parts("set", before, after)
    return after


def _edit_map(session: Session, before: dict[str, Any]) -> dict[str, Any]:
    entries = dict(flat(before))
    after = {path: leaf for path, leaf in entries.items() if session.random.random() < 0.95}
    depth = session.random.randrange(3)
    path = (*session.random.choices("xyz/", k=depth), f"own {session.made.new()}")
    after[path] = session.made.count
    session.parts("map", entries, after)
    return tree(after)


def _edit_counter(session: Session, before: int) -> int:
    step = session.random.choice([1, -1, 7, 2**60 + 1, session.random.randrange(1000)])
    session.made.total += step
    return before + step


EDITS: Final[dict[str, Callable[[Session, Any], Any]]] = {
    "text": _edit_text, "list": _edit_list, "map": _edit_map, "set": _edit_set, "counter": _edit_counter,
}  # fmt: skip


def flat(value: dict[str, Any], path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """Return the leaves of a dict of dicts, by path."""
    leaves = []
    for key, item in value.items():
        leaves += flat(item, (*path, key)) if isinstance(item, dict) else [((*path, key), item)]
    return leaves


def tree(leaves: dict[tuple[str, ...], Any]) -> dict[str, Any]:
    """Return the dict of dicts that has these leaves."""
    value: dict[str, Any] = {}
    for path, leaf in leaves.items():
        inner = value
        for part in path[:-1]:
            inner = inner.setdefault(part, {})
        inner[path[-1]] = leaf
    return value


def hold_a_party(
    count: int, edits: int, random: Random, record: list[bytes] | None = None
) -> tuple[list[Peer], Made]:
    """Return sessions that edited values of every rule over a bad network, and in the end know everything.

    Args:
        record: each update is put into it as it is made.
    """
    made = Made()
    peers = make_peers(count, random)
    for peer in peers:
        if record is not None:
            peer.replica.subscribe(lambda update, origin: record.append(update) if origin == LOCAL else None)
    sessions = [Session(peer, made, random) for peer in peers]
    for _ in range(edits):
        session, rule = random.choice(sessions), random.choice(list(DEFAULTS))
        if random.random() < 0.4:
            session.look(rule)
        session.edit(rule)
        if random.random() < 0.2:
            sender, receiver = random.sample(range(count), 2)
            waiting, peers[sender].outbox[receiver] = peers[sender].outbox[receiver], []
            for update in unreliably(waiting, random):
                peers[receiver].replica.apply(update)
    exchange_everything(peers)
    return peers, made
