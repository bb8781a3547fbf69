"""New rooms per user and per address are limited in rate and number. Existing rooms are not affected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streamlit_crdt_server import Hub, Settings, TooManyNewRoomsError
from streamlit_crdt_server.hub.creation_limits import BURST_MIN, MAX_BUCKETS, CreationLimits, Creator
from streamlit_crdt_server.storage.disk_usage import DiskUsage

pytestmark = pytest.mark.anyio

ADA = Creator("ada", "127.0.0.1")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def limits(**settings: Any) -> tuple[CreationLimits, Clock]:
    clock = Clock()
    usage = DiskUsage(None, max_room_bytes=10**6, max_user_bytes=10**6)
    return CreationLimits(Settings(**settings), usage, clock=clock), clock


def created(chosen: CreationLimits, creator: Creator, count: int, prefix: str = "r") -> int:
    """Create rooms until one is refused, and return their number."""
    for number in range(count):
        try:
            chosen.create(f"{prefix}{number}", creator)
        except TooManyNewRoomsError:
            return number
    return count


@pytest.mark.parametrize(
    ("setting", "creator"),
    [
        ("max_new_rooms_per_min_per_user", ADA),
        ("max_new_rooms_per_min_per_address", Creator(None, "192.0.2.1")),
    ],
)
def test_burst_of_new_rooms_is_limited_and_then_its_rate(setting: str, creator: Creator) -> None:
    chosen, clock = limits(**{setting: 6})
    assert created(chosen, creator, 1000) == int(6 * BURST_MIN)
    assert created(chosen, Creator("bob", "192.0.2.2"), 20, "other") == 20
    for minute in range(3):
        clock.now += 60
        assert created(chosen, creator, 1000, f"m{minute}-") == 6


def test_refused_creations_do_not_delay_the_next() -> None:
    chosen, clock = limits(max_new_rooms_per_min_per_user=60)
    created(chosen, ADA, 10_000)
    for _ in range(1000):
        assert created(chosen, ADA, 1, "x") == 0
    clock.now += 1.5
    assert created(chosen, ADA, 1, "y") == 1


@pytest.mark.parametrize(
    ("setting", "creator"),
    [("max_rooms_per_user", ADA), ("max_rooms_per_address", Creator(None, "192.0.2.1"))],
)
def test_number_of_rooms_is_limited_until_one_is_deleted(setting: str, creator: Creator) -> None:
    chosen, _ = limits(**{setting: 3})
    assert created(chosen, creator, 10) == 3
    chosen.delete("r1")
    chosen.create("another", creator)
    with pytest.raises(TooManyNewRoomsError, match=f"STREAMLIT_CRDT_{setting.upper()}"):
        chosen.create("one more", creator)


def test_unknown_clients_and_loopback_addresses_are_not_limited() -> None:
    chosen, _ = limits(max_rooms_per_address=1, max_new_rooms_per_min_per_address=1)
    for number, address in enumerate((None, "127.0.0.1", "::1", "::ffff:127.0.0.1")):
        assert created(chosen, Creator(None, address), 50, f"{number}-") == 50


def test_addresses_of_one_ipv6_network_share_a_limit() -> None:
    chosen, _ = limits(max_rooms_per_address=2)
    found = [created(chosen, Creator(None, f"2001:db8::{n}"), 1, f"{n}-") for n in range(1, 5)]
    assert found == [1, 1, 0, 0]


def test_unused_rates_are_forgotten() -> None:
    chosen, clock = limits()
    for number in range(MAX_BUCKETS + 10):
        clock.now += 1
        chosen.create(f"r{number}", Creator(f"user{number}"))
    assert len(chosen._buckets) <= MAX_BUCKETS


async def test_refused_new_room_leaves_existing_rooms_open() -> None:
    async with Hub(Settings(require_token=False, max_rooms_per_user=2)) as hub:
        for name in ("a", "b"):
            await hub.aopen_local(name, creator=ADA)
        for name in ("a", "b"):
            await hub.aopen_local(name, creator=ADA)
        with pytest.raises(TooManyNewRoomsError):
            await hub.aopen_local("c", creator=ADA)
        assert set(hub.rooms) == {"a", "b"}
        await hub.aopen_local("c", creator=Creator("bob"))
        await hub.aopen_local("c", creator=ADA)
        await hub.delete_room("a")
        await hub.aopen_local("d", creator=ADA)


async def test_number_of_rooms_of_a_user_survives_a_restart(tmp_path: Path) -> None:
    settings = Settings(require_token=False, max_rooms_per_user=2, store=str(tmp_path / "rooms.db"))
    async with Hub(settings) as hub:
        for name in ("a", "json:notebook:1"):
            await hub.aopen_local(name, creator=ADA)
    async with Hub(settings) as hub:
        await hub.aopen_local("a", creator=ADA)
        with pytest.raises(TooManyNewRoomsError):
            await hub.aopen_local("c", creator=ADA)
        await hub.delete_room("a")
    async with Hub(settings) as hub:
        await hub.aopen_local("c", creator=ADA)
        with pytest.raises(TooManyNewRoomsError):
            await hub.aopen_local("a", creator=ADA)
