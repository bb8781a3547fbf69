"""Page of a Streamlit app without a browser: a WebSocket client that speaks Streamlit's protocol."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Delta_pb2 import Delta
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.sync.client import ClientConnection, connect

from e2e.harness import HOST

DEADLINE_S = 60.0


class Page:
    """One page. It has no component of the library, so its session has no tab."""

    def __init__(self, socket: ClientConnection, query: str) -> None:
        self._socket = socket
        self.query = query
        self._states: dict[str, WidgetState] = {}
        self._ids: dict[str, str] = {}
        self.texts: list[str] = []

    def run(self) -> None:
        """Request a run of the script with the state of the page's widgets."""
        message = BackMsg()
        message.rerun_script.query_string = self.query
        message.rerun_script.widget_states.widgets.extend(self._states.values())
        self._socket.send(message.SerializeToString())

    def set_text(self, label: str, text: str) -> None:
        """Set a text input. The next run gets it."""
        identity = self._ids[label]
        self._states[identity] = WidgetState(id=identity, string_value=text)

    def read_run(self, timeout_s: float = DEADLINE_S) -> None:
        """Read the messages of a run until it ends. `texts` are its texts."""
        self.texts = []
        while True:
            message = ForwardMsg()
            content = self._socket.recv(timeout_s)
            assert isinstance(content, bytes)
            message.ParseFromString(content)
            if message.HasField("delta"):
                self._read(message.delta)
            elif message.HasField("script_finished"):
                return

    def _read(self, delta: Delta) -> None:
        element = delta.new_element
        kind = element.WhichOneof("type")
        if kind == "text_input":
            self._ids[element.text_input.label] = element.text_input.id
        elif kind == "text":
            self.texts.append(element.text.body)
        elif kind == "exception":
            self.texts.append(f"{element.exception.type}: {element.exception.message}")


@contextmanager
def page(port: int, query: str = "") -> Iterator[Page]:
    """Open a page. Its first run has ended."""
    with connect(
        f"ws://{HOST}:{port}/_stcore/stream",
        subprotocols=["streamlit"],  # type: ignore[list-item]
        max_size=None,
        proxy=None,
        close_timeout=1,
    ) as socket:
        opened = Page(socket, query)
        opened.run()
        opened.read_run()
        yield opened
        with suppress(OSError):
            socket.close()
