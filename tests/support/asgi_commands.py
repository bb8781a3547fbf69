"""Commands that serve `app` of `app.py` with other ASGI servers, at their most verbose log level."""

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
"""Each command lacks its last argument, the address to bind."""
