"""Access logs of ASGI servers, which must not contain tokens from addresses.

At uvicorn's level `debug` they do: the websockets library logs every received byte before the application is called.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from websockets.exceptions import InvalidHandshake
from websockets.sync.client import connect

import streamlit_crdt_server
from streamlit_crdt_server import KeyRing, Role, mint
from streamlit_crdt_server.runner import address_of, listen
from tests.server.support.fake_channel import DEADLINE_S
from tests.support.asgi_commands import SERVERS

SECRET = "a secret of this test"
APP = f"""
from streamlit_crdt_server import Settings, create_app

app = create_app(Settings(secret=({SECRET!r},)))
"""


@pytest.mark.parametrize("name", SERVERS)
def test_token_in_an_address_is_not_logged(name: str, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP, encoding="utf-8")
    listener = listen("127.0.0.1", 0)
    port = address_of(listener)[1]
    listener.close()
    address = f"127.0.0.1:{port}" if name == "hypercorn" else str(port)
    path = os.pathsep.join([str(Path(streamlit_crdt_server.__file__).parents[1]), str(tmp_path)])
    process = subprocess.Popen(
        [sys.executable, "-m", *SERVERS[name], address],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=os.environ | {"PYTHONPATH": path}, cwd=tmp_path,
    )  # fmt: skip
    try:
        until_healthy(port)
        ring = KeyRing.from_secret(SECRET)
        token = mint(
            ring, rooms={"room": Role.EDITOR}, user="a", name="A", session="s", ttl_s=60, now=time.time()
        )
        with connect(f"ws://127.0.0.1:{port}/room?token={token}") as socket:
            socket.recv(timeout=DEADLINE_S)
        for refused in ("other", "a/b", "healthz/x"):
            with pytest.raises(InvalidHandshake):
                connect(f"ws://127.0.0.1:{port}/{refused}?token={token}")
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/room?token={token}", timeout=DEADLINE_S)
    finally:
        process.terminate()
        output = process.communicate(timeout=3 * DEADLINE_S)[0].decode()
    assert "/room" in output  # the access log is on
    assert not any(part in output for part in token.split("."))


def until_healthy(port: int) -> None:
    ends_at = time.monotonic() + 3 * DEADLINE_S
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1):
                return
        except OSError:
            assert time.monotonic() < ends_at
            time.sleep(0.05)
