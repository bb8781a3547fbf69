"""The hook `crdt_app(authorize=...)`: access to a room, and the highest role in it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from streamlit.testing.v1 import AppTest

from streamlit_crdt import EntryForbiddenError, Visitor, crdt_app
from streamlit_crdt.access import participant
from streamlit_crdt.access.participant import Role
from streamlit_crdt.session.streamlit_hooks import registry
from tests.support.app_sessions import caught_up, session


@pytest.fixture
def room() -> str:
    return f"room-{uuid.uuid4().hex[:12]}"


@pytest.fixture(autouse=True)
def no_hook() -> Iterator[None]:
    yield
    participant.install(None)


def board(room: str, role: str = "editor") -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    joined = crdt_sync(room, role=role)  # type: ignore[arg-type]
    st.slider("level", key="level")
    st.text(joined.role)


def role_shown(at: AppTest) -> str:
    return str(at.text[0].value)


@pytest.mark.parametrize(
    ("asked", "allowed", "given"),
    [("editor", "editor", "editor"), ("editor", "viewer", "viewer"), ("viewer", "editor", "viewer")],
)
def test_A1_hook_lowers_the_requested_role_only(room: str, asked: str, allowed: Role, given: str) -> None:
    asked_by = list[Visitor]()

    def authorize(visitor: Visitor) -> Role:
        asked_by.append(visitor)
        return allowed

    participant.install(authorize)
    assert role_shown(session(board, room, role=asked)) == given
    assert (asked_by[0].room, asked_by[0].role) == (room, asked)
    assert asked_by[0].user["email"] == "test@example.com"  # AppTest logs in this user


def test_A1_session_demoted_to_viewer_writes_nothing(room: str) -> None:
    roles = iter(["editor", "editor", "viewer", "viewer"])
    participant.install(lambda visitor: next(roles))  # type: ignore[arg-type,return-value]
    one = session(board, room)
    one.slider[0].set_value(5).run()
    one.slider[0].set_value(9).run()
    assert role_shown(one) == "viewer"
    assert one.slider[0].value == 5


def test_rejected_visitor_reads_and_writes_nothing(room: str) -> None:
    one = session(board, room)
    one.slider[0].set_value(5).run()
    participant.install(lambda visitor: None)
    other = session(board, room)
    assert other.exception[0].message == str(EntryForbiddenError(room))
    assert not other.slider


def test_visitor_rejected_in_later_run_leaves_the_room(room: str) -> None:
    one, two = session(board, room), session(board, room)
    (_, second) = (live for live in registry.sessions() if room in live.room_sessions)
    participant.install(lambda visitor: None)
    two.run()
    assert second.room_sessions[room].connection.peer is None
    participant.install(None)
    one.slider[0].set_value(7).run()
    assert caught_up(two).slider[0].value == 7


def test_hook_that_raises_or_returns_garbage_rejects_visitor(room: str) -> None:
    def authorize(visitor: Visitor) -> Role:
        raise LookupError("no such user")

    participant.install(authorize)
    at = session(board, room)
    assert "no such user" in at.exception[0].message
    participant.install(lambda visitor: "admin")  # type: ignore[arg-type,return-value]
    assert "admin" in session(board, room).exception[0].message


@pytest.mark.anyio
async def test_hook_is_installed_for_lifespan_of_app() -> None:
    lifespan = crdt_app(store=None, require_token=False, authorize=lambda visitor: "viewer")["lifespan"]
    async with lifespan(None):
        assert participant.authorized_role("planning", "editor") == "viewer"
    assert participant.authorized_role("planning", "editor") == "editor"
