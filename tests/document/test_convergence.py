"""Convergence of replicas on an unreliable network, and the shared vectors. A failure names the seed."""

from __future__ import annotations

import json
from random import Random

import pytest

from streamlit_crdt.codec.values import equal
from streamlit_crdt.document.replica import LOCAL, ROOM, TAB, Replica
from streamlit_crdt.transport.channel import Channel
from streamlit_crdt.transport.frame import decode_frame, encode_frame, read_report
from tests.support.fuzz import DELETED, Peer, deliver_unreliably, make_peers, random_value, sync_all
from tests.vectors.make import VECTORS, make_vectors, plain

SEEDS = range(30)
SOAK_SEEDS = range(30, 2_200)
SEEDS_PER_TEST = 10
PEERS = 5
EDITS_PER_PEER = 200


def state_of(replica: Replica) -> dict[str, object]:
    return {key: replica.get(key) for key in replica}


@pytest.mark.parametrize("first_seed", SEEDS[::SEEDS_PER_TEST])
def test_R2_R3_five_replicas_converge_on_an_unreliable_network(first_seed: int) -> None:
    for seed in range(first_seed, first_seed + SEEDS_PER_TEST):
        edit_five_replicas(seed)


@pytest.mark.soak
@pytest.mark.parametrize("first_seed", SOAK_SEEDS[::SEEDS_PER_TEST])
def test_R2_R3_five_replicas_converge_on_an_unreliable_network_soak(first_seed: int) -> None:
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
            for update in deliver_unreliably(waiting, random):
                peers[receiver].replica.apply(update)
    sync_all(peers)
    assert_agreement(peers, seed)


def assert_agreement(peers: list[Peer], seed: int) -> None:
    states = [state_of(peer.replica) for peer in peers]
    for state in states[1:]:
        assert equal(state, states[0]), f"seed {seed}: replicas differ"
    for peer in peers:
        for key, value in peer.written.items():
            last = states[0].get(key, DELETED)
            assert last is value or equal(last, value), f"seed {seed}: {key} was written last as {value!r}"


class SessionWithTab:
    """A session and its tab: two replicas, both ends of the channel, and a connection that loses frames."""

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
        """Replace the tab by one with an empty replica."""
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
def test_R2_R3_sessions_and_tabs_converge_over_lost_frames(first_seed: int) -> None:
    for seed in range(first_seed, first_seed + SEEDS_PER_TEST):
        edit_in_three_sessions(seed)


@pytest.mark.soak
@pytest.mark.parametrize("first_seed", SOAK_SEEDS[::SEEDS_PER_TEST])
def test_R2_R3_sessions_and_tabs_converge_over_lost_frames_soak(first_seed: int) -> None:
    for seed in range(first_seed, first_seed + SEEDS_PER_TEST):
        edit_in_three_sessions(seed)


def edit_in_three_sessions(seed: int) -> None:
    random = Random(seed)
    room = Replica(replica_id=1)
    sessions = [SessionWithTab(str(number), random) for number in range(3)]
    for _ in range(200):
        peer = random.choice(sessions)
        random.choice([peer.edit, peer.edit, peer.send, peer.deliver])()
        if random.random() < 0.1:
            meet_in_room(room, peer)
        if random.random() < 0.02:
            peer.reload()
    for peer in [*sessions, *sessions]:
        settle(room, peer)
    for peer in sessions:
        assert equal(state_of(peer.session), state_of(room)), f"seed {seed}: session {peer.name} differs"
        assert equal(state_of(peer.tab), state_of(room)), f"seed {seed}: tab {peer.name} differs"
        last = room.get(f"own-{peer.name}", DELETED)
        value = peer.written.get(f"own-{peer.name}", DELETED)
        assert last is value or equal(last, value), f"seed {seed}: own-{peer.name} was {value!r}"


def meet_in_room(room: Replica, peer: SessionWithTab) -> None:
    """Sync tab and room as the sockets do."""
    for update in peer.to_room:
        room.apply(update)
    peer.to_room.clear()
    room.apply(peer.tab.diff(room.state_vector()))
    peer.tab.apply(room.diff(peer.tab.state_vector()), origin=ROOM)


def settle(room: Replica, peer: SessionWithTab) -> None:
    for _ in range(4):
        peer.send()
        peer.deliver(reliably=True)
        meet_in_room(room, peer)
    peer.send()
    peer.deliver(reliably=True)
    peer.send()
    peer.deliver(reliably=True)
    assert peer.link.is_settled and peer.tab_link.is_settled
    assert peer.link.compose().update == b"" == peer.tab_link.compose().update


def test_tab_does_not_echo_updates_of_the_channel() -> None:
    session, tab = Replica(), Replica()
    link, tab_link = Channel(session), Channel(tab)
    origins: list[str] = []
    tab.subscribe(lambda update, origin: origins.append(origin))
    session.set("a", 1)
    frame = link.compose()
    tab_link.receive(frame, read_report(frame))
    assert tab_link.compose().update == b""
    assert origins == [TAB] != [LOCAL]


def test_python_reaches_the_state_of_the_vectors() -> None:
    content = json.loads(VECTORS.read_text(encoding="utf-8"))
    assert len(content["vectors"]) >= 40 and len(content["merged"]) >= 20
    for vector in content["vectors"]:
        assert plain(vector) == vector["state"], f"seed {vector['seed']}"
    for vector in content["merged"]:
        assert plain(vector) == vector["roots"], f"merged seed {vector['seed']}"


def test_committed_vectors_equal_the_generated_ones() -> None:
    assert json.loads(VECTORS.read_text(encoding="utf-8")) == make_vectors(), (
        "run  python tests/vectors/make.py"
    )
