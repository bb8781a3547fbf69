"""WebSocket connections of a page, which a test can close and block."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, WebSocketRoute

from e2e.harness import RunningApp


class PageSockets:
    """The connections of a page whose address matches."""

    def __init__(self, matches: Callable[[str], bool]) -> None:
        self.is_blocked = False
        self._matches = matches
        self._sockets: list[WebSocketRoute] = []

    @classmethod
    def to_app(cls) -> PageSockets:
        """Return the connection to Streamlit."""
        return cls(lambda url: "_stcore/stream" in url)

    @classmethod
    def to_room_server(cls, app: RunningApp) -> PageSockets:
        """Return the connections to the room server."""
        return cls(lambda url: url.startswith(app.room_socket))

    def prepare(self, page: Page) -> None:
        """Watch the connections of a page. Call it before the page opens them."""
        page.route_web_socket(self._matches, self._open)

    def _open(self, socket: WebSocketRoute) -> None:
        if self.is_blocked:
            socket.close()
        else:
            self._sockets += (socket, socket.connect_to_server())

    def block(self) -> None:
        self.is_blocked = True
        for socket in self._sockets:
            socket.close()
