"""Room names, origins and subprotocols of a connection before it is accepted."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from streamlit_crdt_server import Hub, Settings, create_app
from tests.server.support.asgi import HOST, Event, Request, visit
from tests.server.support.fake_channel import until

pytestmark = pytest.mark.anyio

OPEN = Settings(host="0.0.0.0", require_token=False)


async def request_socket(
    path: str,
    *,
    app: Any = None,
    hub: Hub | None = None,
    settings: Settings = OPEN,
    origin: str | None = None,
    host: str = HOST,
    **options: Any,
) -> Event:
    """Request a socket, disconnect at once, and return the first ASGI event."""
    request = Request(path, hosts=(host,), origins=() if origin is None else (origin,), **options)
    async with hub or Hub() as running, visit(app or create_app(settings, hub=running), request) as visited:
        return visited.answers[0]


async def is_accepted(path: str, **options: Any) -> bool:
    return bool((await request_socket(path, **options))["type"] == "websocket.accept")


async def test_room_name_is_the_path() -> None:
    assert await is_accepted("/planning.2026_a-b")


@pytest.mark.parametrize(
    ("path", "raw_path"),
    [
        ("/json:notebook:1", "/json:notebook:1"),
        ("/@scope/x", "/@scope/x"),
        ("/@scope/x", "/@scope%2Fx"),
        ("/@scope/x", "/%40scope%2fx"),
        ("/a b", "/a%20b"),
        ("/ab", "/a%62"),
        ("/é", "/%C3%A9"),
        ("/e\u0301", "/e%CC%81"),
        ("/👩‍💻", "/%F0%9F%91%A9%E2%80%8D%F0%9F%92%BB"),
        ("/100%", "/100%25"),
        ("/a?b", "/a%3Fb"),
        ("/room/", "/room/"),
        ("//room", "//room"),
        ("/a~b~c", "/a~b~c"),
        ("/healthz", "/healthz"),
        ("/metrics", "/metrics"),
        ("/rooms", "/rooms"),
        ("/rooms/x", "/rooms/x"),
        ("/<b>*x*</b>", "/%3Cb%3E*x*%3C/b%3E"),
        ("/" + "a" * 256, "/" + "a" * 256),
        ("/" + "é" * 128, "/" + "%C3%A9" * 128),
    ],
)
async def test_any_name_of_up_to_256_bytes_is_a_room(path: str, raw_path: str) -> None:
    async with Hub() as hub:
        request = Request(path, raw_path=raw_path)
        async with visit(create_app(OPEN, hub=hub), request) as visited:
            assert visited.is_accepted
            await until(lambda: hub.rooms)
            assert set(hub.rooms) == {path[1:]}


@pytest.mark.parametrize(
    ("path", "raw_path"),
    [
        ("/..", "/.."),
        ("/..", "/%2e%2e"),
        ("/.", "/."),
        ("/../../etc/passwd", "/../../etc/passwd"),
        ("/a/../b", "/a%2F..%2Fb"),
        ("/a/.", "/a/."),
        ("/", "/"),
        ("/*", "/*"),
        ("/" + "a" * 257, "/" + "a" * 257),
        ("/" + "é" * 129, "/" + "%C3%A9" * 129),
        ("/room\n", "/room%0A"),
        ("/room\0", "/room%00"),
        ("/room\x7f", "/room%7F"),
        ("/room\x85", "/room%C2%85"),
        ("/room\x1b[31m", "/room%1B[31m"),
        ("/\ufffd", "/%FF"),
        ("/a\ufffd", "/a%ED%A0%80"),
        ("/\udcff", "/%FF"),
        ("/a%2Fb", "/a%252Fb%"),
    ],
)
async def test_invalid_room_name_is_refused_before_accept(path: str, raw_path: str) -> None:
    assert (await request_socket(path, raw_path=raw_path))["type"] == "websocket.close"


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("https://app.example.com", True),
        ("http://app.example.com:8501", True),
        ("http://APP.example.com:9999", True),
        ("https://example.com", False),
        ("https://app.example.com.evil.net", False),
        ("https://evil.net", False),
        ("null", False),
        ("http://localhost:8501", False),
        ("http://[broken", False),
    ],
)
async def test_only_origins_of_the_same_host_are_accepted(origin: str | None, allowed: bool) -> None:
    assert await is_accepted("/room", origin=origin) == allowed


@pytest.mark.parametrize("origin", ["http://localhost:8501", "http://127.0.0.1:8501", "http://[::1]:8501"])
async def test_local_origins_are_accepted_over_loopback(origin: str) -> None:
    assert await is_accepted("/room", origin=origin, host="127.0.0.1:8765", server=("127.0.0.1", 8765))


async def test_foreign_origin_is_refused_over_loopback() -> None:
    options: dict[str, Any] = {"host": "127.0.0.1:8765", "server": ("127.0.0.1", 8765)}
    assert not await is_accepted("/room", origin="https://evil.net", **options)


async def test_listed_origin_is_accepted() -> None:
    settings = Settings(host="0.0.0.0", require_token=False, allow_origin=("https://other.example.com",))
    assert await is_accepted("/room", settings=settings, origin="https://other.example.com")
    assert not await is_accepted("/room", settings=settings, origin="http://other.example.com")


async def test_offered_subprotocol_is_accepted() -> None:
    answer = await request_socket("/room", subprotocols=("token.abc", "other"))
    assert answer == {"type": "websocket.accept", "subprotocol": "other"}


async def test_own_subprotocol_is_preferred_and_a_token_never_accepted() -> None:
    for offered, answered in (
        (("token.abc", "other", "streamlit-crdt"), "streamlit-crdt"),
        (("token.abc",), None),
        ((), None),
    ):
        assert (await request_socket("/room", subprotocols=offered))["subprotocol"] == answered


async def test_room_name_under_a_mount_is_the_rest_of_the_path() -> None:
    async with Hub() as inner:
        mounted = Starlette(routes=[Mount("/crdt", app=create_app(OPEN, hub=inner))])
        assert await is_accepted("/crdt/room1", app=mounted)
        assert await is_accepted("/crdt/@a/b", app=mounted, raw_path="/crdt/@a%2Fb")
        assert set(inner.rooms) == {"room1", "@a/b"}
        for path in ("/crdt/..", "/crdt/../room", "/crdt/", "/room1"):
            assert not await is_accepted(path, app=mounted)


async def test_connection_is_refused_while_the_hub_is_stopped() -> None:
    assert not await is_accepted("/room", app=create_app(OPEN, hub=Hub()))


async def test_connection_beyond_max_rooms_is_refused() -> None:
    async with Hub(Settings(require_token=False, max_rooms=1)) as hub:
        app = create_app(OPEN, hub=hub)
        await hub.aopen_local("taken")
        assert await is_accepted("/taken", app=app)
        assert not await is_accepted("/another", app=app)
