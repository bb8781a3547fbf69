"""Behind the gate: what a connection may do with its token, how long, and how much (rules A1, A2, A3, N1)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from pycrdt import Doc, Map

from streamlit_crdt_server import CloseCode, Hub, KeyRing, Role, Settings, create_app, mint, protocol
from streamlit_crdt_server.asgi.rate_limits import ConnectionCounter, RateLimit, RateLimiter
from streamlit_crdt_server.yjs.lib0 import encode_bytes, encode_varuint
from tests.server.support.asgi import Request, Visit, visit
from tests.server.support.fake_channel import (
    DEADLINE_S,
    LIMITS,
    Client,
    FakeChannel,
    connected,
    presence_frame,
    until,
)
from tests.server.support.unreliable_store import UnreliableStore

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000.0
RING = KeyRing.from_secret("the secret of this server")


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class House:
    """A hub, its application, and the clock by which tokens end."""

    hub: Hub
    app: Any
    clock: Clock

    @asynccontextmanager
    async def visit(self, role: Role = Role.EDITOR, **changes: Any) -> AsyncIterator[Visit]:
        query = f"token={self.token(role, **changes)}"
        async with visit(self.app, Request(query=query)) as visited:
            yield visited

    def token(self, role: Role = Role.EDITOR, **changes: Any) -> str:
        options: dict[str, Any] = {
            "rooms": {"room": role},
            "user": "ada",
            "name": "Ada",
            "session": "s1",
            "ttl_s": 600.0,
            "now": self.clock(),
        }
        return mint(RING, **(options | changes))

    async def values(self) -> dict[str, Any]:
        """What the room holds, once everything that was sent before is applied."""
        peer = await self.hub.aopen_local("room")
        ydoc: Doc[Any] = Doc()
        ydoc.apply_update(peer.drain() or b"\0\0")
        peer.close()
        return dict(ydoc.get("state", type=Map).to_py() or {})


@asynccontextmanager
async def house(**settings: Any) -> AsyncIterator[House]:
    chosen = Settings(host="0.0.0.0", **settings)
    clock = Clock()
    async with Hub(chosen, keys=RING) as hub:
        yield House(hub, create_app(chosen, hub=hub, clock=clock), clock)


async def settled(visited: Visit) -> None:
    """Return once everything that was put before has been read: who is here is answered in order."""
    seen = len(visited.frames)
    visited.put(protocol.sync_step1(b"\0"))
    await until(lambda: any(frame[:2] == b"\0\1" for frame in visited.frames[seen:]) or visited.close_code)


def update() -> bytes:
    return Client(FakeChannel()).set("forged", True)


def presence_of(visited: Visit, client_id: int) -> Any:
    """What is known of a client id, from the frames that somebody received."""
    state = None
    for frame in visited.frames:
        message = protocol.parse(frame, LIMITS)
        if isinstance(message, protocol.AwarenessUpdate):
            for presence in message.presences:
                state = presence.state if presence.client_id == client_id else state
    return state


VIEWERS_FRAMES = {
    "an update": lambda: protocol.sync_update(update()),
    "an answer to a question": lambda: protocol.sync_step2(update()),
    "an update a hundred times": lambda: protocol.sync_update(update()),
    "an update in the type of a question": lambda: b"\0\0" + encode_bytes(update()),
    "an update of an unknown sync type": lambda: b"\0\3" + encode_bytes(update()),
    "an update with a longer spelling of its type": lambda: b"\x80\0\2" + encode_bytes(update()),
    "an update with a longer spelling of its sync type": lambda: b"\0\x82\0" + encode_bytes(update()),
    "an update in a presence": lambda: b"\1" + encode_bytes(update()),
    "an update as permission": lambda: b"\2\1" + encode_bytes(update()),
    "an update as a question who is there": lambda: b"\3" + encode_bytes(update()),
    "an update as a question what is saved": lambda: b"\x66" + encode_bytes(update()),
    "an update as a renewal": lambda: b"\x68" + encode_bytes(update()),
    "an update of a type that is unknown": lambda: b"\x67" + encode_bytes(update()),
    "two messages in a frame": lambda: b"\3" + protocol.sync_update(update()),
    "an update after a renewal in one frame": lambda: protocol.renewal("x") + protocol.sync_update(update()),
    "nothing": lambda: b"",
    "a text": lambda: "text",
}


@pytest.mark.parametrize("name", VIEWERS_FRAMES)
async def test_A1_a_viewer_cannot_change_the_room_by_any_message(name: str) -> None:
    async with house() as home, home.visit(Role.VIEWER) as viewer:
        for _ in range(100 if "hundred" in name else 1):
            viewer.put(VIEWERS_FRAMES[name]())
        await settled(viewer)
        async with home.visit(Role.EDITOR, user="bob", session="s2") as editor:
            editor.put(protocol.sync_update(Client(FakeChannel()).set("written", 1)))
            await settled(editor)
            await until(lambda: any(frame[:2] == b"\0\2" for frame in editor.frames))
        assert await home.values() == {"written": 1}


async def test_A1_a_viewer_is_told_once_and_stays() -> None:
    async with house() as home, home.visit(Role.VIEWER) as viewer:
        for _ in range(3):
            viewer.put(protocol.sync_update(update()))
        await settled(viewer)
        assert sum(frame[:2] == b"\2\0" for frame in viewer.frames) == 1
        assert viewer.close_code is None


async def test_A2_a_token_that_ends_closes_its_socket_and_is_not_let_in_again() -> None:
    async with house() as home:
        text = home.token(ttl_s=0.05)
        async with visit(home.app, Request(query=f"token={text}")) as visited:
            await until(lambda: visited.close_code is not None)
            assert visited.close_code == CloseCode.TOKEN_EXPIRED
        home.clock.now += 1
        async with visit(home.app, Request(query=f"token={text}")) as visited:
            assert not visited.is_accepted
        assert 'streamlit_crdt_closes_total{code="4302"} 1.0' in home.hub.metrics.encode().decode()


async def test_A2_what_comes_after_the_end_of_a_token_is_not_read() -> None:
    async with house() as home, home.visit(ttl_s=600) as visited:
        visited.put(protocol.query_awareness())
        await settled(visited)
        home.clock.now += 601
        for _ in range(3):
            visited.put(protocol.sync_update(update()))
        await until(lambda: visited.close_code == CloseCode.TOKEN_EXPIRED)
        assert await home.values() == {}


async def test_A2_a_renewal_goes_on_with_the_new_token() -> None:
    async with house() as home, home.visit(ttl_s=0.2) as visited:
        visited.put(protocol.renewal(home.token(ttl_s=600)))
        await settled(visited)
        home.clock.now += 300
        visited.put(protocol.sync_update(update()))
        await settled(visited)
        assert visited.close_code is None
        await until_values(home, {"forged": True})


async def until_values(home: House, expected: dict[str, Any]) -> None:
    room = home.hub.rooms["room"]
    await until(lambda: (room.ydoc.get("state", type=Map).to_py() or {}) == expected)


RENEWALS = {
    "somebody else's": {"user": "bob", "session": "s2"},
    "another session's": {"session": "s2"},
    "another room's": {"rooms": {"other": Role.EDITOR}},
    "an ended one": {"now": NOW - 700},
    "one from before": {"ttl_s": 599.0},
    "the one it has": {},
}


@pytest.mark.parametrize("name", RENEWALS)
async def test_A2_a_renewal_makes_no_editor_of_a_viewer_with_a_token_that_is(name: str) -> None:
    async with house() as home, home.visit(Role.VIEWER) as viewer:
        viewer.put(protocol.renewal(home.token(Role.EDITOR, **RENEWALS[name])))
        viewer.put(protocol.sync_update(update()))
        await settled(viewer)
        assert viewer.close_code is None
        assert await home.values() == {}


async def test_A1_a_renewal_as_viewer_ends_the_writing_at_once() -> None:
    async with house() as home, home.visit(Role.EDITOR) as visited:
        visited.put(protocol.renewal(home.token(Role.VIEWER, ttl_s=900)))
        visited.put(protocol.sync_update(update()))
        visited.put(protocol.renewal(home.token(Role.EDITOR, ttl_s=600)))
        visited.put(protocol.sync_update(update()))
        await settled(visited)
        assert await home.values() == {}


@pytest.mark.parametrize("ttl_s", [600.0, 500.0])
async def test_A1_a_session_that_became_a_viewers_ends_the_writing_whenever_its_token_ends(
    ttl_s: float,
) -> None:
    async with house() as home, home.visit(Role.EDITOR) as visited:
        visited.put(protocol.renewal(home.token(Role.VIEWER, ttl_s=ttl_s)))
        visited.put(protocol.sync_update(update()))
        visited.put(protocol.renewal(home.token(Role.EDITOR)))
        visited.put(protocol.sync_update(update()))
        await settled(visited)
        assert visited.close_code is None
        assert await home.values() == {}


@pytest.mark.parametrize("ttl_s", [900.0, 500.0])
@pytest.mark.parametrize("role", Role)
async def test_A2_a_session_that_has_another_user_now_comes_back_with_the_new_token(
    role: Role, ttl_s: float
) -> None:
    async with house() as home, home.visit(Role.EDITOR) as visited:
        visited.put(protocol.renewal(home.token(role, user="guest-1", name="Guest", ttl_s=ttl_s)))
        visited.put(protocol.sync_update(update()))
        await until(lambda: visited.close_code == CloseCode.TOKEN_EXPIRED)
        assert await home.values() == {}
        async with home.visit(role, user="guest-1", name="Guest") as again:
            await settled(again)
            assert again.close_code is None


@pytest.mark.parametrize(
    "frame",
    [b"\x68", b"\x68\x05abc", protocol.renewal("x") + b"\0", b"\x68" + encode_varuint(2) + b"\xff\xfe"],
)
async def test_N2_a_malformed_renewal_closes_its_connection(frame: bytes) -> None:
    async with house() as home, home.visit() as visited:
        visited.put(frame)
        await until(lambda: visited.close_code == CloseCode.MALFORMED)


@pytest.mark.parametrize(
    "said",
    [
        '{"user":{"name":"The Admin","id":"root","color":"#fff"}}',
        '{"user":"The Admin"}',
        '{"user":{"name":"x"},"user":{"name":"The Admin"}}',
        '{"cursor":1}',
    ],
)
async def test_A3_the_name_that_others_see_is_that_of_the_token(said: str) -> None:
    async with house() as home, home.visit() as ada, home.visit(user="bob", session="s2") as bob:
        ada.put(presence_frame(7, 1, said))
        await until(lambda: presence_of(bob, 7) is not None)
        shown = presence_of(bob, 7)["user"]
        assert (shown["name"], shown["id"]) == ("Ada", "ada")
        assert "Admin" not in str(presence_of(bob, 7))


@pytest.mark.parametrize("said", ['"The Admin"', "[1]", "7", "true"])
async def test_A3_a_presence_that_no_name_can_be_put_into_is_malformed(said: str) -> None:
    async with house() as home, home.visit() as ada:
        ada.put(presence_frame(7, 1, said))
        await until(lambda: ada.close_code == CloseCode.MALFORMED)


async def test_A3_nobody_speaks_for_somebody_elses_client_id() -> None:
    async with house() as home, home.visit() as ada, home.visit(user="bob", session="s2") as bob:
        ada.put(presence_frame(7, 1))
        await until(lambda: presence_of(bob, 7))
        bob.put(presence_frame(7, 9, '{"user":{"name":"Bob"}}'))
        bob.put(presence_frame(7, 10, "null"))
        await settled(bob)
        await settled(ada)
        assert presence_of(ada, 7)["user"]["name"] == "Ada"


async def test_too_many_messages_close_their_connection_with_a_code_of_their_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with house(max_messages_per_s_per_connection=1) as home, home.visit() as visited:
        for _ in range(40):
            visited.put(protocol.query_awareness())
        await until(lambda: visited.close_code == CloseCode.TOO_FAST)
    assert "max_messages_per_s_per_connection" in caplog.text


async def test_too_many_bytes_close_their_connection_with_a_code_of_their_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    limits = {"max_bytes_per_s_per_connection": 100, "max_frame_bytes": 1000}
    async with house(**limits) as home, home.visit() as visited:
        for _ in range(40):
            visited.put(b"\x67" + b"x" * 500)
        await until(lambda: visited.close_code == CloseCode.TOO_FAST)
    assert "max_bytes_per_s_per_connection" in caplog.text


@pytest.mark.parametrize("kind", ["room", "user", "address"])
async def test_one_connection_too_many_is_refused_until_another_leaves(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with house(**{f"max_connections_per_{kind}": 2}) as home, AsyncExitStack() as stack:
        for _ in range(2):
            assert (await stack.enter_async_context(home.visit())).is_accepted
        async with home.visit() as third:
            assert not third.is_accepted
        assert f"max_connections_per_{kind}".upper() in caplog.text
        await stack.aclose()
        async with home.visit() as again:
            assert again.is_accepted


def test_connections_are_forgotten_when_they_leave_and_this_machine_counts_for_nothing() -> None:
    connections = ConnectionCounter(Settings(max_connections_per_address=1))
    for address in ("127.0.0.1", "::1", None):
        with connections.counted(room="r", user=None, address=address):
            connections.check(room="r", user=None, address=address)
    with connections.counted(room="r", user="u", address="192.0.2.1"):
        assert len(connections) == 3
    assert len(connections) == 0


def test_a_rate_allows_its_burst_and_then_its_average() -> None:
    rate = RateLimit(per_s=10, burst=20, now=0.0)
    assert all(rate.take(1, 0.0) for _ in range(20))
    assert not rate.take(1, 0.0)
    assert rate.take(1, 0.3)
    assert not rate.take(100, 1000.0)


def test_a_frame_of_the_largest_size_always_passes() -> None:
    settings = Settings(max_bytes_per_s_per_connection=1, max_frame_bytes=1_000_000)
    assert RateLimiter(settings, 0.0).find_excess(1_000_000, 0.0) is None


async def test_metrics_and_readiness_are_answered() -> None:
    async with house() as home, home.visit():
        await until_counted(
            home.app, b"streamlit_crdt_connections 1.0"
        )  # it is let in before it is in the room
        assert (await get(home.app, "/readyz"))[0] == 200


async def test_S4_a_server_whose_store_fails_is_not_ready_until_it_recovers() -> None:
    store = UnreliableStore()
    settings = Settings(require_token=False)
    async with Hub(settings, store=store) as hub, connected(hub) as ada:
        app = create_app(settings, hub=hub)
        store.can_write = False
        ada.edit("x", 1)
        await until(lambda: store.attempts)
        await until_status(app, 503)
        assert (await get(app, "/healthz"))[0] == 200
        store.can_write = True
        await until_status(app, 200)


async def until_counted(app: Any, line: bytes) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            status, body = await get(app, "/metrics")
            assert status == 200
            if line in body.splitlines():
                return
            await asyncio.sleep(0.002)


async def until_status(app: Any, expected: int) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while (await get(app, "/readyz"))[0] != expected:
            await asyncio.sleep(0.002)


async def get(app: Any, path: str) -> tuple[int, bytes]:
    answers: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(event: dict[str, Any]) -> None:
        answers.append(event)

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "root_path": "",
        "headers": [],
        "query_string": b"",
    }
    await app(scope, receive, send)
    return answers[0]["status"], b"".join(answer.get("body", b"") for answer in answers)
