"""Tokens in addresses stay out of the logs of the ASGI servers, as far as these ask the application first.

Not so at uvicorn's level `debug`, where the websockets library writes down every byte that it reads, headers too,
before an application exists that could hide anything.
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
def test_a_token_in_an_address_is_in_no_log(name: str, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP, encoding="utf-8")
    listener = listen("127.0.0.1", 0)
    port = address_of(listener)[1]
    listener.close()
    where = f"127.0.0.1:{port}" if name == "hypercorn" else str(port)
    path = os.pathsep.join([str(Path(streamlit_crdt_server.__file__).parents[1]), str(tmp_path)])
    process = subprocess.Popen(
        [sys.executable, "-m", *SERVERS[name], where],
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
        written = process.communicate(timeout=3 * DEADLINE_S)[0].decode()
    assert "/room" in written  # it does write down what was asked for
    assert not any(part in written for part in token.split("."))


def until_healthy(port: int) -> None:
    ends_at = time.monotonic() + 3 * DEADLINE_S
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1):
                return
        except OSError:
            assert time.monotonic() < ends_at
            time.sleep(0.05)
