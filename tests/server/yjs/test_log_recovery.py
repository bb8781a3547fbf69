"""Loading of a stored log in which something damages the document (rules S4 and N2)."""

from __future__ import annotations

from typing import Any

import pytest
from pycrdt import Doc, Map, merge_updates

from streamlit_crdt_server.yjs import log_recovery, safe_apply
from streamlit_crdt_server.yjs.log_recovery import LoadedLog, load_log
from streamlit_crdt_server.yjs.surrogate_pairs import SurrogatePairs


def written(key: str, value: str, replica: int) -> bytes:
    ydoc: Doc[Any] = Doc(client_id=replica)
    ydoc.get("state", type=Map)[key] = value
    return ydoc.get_update()


def values(loaded: LoadedLog) -> dict[str, Any]:
    found = loaded.ydoc.get("state", type=Map).to_py()
    assert found is not None
    return found


@pytest.fixture
def panics(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for a bug that no check detects: pycrdt panics at a value."""

    def load_update(ydoc: Doc[Any], update: bytes) -> None:
        if b"poison" in update:
            raise safe_apply.DocumentDamagedError("apply")
        safe_apply.load_update(ydoc, update)

    monkeypatch.setattr(log_recovery, "load_update", load_update)


@pytest.mark.usefixtures("panics")
def test_S4_part_that_damages_the_document_costs_no_other_content() -> None:
    row = merge_updates(written("a", "1", 1), written("b", "poison", 2), written("c", "3", 3))
    loaded = load_log([row, written("d", "4", 4)], SurrogatePairs())
    assert values(loaded) == {"a": "1", "c": "3", "d": "4"}
    assert loaded.misplaced == [written("b", "poison", 2)] and not loaded.bad_rows


@pytest.mark.usefixtures("panics")
def test_S4_row_with_many_damaging_parts_is_left_out() -> None:
    row = merge_updates(*(written(f"k{replica}", "poison", replica) for replica in range(1, 40)))
    loaded = load_log([row, written("d", "4", 99)], SurrogatePairs())
    assert values(loaded) == {"d": "4"}
    assert [stored for stored, _ in loaded.bad_rows] == [row]
