"""`crdt_app`: the room server mounted in Streamlit's ASGI app, with one process, one port and one origin."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import EllipsisType
from typing import Any

from starlette.routing import Mount
from streamlit import config

from streamlit_crdt.access import participant
from streamlit_crdt.access.participant import Authorize
from streamlit_crdt.backend import backend
from streamlit_crdt.backend.default_store import resolve_store
from streamlit_crdt.deploy.asgi_server import asgi_server
from streamlit_crdt_server import (
    Hub,
    KeyRing,
    Settings,
    SettingsError,
    create_app,
    derive_ring,
    process_ring,
    ring_from_settings,
)
from streamlit_crdt_server.gc_freeze import enable_freeze_after_runs
from streamlit_crdt_server.open_files import raise_open_file_limit

_log = logging.getLogger("streamlit_crdt")


def crdt_app(
    *,
    store: str | EllipsisType | None = ...,
    mount: str = "/crdt",
    freeze_gc: bool | None = None,
    namespace: str | None = None,
    authorize: Authorize | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Return the arguments `routes` and `lifespan` of an `st.App` that serves rooms on Streamlit's port::

        app = st.App("dashboard.py", **crdt_app(store="rooms.db"))

    Args:
        store: file of the rooms. None stores rooms in memory. The default is STREAMLIT_CRDT_STORE, else `rooms.db`
            beside the file that calls this function.
        mount: path of the room server. It must differ from Streamlit's own paths (`/_stcore`, `/media`, ...).
        freeze_gc: freeze Python's garbage collector after the start of the app, see docs/architecture.md. None uses
            STREAMLIT_CRDT_FREEZE_GC, which is on by default.
        namespace: namespace of the app's rooms. It separates apps that share a server or a store file. None uses
            STREAMLIT_CRDT_NAMESPACE, else no namespace.
        authorize: called with a `Visitor`, in the visitor's session, at each `crdt_sync` of a room, and for each room
            that is listed, entered or deleted. It returns the highest permitted role, "editor" or "viewer", or None
            to deny entry (`EntryForbiddenError`).
        **settings: further settings of the room server, see `streamlit_crdt_server.Settings`. Tokens are signed with
            `secret` or `secret_file`, else with a key derived from Streamlit's `server.cookieSecret`.

    Returns:
        The keyword arguments for `st.App`.

    Raises:
        SettingsError: a setting is unknown or contradicts another.
    """
    if freeze_gc is not None:
        settings["freeze_gc"] = freeze_gc
    if namespace is not None:
        settings["namespace"] = namespace
    if isinstance(store, EllipsisType):
        store = resolve_store(_folder_of_caller())
    # The accepted Host headers depend on the address that Streamlit listens on.
    settings.setdefault("host", str(config.get_option("server.address") or "0.0.0.0"))
    loaded = Settings.load(store=store, **settings)
    hub = Hub(loaded, keys=_keys(loaded))
    path = "/" + mount.strip("/")

    @asynccontextmanager
    async def lifespan(_app: Any) -> AsyncIterator[dict[str, Any]]:
        if loaded.freeze_gc:
            enable_freeze_after_runs()
        async with asgi_server(loaded, hub.metrics), hub:
            backend.mount(hub, path)
            participant.install(authorize)
            try:
                yield {}
            finally:
                participant.install(None)
                backend.unmount(hub)

    raise_open_file_limit()  # before the limits of connections are derived from it
    rooms = create_app(loaded, hub=hub)
    routes = [Mount(path, app=rooms)]
    base = str(config.get_option("server.baseUrlPath") or "").strip("/")
    if base:
        routes.append(Mount(f"/{base}{path}", app=rooms))
    return {"routes": routes, "lifespan": lifespan}


def _keys(settings: Settings) -> KeyRing | None:
    """Return the keys that sign tokens: those of the settings, else a key derived from Streamlit's cookie secret.

    If no token is required, sockets still identify their session by a token, so there is always a key.
    """
    ring = ring_from_settings(settings)
    if ring is not None or not settings.require_token:
        return ring or process_ring()
    try:
        return derive_ring(str(config.get_option("server.cookieSecret") or ""))
    except SettingsError as error:
        _log.warning("tokens are signed with a temporary key of this process: %s", error)
        return process_ring()


def _folder_of_caller() -> Path:
    """Return the folder of the file that calls `crdt_app`, or the working directory if there is no file."""
    path = sys._getframe(2).f_globals.get("__file__")
    return Path(path).resolve().parent if path else Path.cwd()
