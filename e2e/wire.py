"""Recorder of a page's WebSocket frames."""

from __future__ import annotations

from playwright.sync_api import Page, WebSocket


class Wire:
    """All frames, in both directions, of the sockets that the recorded pages open."""

    def __init__(self) -> None:
        self._frames: list[tuple[str, bytes]] = []

    def record(self, page: Page) -> None:
        page.on("websocket", self._listen)

    def _listen(self, socket: WebSocket) -> None:
        for event in ("framesent", "framereceived"):
            socket.on(event, lambda frame: self._frames.append((socket.url, _to_bytes(frame))))

    def all(self) -> bytes:
        """Return the frames of all sockets."""
        return b"".join(raw for _, raw in self._frames)

    def of_rooms(self) -> bytes:
        """Return the frames of the sockets to room servers, without Streamlit's own socket."""
        return b"".join(raw for url, raw in self._frames if "_stcore" not in url)


def _to_bytes(frame: str | bytes) -> bytes:
    return frame.encode() if isinstance(frame, str) else frame
