"""Fixtures of the server tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamlit_crdt_server import EmbeddedServer, Settings


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    """A running server on a free loopback port."""
    running = EmbeddedServer(Settings(require_token=False, port=0))
    running.start()
    yield running
    running.stop()
