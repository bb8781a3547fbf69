"""`room.snapshot_menu` in scripts that AppTest runs. `e2e/test_snapshots.py` tests it in a browser."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from streamlit_crdt.document.stored_snapshots import StoredSnapshot
from streamlit_crdt.room.plain_text import printable
from streamlit_crdt.room.snapshot_menu import MAX_VISIBLE_SNAPSHOTS
from streamlit_crdt.room.snapshots import is_valid_name
from streamlit_crdt.session.streamlit_hooks import registry
from tests.support.app_sessions import caught_up, session
from tests.support.hostile_texts import HOSTILE_TEXTS, shown


@pytest.fixture
def room() -> str:
    return f"room-{uuid.uuid4().hex[:12]}"


def app(
    room: str | None, role: str = "editor", is_open: bool = True, keys: tuple[str, ...] = ("one",)
) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync, private_key

    with crdt_sync(room, role=role, user="Ada") as joined:  # type: ignore[arg-type]
        st.slider("size", 0, 10, key="size")
        for key in keys:
            st.session_state[private_key(f"snapshots:{room}:{key}:open")] = is_open
            joined.snapshot_menu(key=key)


def part(session: AppTest, kind: str, name: str) -> Any:
    return next(element for element in getattr(session, kind) if str(element.key).endswith(f":{name}"))


def has_part(session: AppTest, kind: str, name: str) -> bool:
    return any(str(element.key).endswith(f":{name}") for element in getattr(session, kind))


def save(session: AppTest, name: str) -> AppTest:
    part(session, "text_input", "name").set_value(name)
    part(session, "button", "save").click()
    return session.run()


def listed(session: AppTest) -> list[str]:
    return [text.value for text in session.text]


def test_menu_saves_lists_restores_and_deletes(room: str) -> None:
    ada, bob = session(app, room), session(app, room)
    assert [caption.value for caption in ada.caption] == ["No snapshots yet."]
    ada.slider[0].set_value(3).run()
    save(ada, "  v1 ")
    save(ada, "v2")
    assert listed(ada) == ["v2", "v1"] and ada.success[0].value == "Saved v2"
    assert listed(caught_up(bob)) == ["v2", "v1"]
    bob.slider[0].set_value(5).run()
    part(bob, "button", "restore:v1").click()
    bob.run()
    assert bob.slider[0].value == 3 and bob.success[0].value == "Restored v1"
    part(bob, "button", "delete:v1").click()
    assert listed(bob.run()) == ["v2"]
    assert listed(caught_up(ada)) == ["v2"]


def test_menu_shows_errors_instead_of_raising_them(room: str) -> None:
    ada, bob = session(app, room), session(app, room)
    save(ada, " ")
    assert shown(ada.error[0].value).startswith("Snapshot name '' is invalid") and not ada.exception
    save(ada, "v1")
    assert not ada.error
    caught_up(bob)
    for name in ("restore:v1", "delete:v1"):
        part(bob, "button", name)
    part(ada, "button", "delete:v1").click()
    ada.run()
    of_ada, of_bob = (live.room_sessions[room] for live in registry.sessions())
    assert of_ada.flush(30)
    of_bob.connection.drain()  # the snapshot is deleted while Bob's menu still shows it
    part(bob, "button", "restore:v1").click()
    bob.run()
    assert "no snapshot 'v1'" in shown(bob.error[0].value) and not bob.exception


def test_P8_menu_shares_no_widget(room: str) -> None:
    ada = session(app, room)
    save(ada, "v1")
    ada.slider[0].set_value(3).run()
    assert list(registry.sessions()[0].room_sessions[room].replica) == ["size"]


def test_A1_viewer_sees_snapshots_without_actions(room: str) -> None:
    ada, eve = session(app, room), session(app, room, role="viewer")
    save(ada, "v1")
    caught_up(eve)
    assert listed(eve) == ["v1"] and "View only" in eve.caption[0].value
    assert part(eve, "button", "restore:v1").disabled and part(eve, "button", "delete:v1").disabled
    assert not has_part(eve, "text_input", "name")


def test_closed_menu_renders_nothing_and_causes_no_rerun(room: str) -> None:
    ada, bob = session(app, room), session(app, room, is_open=False)
    assert not has_part(bob, "text_input", "name")
    save(ada, "v1")
    for live in registry.sessions():
        room_session = live.room_sessions[room]
        assert room_session.flush(30)
        room_session.connection.drain()
        assert not room_session.writer.has_news


def test_several_menus_work_outside_of_any_room() -> None:
    ada = session(app, None, keys=("one", "two"))
    save(ada, "v1")
    assert listed(ada) == ["v1", "v1"] and not ada.exception


def test_long_list_has_buttons_for_each_snapshot(room: str) -> None:
    ada = session(app, room)
    names = [f"v{number}" for number in range(MAX_VISIBLE_SNAPSHOTS + 3)]
    for name in names:
        save(ada, name)
    assert listed(ada) == names[::-1]
    assert all(has_part(ada, "button", f"restore:{name}") for name in names)


def test_A4_menu_shows_foreign_snapshots_as_plain_text(room: str) -> None:
    ada = session(app, room)
    (live,) = (live.room_sessions[room] for live in registry.sessions())
    names = [text for text in HOSTILE_TEXTS if is_valid_name(text)]
    for name in (*names, "two\nlines", "x" * 101):
        live.connection.replica.set_snapshot(
            name, StoredSnapshot.of("2026-01-01T00:00:00+00:00", name * 100, "{}")
        )
    ada.run()
    assert not ada.exception
    assert sorted(listed(ada)) == sorted(map(printable, names))
    authors = [shown(caption.value).rpartition(" · ")[0] for caption in ada.caption]
    assert sorted(authors) == sorted(printable((name * 100)[:100]) for name in names)
