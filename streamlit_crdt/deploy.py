"""Mount the room server in Streamlit's own ASGI app: one process, one port, one origin."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.routing import Mount
from streamlit import config

from streamlit_crdt import place
from streamlit_crdt.collector import freeze_after_first_run
from streamlit_crdt_server import Hub, Settings, create_app


def crdt_app(
    *, store: str | None = None, mount: str = "/crdt", freeze_gc: bool | None = None, **settings: Any
) -> dict[str, Any]:
    """Return `routes=` and `lifespan=` for `st.App`, which then serves rooms on Streamlit's own port::

        app = st.App("dashboard.py", **crdt_app())

    Args:
        store: file in which rooms are kept; None keeps them in memory while the app runs.
        mount: path under which rooms are served; not one of Streamlit's own (`/_stcore`, `/media`, ...).
        freeze_gc: freeze Python's garbage collector once the app has started, see docs/architecture.md. None reads
            STREAMLIT_CRDT_FREEZE_GC, which is on by default.
        **settings: further settings of the room server, see `streamlit_crdt_server.Settings`.

    Raises:
        SettingsError: a setting is unknown or contradicts another.
    """
    if freeze_gc is not None:
        settings["freeze_gc"] = freeze_gc
    loaded = Settings.load(store=store, **{"require_token": False, **settings})
    hub = Hub(loaded)
    path = "/" + mount.strip("/")

    @asynccontextmanager
    async def lifespan(_app: Any) -> AsyncIterator[dict[str, Any]]:
        if loaded.freeze_gc:
            freeze_after_first_run()
        async with hub:
            place.mount(hub, path)
            try:
                yield {}
            finally:
                place.unmount(hub)

    rooms = create_app(loaded, hub=hub)
    routes = [Mount(path, app=rooms)]
    base = str(config.get_option("server.baseUrlPath") or "").strip("/")
    if base:
        routes.append(Mount(f"/{base}{path}", app=rooms))
    return {"routes": routes, "lifespan": lifespan}
