"""Reordered updates of several Yjs clients, and the documents of Yjs after them (see `reordered_updates.mjs`)."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pycrdt import Array, Doc, Map, Text

from streamlit_crdt_server.yjs.update_decoder import decode_state_vector

SCRIPT = Path(__file__).with_suffix(".mjs")


class Case:
    """Deliveries of one seed, and the documents of Yjs after them."""

    def __init__(self, line: str) -> None:
        content = json.loads(line)
        self.seed: int = content["seed"]
        self.deliveries = [base64.b64decode(update) for update in content["deliveries"]]
        self.rest = [base64.b64decode(update) for update in content["rest"]]
        self.partial: dict[str, Any] = content["partial"]
        self.complete: dict[str, Any] = content["complete"]


def cases(first: int, count: int) -> Iterator[Case]:
    """Generate the cases of some seeds in one Node process."""
    command = ["node", str(SCRIPT), str(first), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=SCRIPT.parents[2])
    return map(Case, done.stdout.splitlines())


def read(state: bytes) -> dict[str, Any]:
    ydoc: Doc[Any] = Doc()
    text = ydoc.get("t", type=Text)
    roots = {"state": ydoc.get("state", type=Map), "a": ydoc.get("a", type=Array)}
    ydoc.apply_update(state)
    clocks = {str(replica): clock for replica, clock in decode_state_vector(ydoc.get_state()).items()}
    return {**{name: root.to_py() for name, root in roots.items()}, "t": str(text), "clocks": clocks}
