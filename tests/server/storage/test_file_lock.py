"""Ownership of a store file: one process, one user, a file that is not moved."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamlit_crdt_server import SQLiteStore, StoreBusyError, StoreError, StoreUnavailableError

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rooms.db"


async def test_S5_file_moved_while_in_use_is_detected(path: Path) -> None:
    away = path.with_name("away.db")
    async with SQLiteStore(path) as store:
        await store.append("room", b"one")
        path.rename(away)
        for _ in range(2):
            with pytest.raises(StoreError):
                await store.append("room", b"two")
        assert not path.exists(), "an empty store instead of the file would be a partial room"
        away.rename(path)
        await store.append("room", b"three")
        stored = await store.load("room")
    assert stored.updates in ((b"one", b"three"), (b"one", b"two", b"three"))


async def test_S5_write_ahead_log_deleted_while_in_use_is_detected(path: Path) -> None:
    async with SQLiteStore(path) as store:
        await store.append("room", b"one")
        Path(f"{path}-wal").unlink()
        with pytest.raises(StoreUnavailableError, match="moved or deleted"):
            await store.append("room", b"two")
        await store.append("room", b"three")
    async with SQLiteStore(path) as store:
        updates = (await store.load("room")).updates
    assert [update for update in updates if update != b"two"] == [b"one", b"three"]


async def test_second_store_on_one_file_gets_error_with_owner(path: Path) -> None:
    link = path.with_name("link.db")
    async with SQLiteStore(path) as store:
        link.symlink_to(path)
        for name in (path, link):
            with pytest.raises(StoreBusyError, match=rf"process {os.getpid()} on .* uses it"):
                async with SQLiteStore(name):
                    pass
        await store.append("room", b"update")
    async with SQLiteStore(link) as store:
        assert (await store.load("room")).updates == (b"update",)


@pytest.fixture
def owner(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that owns the file while it runs."""
    code = (
        "import asyncio, sys\nfrom streamlit_crdt_server import SQLiteStore\n"
        "async def own():\n    async with SQLiteStore(sys.argv[1]):\n"
        "        print('owned', flush=True)\n        sys.stdin.read()\n"
        "asyncio.run(own())"
    )
    environ = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3] / "server")}
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environ,
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "owned\n"
        yield process


async def test_second_process_is_rejected_until_first_is_killed(
    path: Path, owner: subprocess.Popen[str]
) -> None:
    with pytest.raises(StoreBusyError, match=rf"process {owner.pid} on "):
        async with SQLiteStore(path):
            pass
    owner.kill()
    owner.wait()
    async with SQLiteStore(path) as store:
        await store.append("room", b"update")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no file modes")
async def test_store_files_are_accessible_by_this_user_only(path: Path) -> None:
    async with SQLiteStore(path) as store:
        await store.append("room", b"update")
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert set(modes) >= {"rooms.db", "rooms.db-wal", "rooms.db-lease", "rooms.db-mark"}
    assert set(modes.values()) == {0o600}
