"""Both stores pass the contract; and which of them a text names."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamlit_crdt_server import MemoryStore, SettingsError, SQLiteStore, open_store
from streamlit_crdt_server.storage.store import Store
from tests.support.store_contract import StoreContract

pytestmark = pytest.mark.anyio


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()


class TestSQLiteStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return SQLiteStore(tmp_path / "rooms.db")


async def test_S5_a_sqlite_store_survives_the_process_and_a_memory_store_does_not() -> None:
    assert MemoryStore().level == 1
    assert SQLiteStore("rooms.db").level == 2


@pytest.mark.parametrize(
    "text", ["rooms.db", "sqlite:///rooms.db", "/srv/rooms.db", "sqlite:////srv/rooms.db"]
)
def test_a_path_names_a_file(text: str) -> None:
    store = open_store(text)
    assert isinstance(store, SQLiteStore)
    assert store.path == Path(text.removeprefix("sqlite:///")).resolve()


@pytest.mark.parametrize("text", [None, "memory"])
def test_without_a_file_rooms_are_kept_in_memory(text: str | None) -> None:
    assert isinstance(open_store(text), MemoryStore)


@pytest.mark.parametrize("text", ["", " ", "sqlite:///", "redis://cache", "postgres://db/rooms", "rooms/"])
def test_what_names_no_store_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="is not a store"):
        open_store(text)


async def test_a_room_in_memory_begins_alike_in_every_process_until_it_is_deleted() -> None:
    """Open tabs bring it back after a restart, and must not take that for another room."""
    one, two = MemoryStore(), MemoryStore()
    assert (await one.load("room")).epoch == (await two.load("room")).epoch
    await one.append("room", b"update")
    await one.delete("room")
    assert (await one.load("room")).epoch != (await two.load("room")).epoch
