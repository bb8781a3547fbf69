"""Where an app keeps its rooms when nobody said so, and when it may do without its file."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from streamlit_crdt import crdt_app
from streamlit_crdt.storing import VARIABLE, may_do_without, store_beside
from streamlit_crdt_server import Hub, StoreBusyError, StoreCorruptError, StoreReadOnlyError

APP = "from streamlit_crdt import crdt_app\n\nmade = crdt_app()\n"


@pytest.fixture
def nothing_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


def hub_of(made: dict[str, object]) -> Hub:
    hub = made["routes"][0].app.state.hub  # type: ignore[index]
    assert isinstance(hub, Hub)
    return hub


@pytest.mark.usefixtures("nothing_chosen")
def test_rooms_are_kept_beside_the_script_wherever_it_is_started_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, elsewhere = tmp_path / "app", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (folder / "app.py").write_text(APP, encoding="utf-8")
    monkeypatch.chdir(elsewhere)
    made = runpy.run_path(str(folder / "app.py"))["made"]
    assert hub_of(made).settings.store == str(folder / "rooms.db")


@pytest.mark.parametrize("word", ["", " ", "memory"])
def test_the_environment_can_ask_for_memory(
    word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, word)
    assert store_beside(tmp_path) in (None, "memory")
    assert hub_of(crdt_app()).store.level == 1


def test_the_environment_can_name_another_file_and_an_argument_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "named.db"))
    assert hub_of(crdt_app()).settings.store == str(tmp_path / "named.db")
    assert hub_of(crdt_app(store="given.db")).settings.store == "given.db"
    assert hub_of(crdt_app(store=None)).settings.store is None


@pytest.mark.usefixtures("nothing_chosen")
def test_S4_only_a_file_that_hides_no_rooms_may_be_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rooms.db"
    assert may_do_without(StoreBusyError(str(path), "owned"), str(path))
    assert may_do_without(StoreReadOnlyError(str(path), "no"), str(path))
    path.touch()
    assert may_do_without(StoreBusyError(str(path), "owned"), str(path))
    assert not may_do_without(StoreReadOnlyError(str(path), "no"), str(path))
    assert not may_do_without(StoreCorruptError(str(path), "junk"), str(path))
    path.unlink()
    monkeypatch.setenv(VARIABLE, str(path))
    assert not may_do_without(StoreReadOnlyError(str(path), "no"), str(path))


EMBEDDED = """
import logging, sys
logging.basicConfig(stream=sys.stdout, format="%(message)s")
from streamlit_crdt import place
found = place.find(None)
peer = found.open("r")
print("level", peer.level, flush=True)
sys.stdin.read()
"""


def embedded(store: Path) -> subprocess.Popen[str]:
    """An app's process with the room server embedded, up to where it waits for the end of its input."""
    env = {**os.environ, VARIABLE: str(store), "STREAMLIT_CRDT_PORT": "0"}
    return subprocess.Popen(
        [sys.executable, "-c", EMBEDDED],
        env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_an_app_that_is_run_twice_keeps_the_second_ones_rooms_in_memory_and_says_so(tmp_path: Path) -> None:
    store = tmp_path / "rooms.db"
    with embedded(store) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "level 2\n"
        with embedded(store) as second:
            said, error = second.communicate("", timeout=60)
        assert "kept in memory" in said, error
        assert "rooms.db" in said
        assert "level 1\n" in said
        first.communicate("", timeout=60)


def test_S4_an_app_whose_file_is_damaged_does_not_show_empty_rooms(tmp_path: Path) -> None:
    store = tmp_path / "rooms.db"
    store.write_bytes(b"this is no database" * 1000)
    with embedded(store) as app:
        said, error = app.communicate("", timeout=60)
    assert "level" not in said
    assert "StoreCorruptError" in error.strip().splitlines()[-1]
