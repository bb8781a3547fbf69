"""Seeded edits of several replicas, on a network that drops, repeats and reorders updates."""

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
    """Return a random value of one of the supported types."""
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
    """A replica, the values of its own keys, and its unsent updates for each other peer."""

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
    """Return peers. Each local update of a peer is added to its outbox for every other peer."""
    peers = []
    for number in range(count):
        replica = Replica(replica_id=random.randrange(1, 2**53))
        own_keys = [f"own-{number}-{index}" for index in range(OWN_KEYS_PER_REPLICA)]
        peer = Peer(replica, own_keys, outbox={other: [] for other in range(count) if other != number})
        replica.subscribe(lambda update, origin, peer=peer: _add_to_outbox(peer, update, origin))
        peers.append(peer)
    return peers


def _add_to_outbox(peer: Peer, update: bytes, origin: str) -> None:
    if origin == LOCAL:
        for waiting in peer.outbox.values():
            waiting.append(update)


def deliver_unreliably(updates: list[bytes], random: Random) -> Iterator[bytes]:
    """Yield `updates` in random order. Some are repeated, dropped or merged."""
    remaining = [update for update in updates if random.random() < 0.75]
    remaining += [update for update in remaining if random.random() < 0.15]
    random.shuffle(remaining)
    while remaining:
        batch, remaining = remaining[: (size := random.randrange(1, 8))], remaining[size:]
        yield batch[0] if len(batch) == 1 else bytes(merge_updates(*batch))


def sync_all(peers: list[Peer]) -> None:
    """Sync all peers through the first one, by state vectors."""
    first = peers[0].replica
    for peer in peers[1:]:
        first.apply(peer.replica.diff(first.state_vector()))
    for peer in peers[1:]:
        peer.replica.apply(first.diff(peer.replica.state_vector()))
