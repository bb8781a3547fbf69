"""Default store of an app, and its fallback to memory."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from streamlit_crdt import crdt_app
from streamlit_crdt.backend.default_store import (
    VARIABLE,
    allows_memory_fallback,
    resolve_store,
    wait_until_unlocked,
)
from streamlit_crdt_server import Hub, StoreBusyError, StoreCorruptError, StoreReadOnlyError
from streamlit_crdt_server.storage.file_lock import FileLock

APP = "from streamlit_crdt import crdt_app\n\nmade = crdt_app()\n"


@pytest.fixture
def no_configured_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


def hub_of(made: dict[str, object]) -> Hub:
    hub = made["routes"][0].app.state.hub  # type: ignore[index]
    assert isinstance(hub, Hub)
    return hub


@pytest.mark.usefixtures("no_configured_store")
def test_default_store_is_beside_the_script_for_any_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, other = tmp_path / "app", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    (folder / "app.py").write_text(APP, encoding="utf-8")
    monkeypatch.chdir(other)
    made = runpy.run_path(str(folder / "app.py"))["made"]
    assert hub_of(made).settings.store == str(folder / "rooms.db")


@pytest.mark.parametrize("word", ["", " ", "memory"])
def test_environment_selects_a_store_in_memory(
    word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, word)
    assert resolve_store(tmp_path) in (None, "memory")
    assert hub_of(crdt_app()).store.level == 1


def test_store_argument_overrides_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "named.db"))
    assert hub_of(crdt_app()).settings.store == str(tmp_path / "named.db")
    assert hub_of(crdt_app(store="given.db")).settings.store == "given.db"
    assert hub_of(crdt_app(store=None)).settings.store is None


@pytest.mark.usefixtures("no_configured_store")
def test_S4_memory_fallback_requires_that_no_rooms_are_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rooms.db"
    assert allows_memory_fallback(StoreBusyError(str(path), "owned"), str(path))
    assert allows_memory_fallback(StoreReadOnlyError(str(path), "no"), str(path))
    path.touch()
    assert allows_memory_fallback(StoreBusyError(str(path), "owned"), str(path))
    assert not allows_memory_fallback(StoreReadOnlyError(str(path), "no"), str(path))
    assert not allows_memory_fallback(StoreCorruptError(str(path), "junk"), str(path))
    path.unlink()
    assert not allows_memory_fallback(StoreCorruptError(str(path), "lost"), str(path))
    monkeypatch.setenv(VARIABLE, str(path))
    assert not allows_memory_fallback(StoreReadOnlyError(str(path), "no"), str(path))
    assert not allows_memory_fallback(StoreBusyError(str(path), "owned"), str(path))


EMBEDDED = """
import logging, sys, threading
from types import SimpleNamespace
logging.basicConfig(stream=sys.stdout, format="%(message)s")
from streamlit.runtime.scriptrunner_utils.script_run_context import SCRIPT_RUN_CONTEXT_ATTR_NAME as ATTRIBUTE
run = SimpleNamespace(main_script_path=sys.argv[1], gather_usage_stats=False)
setattr(threading.current_thread(), ATTRIBUTE, run)
from streamlit_crdt.backend import backend
found = backend.find(None)
peer = found.open("r")
print("level", peer.level, flush=True)
sys.stdin.read()
"""


def embedded(folder: Path, *, store: Path | None = None) -> subprocess.Popen[str]:
    """Start a process of `folder/app.py` with an embedded server. It runs until its input ends.

    Args:
        store: configured store. None for the default store.
    """
    env = {name: value for name, value in os.environ.items() if name != VARIABLE}
    env |= {"STREAMLIT_CRDT_PORT": "0", "STREAMLIT_CRDT_FREEZE_GC": "0"}
    return subprocess.Popen(
        [sys.executable, "-c", EMBEDDED, str(folder / "app.py")],
        env=env if store is None else env | {VARIABLE: str(store)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_second_process_of_an_app_keeps_rooms_in_memory_and_logs_it_once(tmp_path: Path) -> None:
    with embedded(tmp_path) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "level 2\n"
        with embedded(tmp_path) as second:
            output, error = second.communicate("", timeout=60)
        assert output.count("kept in memory") == 1, error
        assert "rooms.db" in output
        assert "level 1\n" in output
        first.communicate("", timeout=60)


def test_wait_until_unlocked_ends_at_the_release_or_at_its_timeout(tmp_path: Path) -> None:
    store = tmp_path / "rooms.db"
    lock = FileLock(store)
    assert not wait_until_unlocked(str(store), timeout_s=0.2)
    threading.Timer(0.2, lock.release).start()
    assert wait_until_unlocked(str(store), timeout_s=30)
    assert wait_until_unlocked(None, timeout_s=0)


def test_S4_configured_store_in_use_raises_StoreBusyError_with_the_owner(tmp_path: Path) -> None:
    store = tmp_path / "named.db"
    with embedded(tmp_path, store=store) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "level 2\n"
        with embedded(tmp_path, store=store) as second:
            output, error = second.communicate("", timeout=60)
        first.communicate("", timeout=60)
    assert "level" not in output
    last = error.strip().splitlines()[-1]
    assert "StoreBusyError" in last
    assert str(store) in last
    assert f"process {first.pid} " in last


def test_S4_corrupt_store_raises_instead_of_showing_empty_rooms(tmp_path: Path) -> None:
    store = tmp_path / "rooms.db"
    store.write_bytes(b"this is no database" * 1000)
    with embedded(tmp_path, store=store) as app:
        output, error = app.communicate("", timeout=60)
    assert "level" not in output
    assert "StoreCorruptError" in error.strip().splitlines()[-1]
