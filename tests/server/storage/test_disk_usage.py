"""Bytes on disk per room and per creator, and the file of the creators."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pycrdt import Doc, Map

from streamlit_crdt_server import DiskLimitError, Hub, LocalPeer, RoomFullError, Settings
from streamlit_crdt_server.hub.creation_limits import Creator
from streamlit_crdt_server.storage.disk_usage import DiskUsage
from streamlit_crdt_server.storage.room_owners import OwnerFile, owner_of
from tests.server.support.fake_channel import DEADLINE_S, Client, FakeChannel

pytestmark = pytest.mark.anyio

ADA = Creator("ada")


async def write(peer: LocalPeer, size: int) -> None:
    await asyncio.wait_for(
        asyncio.wrap_future(peer.push(Client(FakeChannel()).set("x", "x" * size))), DEADLINE_S
    )


def values(peer: LocalPeer) -> Any:
    ydoc: Doc[Any] = Doc()
    ydoc.apply_update(peer.drain() or b"\0\0")
    return ydoc.get("state", type=Map).to_py()


@pytest.mark.parametrize("store", [None, "rooms.db"])
@pytest.mark.parametrize("limit", ["max_disk_bytes_per_room", "max_disk_bytes_per_user"])
async def test_room_beyond_its_limit_on_disk_is_read_only(
    store: str | None, limit: str, tmp_path: Path
) -> None:
    path = None if store is None else str(tmp_path / store)
    settings = Settings(require_token=False, store=path, **{limit: 2000})  # type: ignore[arg-type]
    async with Hub(settings) as hub:
        await write(await hub.aopen_local("room", creator=ADA), 3000)
        with pytest.raises(DiskLimitError, match=f"STREAMLIT_CRDT_{limit.upper()}") as caught:
            await write(await hub.aopen_local("room", creator=ADA), 10)
        assert isinstance(caught.value, RoomFullError)
        assert len(values(await hub.aopen_local("room"))["x"]) == 3000
        await write(await hub.aopen_local("other", creator=Creator("bob")), 10)
        if limit.endswith("user"):
            with pytest.raises(DiskLimitError):
                await write(await hub.aopen_local("another", creator=ADA), 10)
        await hub.delete_room("room")
        await write(await hub.aopen_local("room", creator=ADA), 10)


@pytest.mark.parametrize("limit", ["max_disk_bytes_per_room", "max_disk_bytes_per_user"])
async def test_limit_on_disk_applies_after_a_restart(limit: str, tmp_path: Path) -> None:
    settings = Settings(require_token=False, store=str(tmp_path / "rooms.db"), **{limit: 2000})  # type: ignore[arg-type]
    async with Hub(settings) as hub:
        await write(await hub.aopen_local("room", creator=ADA), 3000)
    async with Hub(settings) as hub:
        with pytest.raises(DiskLimitError):
            await write(await hub.aopen_local("room"), 10)


async def test_overwritten_content_counts_until_it_is_compacted(tmp_path: Path) -> None:
    settings = Settings(
        require_token=False, store=str(tmp_path / "rooms.db"), max_disk_bytes_per_user=200_000
    )
    async with Hub(settings) as hub:
        peer, client = await hub.aopen_local("room", creator=ADA), Client(FakeChannel())
        for number in range(100):
            await asyncio.wrap_future(peer.push(client.set("x", f"{number}" + "x" * 10_000)))


def test_sizes_and_owners_add_up() -> None:
    usage = DiskUsage(None, max_room_bytes=100, max_user_bytes=150)
    for room in ("a", "b"):
        usage.create(room, "ada")
        usage.resize(room, 80)
    usage.create("c", None)
    usage.resize("c", 90)
    assert [usage.find_excess(room) for room in "abc"] == [("max_disk_bytes_per_user", 150)] * 2 + [None]
    usage.resize("a", -40)
    assert usage.find_excess("b") is None
    usage.resize("c", 20)
    assert usage.find_excess("c") == ("max_disk_bytes_per_room", 100)
    for room in "abc":
        usage.delete(room)
    assert (usage.rooms_of, usage._bytes_of, usage._sizes, usage.names) == ({}, {}, {}, set())


def test_owner_file_keeps_the_last_owner_of_each_room(tmp_path: Path) -> None:
    file = OwnerFile(tmp_path / "rooms.db")
    for room, owner in (("a", "1"), ("b\u2028é", "2"), ("a", None), ("c", "3"), ("a", "4")):
        file.append(room, owner)
    assert file.load() == {"b\u2028é": "2", "c": "3", "a": "4"}
    assert file.path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("cut", range(1, 12))
def test_owner_file_with_a_cut_line_keeps_the_others(tmp_path: Path, cut: int) -> None:
    file = OwnerFile(tmp_path / "rooms.db")
    for room in ("a", "b"):
        file.append(room, "1")
    file.path.write_bytes(file.path.read_bytes()[:-cut])
    file.append("c", "2")
    assert file.load() | {"b": "1"} == {"a": "1", "b": "1", "c": "2"}


@pytest.mark.parametrize("line", ["[]", "{}", "1", '["a"]', '["a", 1]', '[1, "a"]', "\ufffd", "[" * 5000])
def test_owner_file_with_a_foreign_line_keeps_the_others(tmp_path: Path, line: str) -> None:
    file = OwnerFile(tmp_path / "rooms.db")
    file.append("a", "1")
    with file.path.open("a") as opened:
        opened.write("\n" + line)
    assert file.load() == {"a": "1"}


def test_owner_file_of_deleted_rooms_is_rewritten(tmp_path: Path) -> None:
    file = OwnerFile(tmp_path / "rooms.db")
    for number in range(200):
        file.append("a", str(number))
    before = file.path.stat().st_size
    assert file.load() == {"a": "199"}
    assert file.path.stat().st_size < before / 50
    assert file.load() == {"a": "199"}


def test_owner_file_that_cannot_be_written_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = OwnerFile(tmp_path / "missing" / "rooms.db")
    file.append("a", "1")
    assert file.load() == {}
    assert "cannot be written" in caplog.text


def test_digest_of_a_user_hides_the_user() -> None:
    assert "ada" not in owner_of("ada@example.com")
    assert owner_of("ada@example.com") != owner_of("bob@example.com")
