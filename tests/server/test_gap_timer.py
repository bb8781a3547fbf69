"""Times of requests for missing updates."""

from __future__ import annotations

from collections.abc import Container, Mapping

from streamlit_crdt_server.gap_timer import FIRST_REQUEST_S, REQUESTS_TO_ALL, TO_ALL_PER_S, GapTimer

HOUR_S = 3600.0
GAP = {"ada": 1}


class Clock:
    """A fake clock, and the requests of a timer that is asked whenever it wants to be."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timer: GapTimer[str] = GapTimer(0.0)
        self.alone: list[tuple[float, str]] = []
        self.to_all: list[float] = []

    def run(self, gaps: Mapping[str, int], until: float, reachable: Container[str] | None = None) -> None:
        """Take requests until a time, while the gaps stay as they are."""
        self.take(gaps, reachable)
        while (wait_s := self.timer.wait_s(self.now)) is not None and self.now + wait_s <= until:
            assert wait_s > 0, "the timer is due again at once"
            self.now += wait_s
            self.take(gaps, reachable)
        self.now = until

    def take(self, gaps: Mapping[str, int], reachable: Container[str] | None = None) -> None:
        request = self.timer.take(gaps, self.now, reachable)
        self.alone += [(self.now, sender) for sender in request.senders]
        if request.is_for_all:
            self.to_all.append(self.now)


def test_S6_gap_asks_its_sender_first_and_then_all_peers() -> None:
    clock = Clock()
    clock.run(GAP, 0.9)
    assert (clock.alone, clock.to_all) == ([], [])
    clock.run(GAP, 2.5)
    assert (clock.alone, clock.to_all) == ([(1.0, "ada")], [2.0])


def test_S6_closed_gap_asks_nobody_and_ends_the_wait() -> None:
    clock = Clock()
    clock.run(GAP, 0.9)
    clock.run({}, HOUR_S)
    assert (clock.alone, clock.to_all, clock.timer.wait_s(clock.now)) == ([], [], None)


def test_S6_gap_that_moves_on_is_a_new_one() -> None:
    clock = Clock()
    for number in range(100):
        clock.run({"ada": number}, clock.now + 0.9 * FIRST_REQUEST_S)
    assert (clock.alone, clock.to_all) == ([], [])


def test_S6_gap_of_an_unreachable_sender_asks_all_peers_at_once() -> None:
    clock = Clock()
    clock.run(GAP, 1.5, reachable=())
    assert (clock.alone, clock.to_all) == ([], [1.0])


def test_N3_permanent_gap_causes_ever_fewer_requests() -> None:
    clock = Clock()
    clock.run(GAP, 24 * HOUR_S)
    assert len(clock.alone) == 1
    assert len(clock.to_all) <= 17  # 2 to the power of 17 seconds are more than a day
    waits = [later - earlier for earlier, later in zip(clock.to_all, clock.to_all[1:], strict=False)]
    assert waits == sorted(waits)


def test_N3_senders_that_come_and_go_cannot_ask_all_peers_without_end() -> None:
    clock = Clock()
    for number in range(2_000):
        clock.run({f"mallory{number}": number}, clock.now + 2.5 * FIRST_REQUEST_S)
    assert len(clock.alone) == 2_000
    assert len(clock.to_all) <= REQUESTS_TO_ALL + clock.now * TO_ALL_PER_S + 1


def test_N3_gap_beside_a_hostile_one_is_asked_for_in_time() -> None:
    clock = Clock()
    clock.run({"mallory": 1}, HOUR_S)
    asked = len(clock.to_all)
    clock.run({"mallory": 1, **GAP}, HOUR_S + 2.5)
    assert clock.alone[-1] == (HOUR_S + 1.0, "ada")
    assert clock.to_all[asked:] == [HOUR_S + 2.0]
