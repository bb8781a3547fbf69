"""Seeded edits of several replicas over a network that drops, repeats and reorders, for tests and vectors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from random import Random
from typing import Any

from pycrdt import merge_updates

from streamlit_crdt.document.replica import LOCAL, Replica

DELETED = object()
CONTENDED_KEYS = ("slider", "note", "list", "frame", "übung 👍")
OWN_KEYS_PER_REPLICA = 3


def random_value(random: Random) -> Any:
    """Return one of the kinds of value that an encoding has to carry."""
    number = random.randrange(1000)
    return random.choice(
        [
            number,
            number / 8,
            float(number),
            2**60 + number,
            f"text {number} 👍",
            None,
            number % 2 == 0,
            [number, [str(number)]],
            (number, None),
            {"n": number, "a": {"nested": [number]}},
            {"z": 1, "a": number},
            {number: "int key"},
            {number, "item"},
            bytes([number % 256, 0, 255]),
            date.fromordinal(700_000 + number),
            Decimal(number) / 4,
            float("inf"),
        ]
    )


@dataclass
class Peer:
    """A replica, what it wrote under its own keys, and what waits to be sent to each other peer."""

    replica: Replica
    own_keys: list[str]
    written: dict[str, Any] = field(default_factory=dict)
    outbox: dict[int, list[bytes]] = field(default_factory=dict)

    def edit(self, random: Random) -> None:
        """Set or delete one key, its own or a contended one."""
        key = random.choice(self.own_keys if random.random() < 0.4 else CONTENDED_KEYS)
        if random.random() < 0.15:
            self.replica.delete(key)
            value = DELETED
        else:
            value = random_value(random)
            self.replica.set(key, value)
        if key in self.own_keys:
            self.written[key] = value


def make_peers(count: int, random: Random) -> list[Peer]:
    """Return peers whose own updates are put into every other peer's outbox."""
    peers = []
    for number in range(count):
        replica = Replica(replica_id=random.randrange(1, 2**53))
        own_keys = [f"own-{number}-{index}" for index in range(OWN_KEYS_PER_REPLICA)]
        peer = Peer(replica, own_keys, outbox={other: [] for other in range(count) if other != number})
        replica.subscribe(lambda update, origin, peer=peer: _post(peer, update, origin))
        peers.append(peer)
    return peers


def _post(peer: Peer, update: bytes, origin: str) -> None:
    if origin == LOCAL:
        for waiting in peer.outbox.values():
            waiting.append(update)


def unreliably(updates: list[bytes], random: Random) -> Iterator[bytes]:
    """Yield `updates` in another order, some twice, some not at all, some merged."""
    kept = [update for update in updates if random.random() < 0.75]
    kept += [update for update in kept if random.random() < 0.15]
    random.shuffle(kept)
    while kept:
        batch, kept = kept[: (size := random.randrange(1, 8))], kept[size:]
        yield batch[0] if len(batch) == 1 else bytes(merge_updates(*batch))


def exchange_everything(peers: list[Peer]) -> None:
    """Bring all peers together by what each says that it has seen."""
    first = peers[0].replica
    for peer in peers[1:]:
        first.apply(peer.replica.diff(first.state_vector()))
    for peer in peers[1:]:
        peer.replica.apply(first.diff(peer.replica.state_vector()))
