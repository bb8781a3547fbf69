"""Role, expiry, renewal, presence and limits of an accepted connection (rules A1, A2, A3, N1)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from pycrdt import Doc, Map

from streamlit_crdt_server import (
    CloseCode,
    Hub,
    KeyRing,
    Role,
    Settings,
    TooManyConnectionsError,
    create_app,
    mint,
    protocol,
)
from streamlit_crdt_server.asgi.rate_limits import (
    ConnectionCounter,
    RateExceededError,
    RateLimiter,
    TokenBucket,
)
from streamlit_crdt_server.open_files import open_file_limit, share_connections
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
class Server:
    """A hub, its application, and the clock for the expiry of tokens."""

    hub: Hub
    app: Any
    clock: Clock

    @asynccontextmanager
    async def visit(
        self, role: Role = Role.EDITOR, *, extensions: tuple[str, ...] = (), **changes: Any
    ) -> AsyncIterator[Visit]:
        query = f"token={self.token(role, **changes)}"
        async with visit(self.app, Request(query=query, extensions=extensions)) as visited:
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
        """Return the values of the room, after all earlier updates were applied."""
        peer = await self.hub.aopen_local("room")
        ydoc: Doc[Any] = Doc()
        ydoc.apply_update(peer.drain() or b"\0\0")
        peer.close()
        return dict(ydoc.get("state", type=Map).to_py() or {})


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[Server]:
    chosen = Settings(host="0.0.0.0", **settings)
    clock = Clock()
    async with Hub(chosen, keys=RING) as hub:
        yield Server(hub, create_app(chosen, hub=hub, clock=clock), clock)


async def until_read(visited: Visit) -> None:
    """Wait until all earlier frames were read: SyncStep1 is answered in order."""
    seen = len(visited.frames)
    visited.put(protocol.sync_step1(b"\0"))
    await until(lambda: any(frame[:2] == b"\0\1" for frame in visited.frames[seen:]) or visited.close_code)


def update() -> bytes:
    return Client(FakeChannel()).set("forged", True)


def presence_of(visited: Visit, client_id: int) -> Any:
    """Return the state of a client id from the received awareness messages. None if it is absent."""
    state = None
    for frame in visited.frames:
        message = protocol.parse(frame, LIMITS)
        if isinstance(message, protocol.AwarenessUpdate):
            for presence in message.presences:
                state = presence.state if presence.client_id == client_id else state
    return state


VIEWERS_FRAMES = {
    "an update": lambda: protocol.sync_update(update()),
    "a SyncStep2": lambda: protocol.sync_step2(update()),
    "an update a hundred times": lambda: protocol.sync_update(update()),
    "an update as SyncStep1": lambda: b"\0\0" + encode_bytes(update()),
    "an update of an unknown sync type": lambda: b"\0\3" + encode_bytes(update()),
    "an update with a longer spelling of its type": lambda: b"\x80\0\2" + encode_bytes(update()),
    "an update with a longer spelling of its sync type": lambda: b"\0\x82\0" + encode_bytes(update()),
    "an update in a presence": lambda: b"\1" + encode_bytes(update()),
    "an update as permission": lambda: b"\2\1" + encode_bytes(update()),
    "an update as QueryAwareness": lambda: b"\3" + encode_bytes(update()),
    "an update as a saved query": lambda: b"\x66" + encode_bytes(update()),
    "an update as a renewal": lambda: b"\x68" + encode_bytes(update()),
    "an update of a type that is unknown": lambda: b"\x67" + encode_bytes(update()),
    "two messages in a frame": lambda: b"\3" + protocol.sync_update(update()),
    "an update after a renewal in one frame": lambda: protocol.renewal("x") + protocol.sync_update(update()),
    "an empty frame": lambda: b"",
    "a text": lambda: "text",
}


@pytest.mark.parametrize("name", VIEWERS_FRAMES)
async def test_A1_viewer_cannot_change_the_room_by_any_message(name: str) -> None:
    async with serving() as server, server.visit(Role.VIEWER) as viewer:
        for _ in range(100 if "hundred" in name else 1):
            viewer.put(VIEWERS_FRAMES[name]())
        await until_read(viewer)
        async with server.visit(Role.EDITOR, user="bob", session="s2") as editor:
            editor.put(protocol.sync_update(Client(FakeChannel()).set("written", 1)))
            await until_read(editor)
            await until(lambda: any(frame[:2] == b"\0\2" for frame in editor.frames))
        assert await server.values() == {"written": 1}


async def test_A1_viewer_is_denied_once_and_stays_connected() -> None:
    async with serving() as server, server.visit(Role.VIEWER) as viewer:
        for _ in range(3):
            viewer.put(protocol.sync_update(update()))
        await until_read(viewer)
        assert sum(frame[:2] == b"\2\0" for frame in viewer.frames) == 1
        assert viewer.close_code is None


UNDECODABLE = {
    "an update": b"\0\2" + encode_bytes(b"\xff" * 1000),
    "a SyncStep2": b"\0\1" + encode_bytes(b"\xff" * 1000),
    "a long spelling of its type": b"\x80\x80\0\x82\0" + encode_bytes(b"\xff" * 1000),
    "a length that is wrong": b"\0\2\xff\xff\xff\7\1",
    "no content": b"\0\2",
}


@pytest.mark.parametrize("name", UNDECODABLE)
async def test_N3_update_of_a_viewer_is_denied_undecoded(name: str) -> None:
    async with serving() as server, server.visit(Role.VIEWER) as viewer:
        viewer.put(UNDECODABLE[name])
        await until_read(viewer)
        assert sum(frame[:2] == b"\2\0" for frame in viewer.frames) == 1
        assert viewer.close_code is None


async def test_N3_update_of_a_viewer_above_the_frame_limit_is_4413() -> None:
    async with serving(max_frame_bytes=500) as server, server.visit(Role.VIEWER) as viewer:
        viewer.put(UNDECODABLE["an update"])
        await until(lambda: viewer.close_code == CloseCode.TOO_LARGE)


async def test_A1_empty_answer_of_a_viewer_is_not_denied() -> None:
    async with serving() as server, server.visit(Role.VIEWER) as viewer:
        viewer.put(protocol.sync_step2(b"\0\0"))
        await until_read(viewer)
        assert not any(frame[:2] == b"\2\0" for frame in viewer.frames)


async def test_N3_presences_of_one_user_lock_no_newcomer_out() -> None:
    text = json.dumps({"x": "A" * 60_000})
    async with serving(max_backlog_bytes_per_peer=1_000_000) as server, AsyncExitStack() as stack:
        for number in range(10):
            eve = await stack.enter_async_context(server.visit(Role.VIEWER, user="eve", session=f"s{number}"))
            for client_id in range(16 * number, 16 * number + 16):
                eve.put(presence_frame(client_id, 1, text))
            await until_read(eve)
            assert eve.close_code is None
        async with server.visit(user="ben", session="ben") as ben:
            ben.put(presence_frame(1000, 1))
            await until(lambda: presence_of(ben, 1000))
            await until_read(ben)
            assert ben.close_code is None


async def test_N3_introduction_does_not_count_as_backlog() -> None:
    limits = {"max_backlog_bytes_per_peer": 10_000, "max_presence_bytes_per_room": 10**6}
    async with serving(**limits) as server, AsyncExitStack() as stack:
        ada = await stack.enter_async_context(server.visit())
        ada.put(protocol.sync_update(Client(FakeChannel()).set("text", "x" * 50_000)))
        await until_read(ada)
        for number in range(2):
            other = await stack.enter_async_context(server.visit(user=f"u{number}", session=f"s{number}"))
            other.put(presence_frame(number, 1, json.dumps({"x": "A" * 20_000})))
            await until(lambda: other.frames and presence_of(other, number))  # noqa: B023
        async with server.visit(user="ben", session="ben") as ben:
            ben.put(protocol.sync_step1(b"\0"))
            await until(lambda: any(len(frame) > 50_000 for frame in ben.frames))
            assert ben.close_code is None


async def test_A2_expired_token_closes_its_socket_and_is_refused() -> None:
    async with serving() as server:
        text = server.token(ttl_s=0.05)
        async with visit(server.app, Request(query=f"token={text}")) as visited:
            await until(lambda: visited.close_code is not None)
            assert visited.close_code == CloseCode.TOKEN_EXPIRED
        server.clock.now += 1
        async with visit(server.app, Request(query=f"token={text}")) as visited:
            assert not visited.is_accepted
        assert 'streamlit_crdt_closes_total{code="4302"} 1.0' in server.hub.metrics.encode().decode()


async def test_A2_frames_after_the_expiry_are_ignored() -> None:
    async with serving() as server, server.visit(ttl_s=600) as visited:
        visited.put(protocol.query_awareness())
        await until_read(visited)
        server.clock.now += 601
        for _ in range(3):
            visited.put(protocol.sync_update(update()))
        await until(lambda: visited.close_code == CloseCode.TOKEN_EXPIRED)
        assert await server.values() == {}


async def test_A2_renewal_extends_the_connection() -> None:
    async with serving() as server, server.visit(ttl_s=0.2) as visited:
        visited.put(protocol.renewal(server.token(ttl_s=600)))
        await until_read(visited)
        server.clock.now += 300
        visited.put(protocol.sync_update(update()))
        await until_read(visited)
        assert visited.close_code is None
        await until_values(server, {"forged": True})


async def until_values(server: Server, expected: dict[str, Any]) -> None:
    room = server.hub.rooms["room"]
    await until(lambda: (room.ydoc.get("state", type=Map).to_py() or {}) == expected)


RENEWALS = {
    "another user's": {"user": "bob", "session": "s2"},
    "another session's": {"session": "s2"},
    "another room's": {"rooms": {"other": Role.EDITOR}},
    "expired": {"now": NOW - 700},
    "earlier": {"ttl_s": 599.0},
    "the same": {},
}


@pytest.mark.parametrize("name", RENEWALS)
async def test_A2_renewal_does_not_make_a_viewer_an_editor(name: str) -> None:
    async with serving() as server, server.visit(Role.VIEWER) as viewer:
        viewer.put(protocol.renewal(server.token(Role.EDITOR, **RENEWALS[name])))
        viewer.put(protocol.sync_update(update()))
        await until_read(viewer)
        assert viewer.close_code is None
        assert await server.values() == {}


async def test_A1_renewal_as_viewer_applies_at_once() -> None:
    async with serving() as server, server.visit(Role.EDITOR) as visited:
        visited.put(protocol.renewal(server.token(Role.VIEWER, ttl_s=900)))
        visited.put(protocol.sync_update(update()))
        visited.put(protocol.renewal(server.token(Role.EDITOR, ttl_s=600)))
        visited.put(protocol.sync_update(update()))
        await until_read(visited)
        assert await server.values() == {}


@pytest.mark.parametrize("ttl_s", [600.0, 500.0])
async def test_A1_renewal_as_viewer_applies_with_any_expiry(
    ttl_s: float,
) -> None:
    async with serving() as server, server.visit(Role.EDITOR) as visited:
        visited.put(protocol.renewal(server.token(Role.VIEWER, ttl_s=ttl_s)))
        visited.put(protocol.sync_update(update()))
        visited.put(protocol.renewal(server.token(Role.EDITOR)))
        visited.put(protocol.sync_update(update()))
        await until_read(visited)
        assert visited.close_code is None
        assert await server.values() == {}


@pytest.mark.parametrize("ttl_s", [900.0, 500.0])
@pytest.mark.parametrize("role", Role)
async def test_A2_renewal_with_another_user_closes_and_allows_a_reconnect(role: Role, ttl_s: float) -> None:
    async with serving() as server, server.visit(Role.EDITOR) as visited:
        visited.put(protocol.renewal(server.token(role, user="guest-1", name="Guest", ttl_s=ttl_s)))
        visited.put(protocol.sync_update(update()))
        await until(lambda: visited.close_code == CloseCode.TOKEN_EXPIRED)
        assert await server.values() == {}
        async with server.visit(role, user="guest-1", name="Guest") as again:
            await until_read(again)
            assert again.close_code is None


@pytest.mark.parametrize(
    "frame",
    [b"\x68", b"\x68\x05abc", protocol.renewal("x") + b"\0", b"\x68" + encode_varuint(2) + b"\xff\xfe"],
)
async def test_N2_malformed_renewal_closes_its_connection(frame: bytes) -> None:
    async with serving() as server, server.visit() as visited:
        visited.put(frame)
        await until(lambda: visited.close_code == CloseCode.MALFORMED)


@pytest.mark.parametrize(
    "announced",
    [
        '{"user":{"name":"The Admin","id":"root","color":"#fff"}}',
        '{"user":"The Admin"}',
        '{"user":{"name":"x"},"user":{"name":"The Admin"}}',
        '{"cursor":1}',
    ],
)
async def test_A3_presence_has_the_name_of_the_token(announced: str) -> None:
    async with serving() as server, server.visit() as ada, server.visit(user="bob", session="s2") as bob:
        ada.put(presence_frame(7, 1, announced))
        await until(lambda: presence_of(bob, 7) is not None)
        shown = presence_of(bob, 7)["user"]
        assert (shown["name"], shown["id"]) == ("Ada", "ada")
        assert "Admin" not in str(presence_of(bob, 7))


@pytest.mark.parametrize("announced", ['"The Admin"', "[1]", "7", "true"])
async def test_A3_presence_that_is_no_object_is_malformed(announced: str) -> None:
    async with serving() as server, server.visit() as ada:
        ada.put(presence_frame(7, 1, announced))
        await until(lambda: ada.close_code == CloseCode.MALFORMED)


async def test_A3_client_id_of_another_connection_cannot_be_changed() -> None:
    async with serving() as server, server.visit() as ada, server.visit(user="bob", session="s2") as bob:
        ada.put(presence_frame(7, 1))
        await until(lambda: presence_of(bob, 7))
        bob.put(presence_frame(7, 9, '{"user":{"name":"Bob"}}'))
        bob.put(presence_frame(7, 10, "null"))
        await until_read(bob)
        await until_read(ada)
        assert presence_of(ada, 7)["user"]["name"] == "Ada"


async def test_too_many_messages_close_the_connection_with_4303(
    caplog: pytest.LogCaptureFixture,
) -> None:
    limits = {"max_messages_per_s_per_connection": 1, "max_throttled_s_per_connection": 0.5}
    async with serving(**limits) as server, server.visit() as visited:
        for _ in range(40):
            visited.put(protocol.query_awareness())
        await until(lambda: visited.close_code == CloseCode.TOO_FAST)
    assert "max_messages_per_s_per_connection" in caplog.text


async def test_too_many_bytes_close_the_connection_with_4303(
    caplog: pytest.LogCaptureFixture,
) -> None:
    limits = {
        "max_bytes_per_s_per_connection": 100,
        "max_frame_bytes": 1000,
        "max_throttled_s_per_connection": 0.5,
    }
    async with serving(**limits) as server, server.visit() as visited:
        for _ in range(40):
            visited.put(b"\x67" + b"x" * 500)
        await until(lambda: visited.close_code == CloseCode.TOO_FAST)
    assert "max_bytes_per_s_per_connection" in caplog.text


@pytest.mark.parametrize("kind", ["room", "user", "address"])
async def test_connection_beyond_a_limit_is_refused_until_another_leaves(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(**{f"max_connections_per_{kind}": 2}) as server, AsyncExitStack() as stack:
        for _ in range(2):
            assert (await stack.enter_async_context(server.visit())).is_accepted
        async with server.visit() as third:
            assert not third.is_accepted
        assert f"max_connections_per_{kind}".upper() in caplog.text
        await stack.aclose()
        async with server.visit() as again:
            assert again.is_accepted


async def test_connection_to_a_full_server_is_refused_with_503(caplog: pytest.LogCaptureFixture) -> None:
    shares = share_connections(4, open_file_limit())
    async with serving(max_connections=4) as server, AsyncExitStack() as stack:
        for _ in range(shares.accepted):
            assert (await stack.enter_async_context(server.visit())).is_accepted
        async with server.visit(extensions=("websocket.http.response",)) as refused:
            assert [answer.get("status") for answer in refused.answers] == [503, None]
        async with server.visit() as refused:
            assert [answer["type"] for answer in refused.answers] == ["websocket.close"]
    assert "STREAMLIT_CRDT_MAX_CONNECTIONS " in caplog.text


async def test_new_room_beyond_a_limit_is_refused_and_others_stay_readable(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(max_rooms_per_user=2) as server:
        every = {"rooms": {"*": Role.VIEWER}}
        query = f"token={server.token(**every)}"
        found = []
        for name in ("a", "b", "c", "d", "a", "b"):
            async with visit(server.app, Request(f"/{name}", query=query)) as visited:
                found.append(visited.is_accepted)
        assert found == [True, True, False, False, True, True]
        other = Request("/c", query=f"token={server.token(user='bob', **every)}")
        async with visit(server.app, other) as visited:
            assert visited.is_accepted
        assert 'refusals_total{reason="too_many_new_rooms"} 2.0' in server.hub.metrics.encode().decode()
    assert "STREAMLIT_CRDT_MAX_ROOMS_PER_USER" in caplog.text


async def test_edit_beyond_the_limit_on_disk_closes_with_4414() -> None:
    async with serving(max_disk_bytes_per_user=1000) as server, server.visit() as ada:
        ada.put(protocol.sync_update(Client(FakeChannel()).set("x", "x" * 2000)))
        await until(lambda: any(frame[:2] == b"\0\2" for frame in ada.frames))
        async with server.visit(user="bob", session="s2") as bob:
            bob.put(protocol.sync_update(Client(FakeChannel()).set("y", 1)))
            await until(lambda: bob.close_code == CloseCode.ROOM_FULL)
        async with server.visit(Role.VIEWER, session="s3") as reader:
            await until_read(reader)
            assert reader.close_code is None
        assert set(await server.values()) == {"x"}


async def test_repeated_refusals_are_logged_once_a_second(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as server:
        for _ in range(50):
            async with visit(server.app, Request(query="token=x")) as visited:
                assert not visited.is_accepted
    assert 1 <= sum("malformed" in line for line in caplog.messages) <= 10


def test_addresses_of_one_ipv6_network_count_as_one() -> None:
    connections = ConnectionCounter(Settings(max_connections_per_address=1))
    with connections.counted(room="r", user=None, address="2001:db8::1"):
        with pytest.raises(TooManyConnectionsError):
            connections.check(room="r", user=None, address="2001:db8::ffff")
        connections.check(room="r", user=None, address="2001:db8:0:1::1")
    with (
        connections.counted(room="r", user=None, address="::ffff:192.0.2.1"),
        pytest.raises(TooManyConnectionsError),
    ):
        connections.check(room="r", user=None, address="192.0.2.1")


def test_closed_connections_and_loopback_addresses_do_not_count() -> None:
    connections = ConnectionCounter(Settings(max_connections_per_address=1))
    for address in ("127.0.0.1", "::1", "::ffff:127.0.0.1", None):
        with connections.counted(room="r", user=None, address=address):
            connections.check(room="r", user=None, address=address)
    with connections.counted(room="r", user="u", address="192.0.2.1"):
        assert len(connections) == 4
    assert len(connections) == 0


def test_token_bucket_allows_its_burst_and_then_its_average() -> None:
    bucket = TokenBucket(per_s=10, burst=20, now=0.0)
    assert all(bucket.take(1, 0.0) for _ in range(20))
    assert not bucket.take(1, 0.0)
    assert bucket.take(1, 0.3)
    assert not bucket.take(100, 1000.0)


def test_frame_of_the_largest_size_passes_at_any_rate() -> None:
    settings = Settings(max_bytes_per_s_per_connection=1, max_frame_bytes=1_000_000)
    assert RateLimiter(settings, 0.0).count(1_000_000, 0.0) == 0


def test_N3_connection_beyond_a_rate_waits_before_it_is_closed() -> None:
    limiter = RateLimiter(
        Settings(max_messages_per_s_per_connection=10, max_throttled_s_per_connection=2), 0.0
    )
    now, delays = 0.0, []
    for _ in range(110):
        delays.append(limiter.count(1, now))
        now += delays[-1]
    assert delays[:100] == [0.0] * 100
    assert delays[100:] == pytest.approx([0.1] * 10)
    assert limiter.count(1, now + 1) == 0.0
    with pytest.raises(RateExceededError, match="max_messages_per_s_per_connection"):
        for _ in range(40):
            now += limiter.count(1, now + 1)


async def test_metrics_and_readyz_are_answered() -> None:
    settings = Settings()
    async with Hub(settings, keys=RING) as hub:
        server = Server(hub, create_app(settings, hub=hub, clock=Clock()), Clock())
        local = Request(query=f"token={server.token()}", hosts=("127.0.0.1",))
        async with visit(server.app, local):
            # The socket is accepted before it joins the room.
            await until_counted(server.app, b"streamlit_crdt_connections 1.0")
            assert (await get(server.app, "/readyz"))[0] == 200


async def test_S4_readyz_answers_503_while_the_store_fails() -> None:
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
