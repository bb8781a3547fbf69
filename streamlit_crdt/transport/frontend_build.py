"""The built frontend, and the size of the messages that Streamlit takes from it and to it."""

from __future__ import annotations

import functools
import json
from contextlib import suppress
from pathlib import Path
from typing import Final

import streamlit as st

from streamlit_crdt.transport.channel import PART_BYTES

STATIC: Final = Path(__file__).parents[1] / "static"
SCRIPT_GLOB: Final = "streamlit-crdt-*.js"


@functools.cache
def frontend_build_id() -> str:
    """Return the id of the built frontend. A tab with another id runs an older build.

    Raises:
        FileNotFoundError: the frontend is not built. A checkout needs `pip install -e .` (with Node) once.
    """
    path = STATIC / "build.json"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: build the frontend with  npm ci && npm run build")
    build = json.loads(path.read_text(encoding="utf-8"))["build"]
    return str(build)


def part_bytes() -> int:
    """Return the size of the parts in which a large update is sent: half of Streamlit's message limits at most."""
    limits = [PART_BYTES]
    for name in ("server.maxWidgetStateSize", "server.maxMessageSize"):
        with suppress(RuntimeError):  # not in every version
            limits.append(int(st.get_option(name)) * 1_000_000 // 2)
    return min(limits)
