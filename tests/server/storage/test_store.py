"""Contract of both stores, and stores by URL."""

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


async def test_S5_level_is_2_for_sqlite_store_and_1_for_memory_store() -> None:
    assert MemoryStore().level == 1
    assert SQLiteStore("rooms.db").level == 2


@pytest.mark.parametrize(
    "text", ["rooms.db", "sqlite:///rooms.db", "/srv/rooms.db", "sqlite:////srv/rooms.db"]
)
def test_path_or_url_opens_a_sqlite_store(text: str) -> None:
    store = open_store(text)
    assert isinstance(store, SQLiteStore)
    assert store.path == Path(text.removeprefix("sqlite:///")).resolve()


@pytest.mark.parametrize("text", [None, "memory"])
def test_none_or_memory_opens_a_memory_store(text: str | None) -> None:
    assert isinstance(open_store(text), MemoryStore)


@pytest.mark.parametrize("text", ["", " ", "sqlite:///", "redis://cache", "postgres://db/rooms", "rooms/"])
def test_invalid_store_url_is_rejected(text: str) -> None:
    with pytest.raises(SettingsError, match="is not a store"):
        open_store(text)


async def test_memory_store_has_fixed_first_epoch_until_deletion() -> None:
    """Open tabs restore the room after a restart, so that the restart must not look like a deletion."""
    one, two = MemoryStore(), MemoryStore()
    assert (await one.load("room")).epoch == (await two.load("room")).epoch
    await one.append("room", b"update")
    await one.delete("room")
    assert (await one.load("room")).epoch != (await two.load("room")).epoch
