"""The limit of open files, and the shares of connections."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import streamlit_crdt_server
from streamlit_crdt_server.open_files import MAX_CONNECTIONS, share_connections

RAISE = """
import resource
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
from streamlit_crdt_server.open_files import open_file_limit, raise_open_file_limit
assert open_file_limit() == 64
raise_open_file_limit()
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of open files")
def test_soft_limit_is_raised_to_the_hard_limit() -> None:
    environ = os.environ | {"PYTHONPATH": str(Path(streamlit_crdt_server.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", RAISE], check=True, env=environ)


@pytest.mark.parametrize("max_files", [80, 256, 1024, 4096, 1_048_576, None])
@pytest.mark.parametrize("max_connections", [None, 1, 100, 100_000])
def test_shares_stay_below_the_limit(max_files: int | None, max_connections: int | None) -> None:
    shares = share_connections(max_connections, max_files)
    assert shares.accepted >= shares.pending >= 1
    assert shares.total <= max(2, MAX_CONNECTIONS if max_connections is None else max_connections)
    if max_files is not None:
        assert shares.total <= max_files - 64
