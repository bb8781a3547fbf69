"""`/metrics` answers on its own port, or on loopback to requests of this machine that no proxy passed on."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from typing import Any

import pytest

from streamlit_crdt_server import EmbeddedServer, Hub, Metrics, PortTakenError, Settings, create_app
from streamlit_crdt_server.http.listener import listen
from streamlit_crdt_server.http.metrics_server import serving_metrics
from tests.server.support.fake_channel import DEADLINE_S

pytestmark = pytest.mark.anyio


async def status_of(
    app: Any, path: str, *, raw_path: str | None = None, client: str = "127.0.0.1", **headers: str
) -> int:
    answers: list[dict[str, Any]] = []

    async def send(event: dict[str, Any]) -> None:
        answers.append(event)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    names = {"host": "127.0.0.1:8765"} | {name.replace("_", "-"): value for name, value in headers.items()}
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": (raw_path or path).encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in names.items()],
        "query_string": b"",
        "client": (client, 50_000),
        "server": ("127.0.0.1", 8765),
    }
    await app(scope, receive, send)
    return int(answers[0]["status"])


async def app_of(**settings: Any) -> Any:
    chosen = Settings(require_token=False, **settings)
    return create_app(chosen, hub=Hub(chosen))


async def test_metrics_are_answered_on_loopback_without_a_port_of_their_own() -> None:
    assert await status_of(await app_of(), "/metrics") == 200
    assert await status_of(await app_of(host="0.0.0.0"), "/metrics") == 404
    assert await status_of(await app_of(metrics_port=9000), "/metrics") == 404


@pytest.mark.parametrize(
    "options",
    [
        {"x_forwarded_for": "192.0.2.1"},
        {"x_forwarded_proto": "https"},
        {"forwarded": "for=192.0.2.1"},
        {"via": "1.1 proxy"},
        {"x_real_ip": "192.0.2.1"},
        {"host": "rooms.example.com"},
        {"host": "127.0.0.1@rooms.example.com"},
        {"client": "192.0.2.1"},
        {"raw_path": "/%6detrics"},
        {"raw_path": "/metric%73"},
    ],
)
async def test_request_through_a_proxy_gets_no_metrics(options: dict[str, str]) -> None:
    assert await status_of(await app_of(), "/metrics", **options) == 404


@pytest.mark.parametrize(
    "path", ["//metrics", "/metrics/", "/Metrics", "/metrics;x", "/./metrics", "http://x/metrics"]
)
async def test_other_spelling_of_the_path_gets_no_metrics_and_no_redirect(path: str) -> None:
    assert await status_of(await app_of(), path) == 404


def fetch(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=DEADLINE_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


async def test_port_of_metrics_serves_metrics_only() -> None:
    async with serving_metrics(Settings(metrics_port=0), Metrics()) as address:
        assert address is not None
        found = [
            await asyncio.to_thread(fetch, address[1], path) for path in ("/metrics", "/healthz", "/rooms")
        ]
    assert found == [200, 404, 404]


async def test_server_with_a_port_of_metrics_serves_none_on_the_port_of_rooms() -> None:
    server = EmbeddedServer(Settings(require_token=False, port=0, metrics_port=0))
    server.start()
    try:
        found = [await asyncio.to_thread(fetch, server.port, path) for path in ("/metrics", "/healthz")]
    finally:
        server.stop()
    assert found == [404, 200]


async def test_taken_port_of_metrics_is_an_error_that_names_the_setting() -> None:
    with listen("127.0.0.1", 0) as other:
        settings = Settings(metrics_port=other.getsockname()[1])
        with pytest.raises(PortTakenError, match="STREAMLIT_CRDT_METRICS_PORT"):
            async with serving_metrics(settings, Metrics()):
                raise AssertionError("it was started")
