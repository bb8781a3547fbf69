"""`room.snapshots`, `room.export` and `room.load` of the headless client, over real sockets."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.harness import Process
from e2e.polling import settles_on
from streamlit_crdt import OutsideAppError, RoomLeftError, ViewOnlyError, connect
from streamlit_crdt_server import EmbeddedServer, Role
from tests.client.test_connect import address, secret, server, standalone, token, wait_until_equal

__all__ = ["secret", "server", "standalone"]


def test_snapshot_of_one_client_is_restored_by_another(server: EmbeddedServer) -> None:
    with (
        connect("room", server=address(server), user="nightly") as one,
        connect("room", server=address(server), token=token(Role.EDITOR)) as two,
    ):
        one.state["n"] = (1, 2.0)
        one.text("notes").set("hello")
        one.snapshots.save("v1")
        settles_on(lambda: [snapshot.name for snapshot in two.snapshots], ["v1"])
        assert two.snapshots["v1"].who == "nightly"
        two.state["n"] = 2
        two.text("notes").append("!")
        two.snapshots.save("v2")
        assert two.snapshots["v2"].who == "Ada"
        two.snapshots.restore("v1")
        assert dict(two.state) == {"n": (1, 2.0), "notes": "hello"}
        wait_until_equal(one, two)
        two.undo()
        assert dict(two.state) == {"n": 2, "notes": "hello!"}
        two.snapshots.delete("v1")
        settles_on(lambda: [snapshot.name for snapshot in one.snapshots], ["v2"])
    with connect("another", server=address(server)) as other:
        other.load(two.export("yjs"))
        assert dict(other.state) == {"n": 2, "notes": "hello!"} and "v2" in other.snapshots
    for late in (lambda: two.snapshots.save("v3"), lambda: two.load(two.export())):
        with pytest.raises(RoomLeftError):
            late()


def test_A1_viewer_client_can_only_export(server: EmbeddedServer) -> None:
    with connect("room", server=address(server)) as editor:
        editor.state["n"] = 1
        editor.snapshots.save("v1")
    with connect("room", server=address(server), role="viewer") as viewer:
        exported = viewer.export()
        for act in (viewer.snapshots.save, viewer.snapshots.restore, viewer.snapshots.delete):
            with pytest.raises(ViewOnlyError):
                act("v1")
        with pytest.raises(ViewOnlyError):
            viewer.load(exported)
        assert [snapshot.name for snapshot in viewer.snapshots] == ["v1"]
        with pytest.raises(OutsideAppError, match="snapshot_menu"):
            viewer.snapshot_menu()


def test_S5_snapshot_survives_a_server_restart(standalone: Process, tmp_path: Path) -> None:
    with connect("room", server=address(standalone)) as room:
        room.state["n"] = 1
        room.snapshots.save("v1")
        room.state["n"] = 2
    standalone.restart()
    with connect("room", server=address(standalone)) as room:
        assert [snapshot.name for snapshot in room.snapshots] == ["v1"]
        room.snapshots.restore("v1")
        assert room.state["n"] == 1
