"""Tokens of tabs, the keys that sign them, and the header of a frame."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from streamlit import config

from streamlit_crdt import crdt_app
from streamlit_crdt.access.participant import MAX_CHARS, Participant, User
from streamlit_crdt.access.room_context import KeyFilter
from streamlit_crdt.access.tab_token import TTL_S, TabToken
from streamlit_crdt.backend.backend import RemoteBackend, find, server_keys
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.errors import FrameError
from streamlit_crdt.merge import MergePolicy
from streamlit_crdt.session.room_session import RoomSession
from streamlit_crdt.transport.frame import Frame, decode_frame, read_report
from streamlit_crdt_server import KeyRing, Role, TokenError, mint, process_ring, verify
from tests.server.support.asgi import Request, visit
from tests.support.scripted_backend import ScriptedBackend, ScriptedPeer

KEYS = KeyRing.from_secret("a secret of some length")
EDITOR = Participant("editor", User("ada", "Ada"))
VIEWER = Participant("viewer", User("ada", "Ada"))


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_A2_token_contains_one_room_role_and_user() -> None:
    clock = Clock()
    claims = verify(KEYS, TabToken("planning", KEYS, clock=clock).issue(VIEWER) or "", now=clock.now)
    assert claims.rooms == {"planning": Role.VIEWER}
    assert (claims.user, claims.name) == ("ada", "Ada")
    assert claims.expires_at == clock.now + TTL_S


def test_A2_token_is_reused_for_half_of_its_lifetime() -> None:
    clock = Clock()
    token = TabToken("r", KEYS, clock=clock)
    first = token.issue(EDITOR)
    assert token.expires_in_s == TTL_S
    clock.now += TTL_S * 0.49
    assert token.issue(EDITOR) == first
    clock.now += TTL_S * 0.02
    second = token.issue(EDITOR)
    assert second != first
    assert token.expires_in_s == TTL_S


def test_A1_role_or_user_change_makes_new_token_of_same_session() -> None:
    token, now = TabToken("r", KEYS, clock=Clock()), Clock().now
    first, second = (verify(KEYS, token.issue(part) or "", now=now) for part in (EDITOR, VIEWER))
    assert first.role_in("r") is Role.EDITOR
    assert second.role_in("r") is Role.VIEWER
    assert first.session == second.session
    assert (
        first.session != verify(KEYS, TabToken("r", KEYS, clock=Clock()).issue(EDITOR) or "", now=now).session
    )


def test_session_without_key_has_no_token() -> None:
    token = TabToken("r", None)
    assert (token.issue(EDITOR), token.expires_in_s) == (None, None)


def test_token_with_longest_user_has_at_most_4096_chars() -> None:
    widest = User("\U0001f44d" * MAX_CHARS, "\U0001f44d" * MAX_CHARS)
    text = TabToken("r" * 128, KEYS).issue(Participant("editor", widest)) or ""
    assert 0 < len(text) <= 4096


def header(room_session: RoomSession) -> dict[str, Any]:
    return dict(decode_frame(room_session.tab.frame()).extra)


def tab_frame(room_session: RoomSession, ack: int = 0, **extra: Any) -> Frame:
    """Return a frame of the tab, newer than all before it."""
    n = room_session.connection.channel.report.n + 1
    return Frame(id=77, v=0, ack_of=room_session.replica.replica_id, ack=ack, extra={"n": n, **extra})


def receive(room_session: RoomSession, frame: Frame) -> bool:
    return room_session.receive(frame, read_report(frame), None)


def test_frame_header_contains_token_role_epoch_and_unsaved() -> None:
    room_session = RoomSession("r", ScriptedBackend(ScriptedPeer("a" * 32), keys=KEYS))
    room_session.select(KeyFilter(), MergePolicy(), VIEWER, again=False)
    room_session.attach()
    sent = header(room_session)
    assert verify(KEYS, sent["token"], now=0).role_in("r") is Role.VIEWER
    assert sent["token_expires_in_s"] == pytest.approx(TTL_S, abs=2)
    assert (sent["role"], sent["epoch"], sent["wants_saved"]) == ("viewer", "a" * 32, False)
    room_session.select(KeyFilter(), MergePolicy(), EDITOR, again=False)
    room_session.replica.set("a", 1)
    assert (header(room_session)["role"], header(room_session)["unsaved"]) == ("editor", 1)


@pytest.fixture
def no_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace session state, which does not exist outside of a script run."""
    monkeypatch.setattr("streamlit.session_state", type("Nothing", (), {"to_dict": lambda self: {}})())


@pytest.mark.usefixtures("no_state")
def test_A2_tab_gets_new_token_without_a_script_run() -> None:
    room_session = RoomSession("r", ScriptedBackend(ScriptedPeer(), keys=KEYS))
    room_session.attach()
    room_session.tab.token._clock = clock = Clock()
    before = header(room_session)["token"]
    clock.now += 1
    assert not receive(room_session, tab_frame(room_session))
    assert header(room_session)["token"] == before
    assert not receive(room_session, tab_frame(room_session, why="token"))
    assert header(room_session)["token"] != before


@pytest.mark.usefixtures("no_state")
def test_S5_tab_report_counts_where_only_the_tab_is_connected() -> None:
    room_session = RoomSession("r", RemoteBackend("ws://rooms.invalid"))
    assert header(room_session)["wants_saved"]
    room_session.replica.set("a", 1)
    room_session.replica.set("b", 1)
    assert room_session.unsaved_count == 2
    assert receive(room_session, tab_frame(room_session, ack=1, saved_v=1))  # the script has read the count
    assert room_session.unsaved_count == 1
    assert not room_session.flush(30)  # no frame can arrive during this run
    receive(room_session, tab_frame(room_session, ack=1, saved_v=2))
    assert room_session.unsaved_count == 1  # an unacknowledged update is not saved
    stranger = Frame(id=77, v=0, ack_of=5, ack=2, extra={"n": 9, "saved_v": 2})
    receive(room_session, stranger)
    assert room_session.unsaved_count == 1
    receive(room_session, tab_frame(room_session, ack=2, saved_v=2))
    assert room_session.unsaved_count == 0


@pytest.mark.usefixtures("no_state")
def test_S5_tab_report_is_ignored_where_the_room_is_local() -> None:
    room_session = RoomSession("r", ScriptedBackend(ScriptedPeer(), keys=KEYS))
    room_session.attach()
    room_session.replica.set("a", 1)
    receive(room_session, tab_frame(room_session, ack=1, saved_v=1))
    assert room_session.unsaved_count == 1


def history(key: str) -> bytes:
    replica = Replica()
    replica.set(key, 1)
    return replica.diff()


def test_recreated_room_gets_no_update_of_the_deleted_room(
    caplog: pytest.LogCaptureFixture,
) -> None:
    old, new = ScriptedPeer("a" * 32, history("old")), ScriptedPeer("b" * 32, history("new"))
    probed = ScriptedPeer("b" * 32)
    room_session = RoomSession("r", ScriptedBackend(old, probed, new, keys=KEYS))
    room_session.attach()
    former = room_session.replica
    former.set("mine", 1)
    old.waiting, old.is_closed = history("late"), True
    with caplog.at_level(logging.WARNING):
        room_session.attach()
    assert "'mine'" in caplog.text
    assert list(room_session.replica) == ["mine", "old"]
    assert (probed.updates, probed.is_closed) == ([], True)
    room_session.start_over()
    room_session.attach()
    assert list(room_session.replica) == ["new"]
    assert room_session.replica.replica_id != former.replica_id
    assert new.updates == []
    assert room_session.unsaved_count == 0
    former.set("afterwards", 1)  # a run that still uses the old replica
    assert new.updates == []
    room_session.replica.set("again", 1)
    assert len(new.updates) == 1


def test_restarted_room_gets_updates_of_the_same_epoch() -> None:
    old, new = ScriptedPeer("a" * 32), ScriptedPeer("a" * 32)
    room_session = RoomSession("r", ScriptedBackend(old, new, keys=KEYS))
    room_session.attach()
    room_session.replica.set("mine", 1)
    old.is_closed = True
    room_session.attach()
    assert len(new.updates) == 1
    assert list(room_session.replica) == ["mine"]


@pytest.mark.usefixtures("no_state")
def test_frame_of_former_epoch_is_rejected() -> None:
    room_session = RoomSession("r", ScriptedBackend(ScriptedPeer("b" * 32), keys=KEYS))
    room_session.attach()
    stale = Frame(id=77, v=1, update=history("old"), extra={"n": 1, "epoch": "a" * 32})
    with pytest.raises(FrameError, match="deleted"):
        receive(room_session, stale)
    assert list(room_session.replica) == []
    receive(room_session, Frame(id=77, v=1, update=history("new"), extra={"n": 1, "epoch": "b" * 32}))
    assert list(room_session.replica) == ["new"]


@pytest.mark.usefixtures("no_state")
def test_session_without_epoch_adopts_the_epoch_of_its_tab() -> None:
    room_session = RoomSession("r", RemoteBackend("ws://rooms.invalid"))
    assert header(room_session)["epoch"] is None
    receive(room_session, tab_frame(room_session, epoch="a" * 32))
    assert header(room_session)["epoch"] == "a" * 32
    with pytest.raises(FrameError):
        receive(room_session, tab_frame(room_session, epoch="b" * 32))


@pytest.fixture
def fresh_server_keys() -> Iterator[None]:
    server_keys.cache_clear()
    yield
    server_keys.cache_clear()


@pytest.mark.usefixtures("fresh_server_keys")
def test_app_signs_with_secret_of_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMLIT_CRDT_SECRET", "a secret of some length")
    assert server_keys("wss://rooms.invalid") == KEYS


@pytest.mark.usefixtures("fresh_server_keys")
def test_app_and_server_on_one_machine_share_a_key_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    from streamlit_crdt_server import Settings, standalone_ring

    monkeypatch.delenv("STREAMLIT_CRDT_SECRET", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert server_keys("ws://127.0.0.1:8765") == standalone_ring(Settings())


@pytest.mark.usefixtures("fresh_server_keys")
def test_missing_secret_logs_one_warning_with_the_setting(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("STREAMLIT_CRDT_SECRET", raising=False)
    with caplog.at_level(logging.WARNING):
        assert server_keys("wss://rooms.invalid") is None
        assert server_keys("wss://rooms.invalid") is None
    assert [record.getMessage().count("STREAMLIT_CRDT_SECRET") for record in caplog.records] == [1]


@pytest.mark.usefixtures("fresh_server_keys")
def test_missing_secret_is_not_logged_if_tokens_are_optional(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("STREAMLIT_CRDT_REQUIRE_TOKEN", "false")
    assert server_keys("wss://rooms.invalid") is None
    assert not caplog.records


@pytest.mark.anyio
async def test_A2_mounted_server_accepts_the_sessions_tab_only() -> None:
    made = crdt_app(store=None)
    async with made["lifespan"](None):
        place = find(None)
        token = TabToken("planning", place.keys).issue(EDITOR)
        app = made["routes"][0].app
        for room, protocols, expected in (
            ("planning", ("streamlit-crdt", f"token.{token}"), True),
            ("planning", ("streamlit-crdt",), False),
            ("planning", (), False),
            ("another", ("streamlit-crdt", f"token.{token}"), False),
        ):
            async with visit(app, Request(f"/{room}", subprotocols=protocols)) as visited:
                assert visited.is_accepted is expected


def test_A2_cookie_secret_determines_the_keys() -> None:
    one, two = (crdt_app(store=None)["routes"][0].app.state.hub.keys for _ in range(2))
    assert one == two
    assert crdt_app(store=None, secret="a secret of some length")["routes"][0].app.state.hub.keys == KEYS
    optional = crdt_app(store=None, require_token=False)["routes"][0].app.state.hub.keys
    assert optional not in (None, one)  # it only identifies the session of a socket


@pytest.mark.parametrize("cookie_secret", [None, "", "None", "changeme"])
def test_A2_guessable_cookie_secret_is_replaced_by_process_keys(
    cookie_secret: str | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    get_option = config.get_option
    monkeypatch.setattr(
        config,
        "get_option",
        lambda name: cookie_secret if name == "server.cookieSecret" else get_option(name),
    )
    keys = crdt_app(store=None)["routes"][0].app.state.hub.keys
    for guess in (str(cookie_secret), cookie_secret or ""):
        forged = mint(
            KeyRing.from_secret(guess, label="cookie secret"),
            rooms={"*": Role.EDITOR},
            user="eve",
            name="Admin",
            session="s",
            ttl_s=600,
            now=0.0,
        )
        with pytest.raises(TokenError):
            verify(keys, forged, now=0.0)
    assert keys is process_ring()
    assert "server.cookieSecret" in caplog.text
