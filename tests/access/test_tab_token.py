"""The token that a session mints for its tab, where its key comes from, and what else the tab is told."""

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


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


KEYS = KeyRing.from_secret("a secret of some length")
EDITOR = Participant("editor", User("ada", "Ada"))
VIEWER = Participant("viewer", User("ada", "Ada"))


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_A2_a_token_opens_one_room_in_one_role_for_one_user() -> None:
    clock = Clock()
    claims = verify(KEYS, TabToken("planning", KEYS, clock=clock).show(VIEWER) or "", now=clock.now)
    assert claims.rooms == {"planning": Role.VIEWER}
    assert (claims.user, claims.name) == ("ada", "Ada")
    assert claims.expires_at == clock.now + TTL_S


def test_a_token_is_shown_again_until_half_of_its_life_is_over() -> None:
    clock = Clock()
    ticket = TabToken("r", KEYS, clock=clock)
    first = ticket.show(EDITOR)
    assert ticket.expires_in_s == TTL_S
    clock.now += TTL_S * 0.49
    assert ticket.show(EDITOR) == first
    clock.now += TTL_S * 0.02
    second = ticket.show(EDITOR)
    assert second != first
    assert ticket.expires_in_s == TTL_S


def test_A1_another_role_or_another_user_is_another_token_of_the_same_session() -> None:
    ticket, now = TabToken("r", KEYS, clock=Clock()), Clock().now
    first, second = (verify(KEYS, ticket.show(part) or "", now=now) for part in (EDITOR, VIEWER))
    assert first.role_in("r") is Role.EDITOR
    assert second.role_in("r") is Role.VIEWER
    assert first.session == second.session
    assert (
        first.session != verify(KEYS, TabToken("r", KEYS, clock=Clock()).show(EDITOR) or "", now=now).session
    )


def test_without_a_key_there_is_no_token() -> None:
    ticket = TabToken("r", None)
    assert (ticket.show(EDITOR), ticket.expires_in_s) == (None, None)


def test_a_token_with_the_longest_user_is_short_enough_for_the_tab() -> None:
    widest = User("\U0001f44d" * MAX_CHARS, "\U0001f44d" * MAX_CHARS)
    text = TabToken("r" * 128, KEYS).show(Participant("editor", widest)) or ""
    assert 0 < len(text) <= 4096


def header(binding: RoomSession) -> dict[str, Any]:
    return dict(decode_frame(binding.frame()).extra)


def tab_frame(binding: RoomSession, ack: int = 0, **extra: Any) -> Frame:
    """A frame of a tab with nothing to say but `extra`, newer than all before it."""
    n = binding.connection.channel.report.n + 1
    return Frame(id=77, v=0, ack_of=binding.replica.replica_id, ack=ack, extra={"n": n, **extra})


def receive(binding: RoomSession, frame: Frame) -> bool:
    return binding.receive(frame, read_report(frame), None)


def test_the_tab_is_told_its_token_role_and_epoch_and_what_waits_to_be_saved() -> None:
    binding = RoomSession("r", ScriptedBackend(ScriptedPeer("a" * 32), keys=KEYS))
    binding.select(KeyFilter(), MergePolicy(), VIEWER, again=False)
    binding.attach()
    told = header(binding)
    assert verify(KEYS, told["token"], now=0).role_in("r") is Role.VIEWER
    assert told["token_expires_in_s"] == pytest.approx(TTL_S, abs=2)
    assert (told["role"], told["epoch"], told["wants_saved"]) == ("viewer", "a" * 32, False)
    binding.select(KeyFilter(), MergePolicy(), EDITOR, again=False)
    binding.replica.set("a", 1)
    assert (header(binding)["role"], header(binding)["unsaved"]) == ("editor", 1)


@pytest.fixture
def no_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of a script there is no state; what the tab says is read all the same."""
    monkeypatch.setattr("streamlit.session_state", type("Nothing", (), {"to_dict": lambda self: {}})())


@pytest.mark.usefixtures("no_state")
def test_A2_a_tab_that_asks_for_a_token_gets_a_new_one_without_a_script_run() -> None:
    binding = RoomSession("r", ScriptedBackend(ScriptedPeer(), keys=KEYS))
    binding.attach()
    binding.tab.token._clock = clock = Clock()
    before = header(binding)["token"]
    clock.now += 1
    assert not receive(binding, tab_frame(binding))
    assert header(binding)["token"] == before
    assert not receive(binding, tab_frame(binding, why="token"))
    assert header(binding)["token"] != before


@pytest.mark.usefixtures("no_state")
def test_S5_where_only_the_tab_reaches_the_room_its_word_counts() -> None:
    binding = RoomSession("r", RemoteBackend("ws://rooms.invalid"))
    assert header(binding)["wants_saved"]
    binding.replica.set("a", 1)
    binding.replica.set("b", 1)
    assert binding.unsaved_count == 2
    assert receive(binding, tab_frame(binding, ack=1, saved_v=1))  # the script has asked, so it is told
    assert binding.unsaved_count == 1
    assert not binding.flush(30)  # the tab is heard only after this run
    receive(binding, tab_frame(binding, ack=1, saved_v=2))
    assert binding.unsaved_count == 1  # what was not acknowledged cannot be saved
    stranger = Frame(id=77, v=0, ack_of=5, ack=2, extra={"n": 9, "saved_v": 2})
    receive(binding, stranger)
    assert binding.unsaved_count == 1
    receive(binding, tab_frame(binding, ack=2, saved_v=2))
    assert binding.unsaved_count == 0


@pytest.mark.usefixtures("no_state")
def test_S5_the_tabs_word_does_not_count_where_the_room_itself_answers() -> None:
    binding = RoomSession("r", ScriptedBackend(ScriptedPeer(), keys=KEYS))
    binding.attach()
    binding.replica.set("a", 1)
    receive(binding, tab_frame(binding, ack=1, saved_v=1))
    assert binding.unsaved_count == 1


def history(key: str) -> bytes:
    replica = Replica()
    replica.set(key, 1)
    return replica.diff()


def test_a_room_that_was_deleted_gets_nothing_of_its_old_history_until_the_session_comes_back_on_purpose(
    caplog: pytest.LogCaptureFixture,
) -> None:
    old, new = ScriptedPeer("a" * 32, history("old")), ScriptedPeer("b" * 32, history("new"))
    probed = ScriptedPeer("b" * 32)
    binding = RoomSession("r", ScriptedBackend(old, probed, new, keys=KEYS))
    binding.attach()
    former = binding.replica
    former.set("mine", 1)
    old.waiting, old.is_closed = history("late"), True
    with caplog.at_level(logging.WARNING):
        binding.attach()
    assert "'mine'" in caplog.text
    assert list(binding.replica) == ["mine", "old"]
    assert (probed.updates, probed.is_closed) == ([], True)
    binding.start_over()
    binding.attach()
    assert list(binding.replica) == ["new"]
    assert binding.replica.replica_id != former.replica_id
    assert new.updates == []
    assert binding.unsaved_count == 0
    former.set("afterwards", 1)  # a run that still holds the old replica
    assert new.updates == []
    binding.replica.set("again", 1)
    assert len(new.updates) == 1


def test_a_room_that_merely_restarted_goes_on_with_its_history() -> None:
    old, new = ScriptedPeer("a" * 32), ScriptedPeer("a" * 32)
    binding = RoomSession("r", ScriptedBackend(old, new, keys=KEYS))
    binding.attach()
    binding.replica.set("mine", 1)
    old.is_closed = True
    binding.attach()
    assert len(new.updates) == 1
    assert list(binding.replica) == ["mine"]


@pytest.mark.usefixtures("no_state")
def test_a_frame_from_before_the_room_was_deleted_is_refused() -> None:
    binding = RoomSession("r", ScriptedBackend(ScriptedPeer("b" * 32), keys=KEYS))
    binding.attach()
    stale = Frame(id=77, v=1, update=history("old"), extra={"n": 1, "epoch": "a" * 32})
    with pytest.raises(FrameError, match="deleted"):
        receive(binding, stale)
    assert list(binding.replica) == []
    receive(binding, Frame(id=77, v=1, update=history("new"), extra={"n": 1, "epoch": "b" * 32}))
    assert list(binding.replica) == ["new"]


@pytest.mark.usefixtures("no_state")
def test_a_session_that_knows_no_epoch_takes_the_tabs_and_holds_to_it() -> None:
    binding = RoomSession("r", RemoteBackend("ws://rooms.invalid"))
    assert header(binding)["epoch"] is None
    receive(binding, tab_frame(binding, epoch="a" * 32))
    assert header(binding)["epoch"] == "a" * 32
    with pytest.raises(FrameError):
        receive(binding, tab_frame(binding, epoch="b" * 32))


@pytest.fixture
def asked_anew() -> Iterator[None]:
    server_keys.cache_clear()
    yield
    server_keys.cache_clear()


@pytest.mark.usefixtures("asked_anew")
def test_the_app_signs_with_the_secret_that_the_server_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMLIT_CRDT_SECRET", "a secret of some length")
    assert server_keys("wss://rooms.invalid") == KEYS


@pytest.mark.usefixtures("asked_anew")
def test_on_this_machine_app_and_server_share_a_key_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    from streamlit_crdt_server import Settings, standalone_ring

    monkeypatch.delenv("STREAMLIT_CRDT_SECRET", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert server_keys("ws://127.0.0.1:8765") == standalone_ring(Settings())


@pytest.mark.usefixtures("asked_anew")
def test_without_the_servers_secret_one_warning_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("STREAMLIT_CRDT_SECRET", raising=False)
    with caplog.at_level(logging.WARNING):
        assert server_keys("wss://rooms.invalid") is None
        assert server_keys("wss://rooms.invalid") is None
    assert [record.getMessage().count("STREAMLIT_CRDT_SECRET") for record in caplog.records] == [1]


@pytest.mark.usefixtures("asked_anew")
def test_where_no_token_is_required_none_is_missed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("STREAMLIT_CRDT_REQUIRE_TOKEN", "false")
    assert server_keys("wss://rooms.invalid") is None
    assert not caplog.records


@pytest.mark.anyio
async def test_A2_the_gate_of_a_mounted_server_lets_a_sessions_tab_in_and_nobody_else() -> None:
    made = crdt_app(store=None)
    async with made["lifespan"](None):
        place = find(None)
        token = TabToken("planning", place.keys).show(EDITOR)
        app = made["routes"][0].app
        for room, protocols, expected in (
            ("planning", ("streamlit-crdt", f"token.{token}"), True),
            ("planning", ("streamlit-crdt",), False),
            ("planning", (), False),
            ("another", ("streamlit-crdt", f"token.{token}"), False),
        ):
            async with visit(app, Request(f"/{room}", subprotocols=protocols)) as visited:
                assert visited.is_accepted is expected


def test_A2_an_app_that_keeps_its_cookie_secret_keeps_its_keys() -> None:
    one, two = (crdt_app(store=None)["routes"][0].app.state.hub.keys for _ in range(2))
    assert one == two
    assert crdt_app(store=None, secret="a secret of some length")["routes"][0].app.state.hub.keys == KEYS
    needless = crdt_app(store=None, require_token=False)["routes"][0].app.state.hub.keys
    assert needless not in (None, one)  # it only tells whose a socket is


@pytest.mark.parametrize("cookie_secret", [None, "", "None", "changeme"])
def test_A2_an_app_whose_cookie_secret_could_be_guessed_has_keys_of_its_process(
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
