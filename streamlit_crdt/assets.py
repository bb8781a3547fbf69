"""The built frontend that ships with the package."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Final

STATIC: Final = Path(__file__).parent / "static"
SCRIPT_GLOB: Final = "streamlit-crdt-*.js"


@functools.cache
def build_id() -> str:
    """Return the id of the built frontend, by which a tab that still runs an older one is told apart.

    Raises:
        FileNotFoundError: the frontend was not built; a checkout needs `pip install -e .` (with Node) once.
    """
    path = STATIC / "build.json"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: build the frontend with  npm ci && npm run build")
    build = json.loads(path.read_text(encoding="utf-8"))["build"]
    return str(build)
