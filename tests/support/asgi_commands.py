"""The commands by which other people's servers serve `app` of `app.py`, with all that they can log."""

from __future__ import annotations

from typing import Final

SERVERS: Final = {
    "hypercorn": [
        "hypercorn",
        "app:app",
        "--access-logfile",
        "-",
        "--access-logformat",
        "%(r)s ?%(q)s",
        "--bind",
    ],
    "uvicorn": ["uvicorn", "app:app", "--log-level", "info", "--port"],
}
"""Each without the address to bind, which comes last."""
