"""What goes over a page's sockets, in both directions."""

from __future__ import annotations

from playwright.sync_api import Page, WebSocket


class Wire:
    """Records every frame of every socket that a page opens from now on."""

    def __init__(self) -> None:
        self._frames: list[tuple[str, bytes]] = []

    def record(self, page: Page) -> None:
        page.on("websocket", self._listen)

    def _listen(self, socket: WebSocket) -> None:
        for event in ("framesent", "framereceived"):
            socket.on(event, lambda frame: self._frames.append((socket.url, _raw(frame))))

    def all(self) -> bytes:
        """Return what went over all sockets."""
        return b"".join(raw for _, raw in self._frames)

    def of_rooms(self) -> bytes:
        """Return what went over the sockets to room servers; another one carries a session's own page to its tab."""
        return b"".join(raw for url, raw in self._frames if "_stcore" not in url)


def _raw(frame: str | bytes) -> bytes:
    return frame.encode() if isinstance(frame, str) else frame
