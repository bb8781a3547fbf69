"""The keys that this app shares with a stand-alone room server."""

from __future__ import annotations

import functools
import logging
import urllib.parse

from streamlit_crdt_server import KeyRing, Settings, SettingsError, ring_from_settings, user_ring
from streamlit_crdt_server.names import is_loopback

_log = logging.getLogger("streamlit_crdt")


@functools.cache
def keys_for(address: str) -> KeyRing | None:
    """Return the keys that the server at `address` verifies tokens with; None, and one warning, if they are not here.

    They are the secret that is set, for the app as for the server; on this machine both find this user's key file.
    """
    try:
        settings = Settings.load()
        if not settings.require_token:
            return None
        ring = ring_from_settings(settings)
        if ring is None and is_loopback(urllib.parse.urlsplit(address).hostname or ""):
            ring = user_ring()
    except SettingsError as error:
        _log.warning("this app cannot sign tokens for the room server at %s: %s", address, error)
        return None
    if ring is None:
        _log.warning(
            "this app cannot sign tokens for the room server at %s, which will refuse its tabs: set "
            "STREAMLIT_CRDT_SECRET to the secret that the server has; or STREAMLIT_CRDT_REQUIRE_TOKEN=false for "
            "both, to let everybody in",
            address,
        )
    return ring
