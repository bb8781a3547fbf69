"""WebSocket connections of an ASGI application, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.server.support.fake_channel import until

Event = dict[str, Any]
HOST = "app.example.com:8501"


@dataclass(frozen=True)
class Request:
    """A connection request. The defaults are those of a client on another machine that is not a browser."""

    path: str = "/room"
    raw_path: str | None = None
    query: str = ""
    hosts: tuple[str, ...] = (HOST,)
    origins: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    subprotocols: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    server: tuple[str, int] | None = ("10.0.0.1", 8501)
    client: tuple[str, int] | None = ("192.0.2.7", 50_000)

    def scope(self) -> Event:
        headers = [("host", host) for host in self.hosts]
        headers += [("origin", origin) for origin in self.origins]
        headers += self.headers
        return {
            "type": "websocket",
            "path": self.path,
            "raw_path": (self.raw_path or self.path).encode(),
            "root_path": "",
            "query_string": self.query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in headers],
            "server": self.server,
            "client": self.client,
            "subprotocols": list(self.subprotocols),
            "extensions": {name: {} for name in self.extensions},
        }


@dataclass
class Visit:
    """A requested connection, with the events that the application sent."""

    scope: Event
    answers: list[Event] = field(default_factory=list)
    incoming: asyncio.Queue[Event] = field(default_factory=asyncio.Queue)

    @property
    def is_accepted(self) -> bool:
        return bool(self.answers and self.answers[0]["type"] == "websocket.accept")

    @property
    def frames(self) -> list[bytes]:
        return [answer["bytes"] for answer in self.answers if answer["type"] == "websocket.send"]

    @property
    def close_code(self) -> int | None:
        codes = [int(answer["code"]) for answer in self.answers if answer["type"] == "websocket.close"]
        return codes[0] if codes else None

    def put(self, frame: bytes | str) -> None:
        kind = "text" if isinstance(frame, str) else "bytes"
        self.incoming.put_nowait({"type": "websocket.receive", kind: frame})


@asynccontextmanager
async def visit(app: Any, request: Request) -> AsyncIterator[Visit]:
    """Request a connection, wait for the first answer, and disconnect at the end."""
    made = Visit(request.scope())
    made.incoming.put_nowait({"type": "websocket.connect"})

    async def send(event: Event) -> None:
        made.answers.append(event)

    serving = asyncio.ensure_future(app(made.scope, made.incoming.get, send))
    try:
        await until(lambda: made.answers or serving.done())
        yield made
    finally:
        made.incoming.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await serving
