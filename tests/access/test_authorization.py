"""`crdt_app(authorize=...)`: the app decides who may enter a room, and in which role."""

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
def test_A1_a_session_has_the_role_that_it_asks_for_or_less(
    room: str, asked: str, allowed: Role, given: str
) -> None:
    asked_by = list[Visitor]()

    def authorize(visitor: Visitor) -> Role:
        asked_by.append(visitor)
        return allowed

    participant.install(authorize)
    assert role_shown(session(board, room, role=asked)) == given
    assert (asked_by[0].room, asked_by[0].role) == (room, asked)
    assert asked_by[0].user["email"] == "test@example.com"  # who is logged in, to AppTest


def test_A1_whoever_is_made_a_viewer_changes_nothing_from_then_on(room: str) -> None:
    roles = iter(["editor", "editor", "viewer", "viewer"])
    participant.install(lambda visitor: next(roles))  # type: ignore[arg-type,return-value]
    one = session(board, room)
    one.slider[0].set_value(5).run()
    one.slider[0].set_value(9).run()
    assert role_shown(one) == "viewer"
    assert one.slider[0].value == 5


def test_who_may_not_enter_sees_and_writes_nothing(room: str) -> None:
    one = session(board, room)
    one.slider[0].set_value(5).run()
    participant.install(lambda visitor: None)
    other = session(board, room)
    assert other.exception[0].message == str(EntryForbiddenError(room))
    assert not other.slider


def test_who_is_shut_out_later_is_in_the_room_no_more(room: str) -> None:
    one, two = session(board, room), session(board, room)
    (_, second) = (live for live in registry.sessions() if room in live.room_sessions)
    participant.install(lambda visitor: None)
    two.run()
    assert second.room_sessions[room].connection.peer is None
    participant.install(None)
    one.slider[0].set_value(7).run()
    assert caught_up(two).slider[0].value == 7


def test_a_fault_of_the_hook_lets_nobody_in(room: str) -> None:
    def authorize(visitor: Visitor) -> Role:
        raise LookupError("no such user")

    participant.install(authorize)
    at = session(board, room)
    assert "no such user" in at.exception[0].message
    participant.install(lambda visitor: "admin")  # type: ignore[arg-type,return-value]
    assert "admin" in session(board, room).exception[0].message


@pytest.mark.anyio
async def test_the_hook_is_asked_while_the_app_runs() -> None:
    lifespan = crdt_app(store=None, require_token=False, authorize=lambda visitor: "viewer")["lifespan"]
    async with lifespan(None):
        assert participant.authorized_role("planning", "editor") == "viewer"
    assert participant.authorized_role("planning", "editor") == "editor"
