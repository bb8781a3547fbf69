"""Replicas agree in the end, whatever the network did, and nobody's own keys are lost. Failures name the seed."""

from __future__ import annotations

import json
from random import Random

import pytest

from streamlit_crdt.codec.values import equal
from streamlit_crdt.document.replica import LOCAL, ROOM, TAB, Replica
from streamlit_crdt.transport.channel import Channel
from streamlit_crdt.transport.frame import decode_frame, encode_frame, read_report
from tests.support.fuzz import DELETED, Peer, exchange_everything, make_peers, random_value, unreliably
from tests.vectors.make import VECTORS, make_vectors, plain

SEEDS = range(200)
SOAK_SEEDS = range(200, 2_200)
SEEDS_PER_TEST = 10
PEERS = 5
EDITS_PER_PEER = 200


def state_of(replica: Replica) -> dict[str, object]:
    return {key: replica.get(key) for key in replica}


@pytest.mark.parametrize("first_seed", SEEDS[::SEEDS_PER_TEST])
def test_R2_R3_five_replicas_converge_over_a_bad_network(first_seed: int) -> None:
    for seed in range(first_seed, first_seed + SEEDS_PER_TEST):
        edit_five_replicas(seed)


@pytest.mark.soak
@pytest.mark.parametrize("first_seed", SOAK_SEEDS[::SEEDS_PER_TEST])
def test_R2_R3_five_replicas_converge_over_a_bad_network_for_long(first_seed: int) -> None:
    for seed in range(first_seed, first_seed + SEEDS_PER_TEST):
        edit_five_replicas(seed)


def edit_five_replicas(seed: int) -> None:
    random = Random(seed)
    peers = make_peers(PEERS, random)
    for _ in range(PEERS * EDITS_PER_PEER):
        random.choice(peers).edit(random)
        if random.random() < 0.03:
            sender, receiver = random.sample(range(PEERS), 2)
            waiting, peers[sender].outbox[receiver] = peers[sender].outbox[receiver], []
            for update in unreliably(waiting, random):
                peers[receiver].replica.apply(update)
    exchange_everything(peers)
    assert_agreement(peers, seed)


def assert_agreement(peers: list[Peer], seed: int) -> None:
    states = [state_of(peer.replica) for peer in peers]
    for state in states[1:]:
        assert equal(state, states[0]), f"seed {seed}: replicas differ"
    for peer in peers:
        for key, value in peer.written.items():
            last = states[0].get(key, DELETED)
            assert last is value or equal(last, value), f"seed {seed}: {key} was written last as {value!r}"


class Desk:
    """A session and its tab: two replicas, the two ends of the channel, and a wire that loses frames."""

    def __init__(self, name: str, random: Random) -> None:
        self.name = name
        self.random = random
        self.session = Replica(replica_id=random.randrange(1, 2**53))
        self.link = Channel(self.session)
        self.to_tab: list[bytes] = []
        self.to_session: list[bytes] = []
        self.to_room: list[bytes] = []
        self.written: dict[str, object] = {}
        self.reload()

    def reload(self) -> None:
        """Replace the tab by one that knows nothing."""
        self.tab = Replica(replica_id=self.random.randrange(1, 2**53))
        self.tab_link = Channel(self.tab)
        self.tab.subscribe(lambda update, origin: self.to_room.append(update) if origin != ROOM else None)

    def edit(self) -> None:
        key = self.random.choice([f"own-{self.name}", "contended", "also contended"])
        if self.random.random() < 0.15:
            self.session.delete(key)
            value: object = DELETED
        else:
            value = random_value(self.random)
            self.session.set(key, value)
        self.written[key] = value

    def send(self) -> None:
        self.to_tab.append(encode_frame(self.link.compose()))
        self.to_session.append(encode_frame(self.tab_link.compose()))

    def deliver(self, *, reliably: bool = False) -> None:
        for link, wire in ((self.tab_link, self.to_tab), (self.link, self.to_session)):
            self.random.shuffle(wire)
            frames = [decode_frame(frame) for frame in wire if reliably or self.random.random() < 0.7]
            wire.clear()
            for frame in frames:
                for _ in range(self.random.choice([1, 1, 2])):
                    link.receive(frame, read_report(frame))


@pytest.mark.parametrize("first_seed", SEEDS[::SEEDS_PER_TEST])
def test_R2_R3_sessions_and_tabs_converge_over_lost_frames_and_reloads(first_seed: int) -> None:
    for seed in range(first_seed, first_seed + SEEDS_PER_TEST):
        edit_at_three_desks(seed)


@pytest.mark.soak
@pytest.mark.parametrize("first_seed", SOAK_SEEDS[::SEEDS_PER_TEST])
def test_R2_R3_sessions_and_tabs_converge_over_lost_frames_and_reloads_for_long(first_seed: int) -> None:
    for seed in range(first_seed, first_seed + SEEDS_PER_TEST):
        edit_at_three_desks(seed)


def edit_at_three_desks(seed: int) -> None:
    random = Random(seed)
    room = Replica(replica_id=1)
    desks = [Desk(str(number), random) for number in range(3)]
    for _ in range(200):
        desk = random.choice(desks)
        random.choice([desk.edit, desk.edit, desk.send, desk.deliver])()
        if random.random() < 0.1:
            meet_in_room(room, desk)
        if random.random() < 0.02:
            desk.reload()
    for desk in [*desks, *desks]:
        settle(room, desk)
    for desk in desks:
        assert equal(state_of(desk.session), state_of(room)), f"seed {seed}: session {desk.name} differs"
        assert equal(state_of(desk.tab), state_of(room)), f"seed {seed}: tab {desk.name} differs"
        last = room.get(f"own-{desk.name}", DELETED)
        value = desk.written.get(f"own-{desk.name}", DELETED)
        assert last is value or equal(last, value), f"seed {seed}: own-{desk.name} was {value!r}"


def meet_in_room(room: Replica, desk: Desk) -> None:
    """Do what the sockets do: the tab's updates go to the room, and what it lacks comes back."""
    for update in desk.to_room:
        room.apply(update)
    desk.to_room.clear()
    room.apply(desk.tab.diff(room.state_vector()))
    desk.tab.apply(room.diff(desk.tab.state_vector()), origin=ROOM)


def settle(room: Replica, desk: Desk) -> None:
    for _ in range(4):
        desk.send()
        desk.deliver(reliably=True)
        meet_in_room(room, desk)
    desk.send()
    desk.deliver(reliably=True)
    desk.send()
    desk.deliver(reliably=True)
    assert desk.link.is_settled and desk.tab_link.is_settled
    assert desk.link.compose().update == b"" == desk.tab_link.compose().update


def test_a_tab_does_not_echo_what_came_over_the_channel() -> None:
    session, tab = Replica(), Replica()
    link, tab_link = Channel(session), Channel(tab)
    origins: list[str] = []
    tab.subscribe(lambda update, origin: origins.append(origin))
    session.set("a", 1)
    frame = link.compose()
    tab_link.receive(frame, read_report(frame))
    assert tab_link.compose().update == b""
    assert origins == [TAB] != [LOCAL]


def test_python_reads_the_vectors_that_the_browser_reads() -> None:
    content = json.loads(VECTORS.read_text(encoding="utf-8"))
    assert len(content["vectors"]) >= 40 and len(content["merged"]) >= 20
    for vector in content["vectors"]:
        assert plain(vector) == vector["state"], f"seed {vector['seed']}"
    for vector in content["merged"]:
        assert plain(vector) == vector["roots"], f"merged seed {vector['seed']}"


def test_the_committed_vectors_are_what_make_py_writes() -> None:
    assert json.loads(VECTORS.read_text(encoding="utf-8")) == make_vectors(), (
        "run  python tests/vectors/make.py"
    )
