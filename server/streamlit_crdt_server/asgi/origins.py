"""Which pages may connect, and under which names this server may be asked for.

A browser lets any page of any site open a WebSocket anywhere, and tells only the Origin. And a page whose name is
made to point to this machine once it is loaded (DNS rebinding) counts as the same origin as a server that listens
on loopback only; the Host that it asks for gives it away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from streamlit_crdt_server.errors import HostRefused, OriginRefused
from streamlit_crdt_server.names import is_loopback
from streamlit_crdt_server.settings import Settings

Scope = Mapping[str, Any]


def check_host(scope: Scope, settings: Settings) -> None:
    """Raise HostRefused unless this server may be asked for under the name in the request.

    A server that listens on loopback has the names of this machine, and those of `allow_origin`, as which a proxy
    on this machine may ask for it. On any other address its names are not known here.
    """
    asked = _headers(scope, b"host")
    if len(asked) > 1:
        raise HostRefused(", ".join(asked))
    if not is_loopback(settings.host) or "*" in settings.allow_origin:
        return
    host = _hostname("//" + asked[0]) if asked else None
    if host is None or not (is_loopback(host) or host in map(_hostname, settings.allow_origin)):
        raise HostRefused(asked[0] if asked else "")


def check_origin(scope: Scope, allow_origin: Iterable[str]) -> None:
    """Raise OriginRefused unless a page of this origin may connect.

    Allowed are no origin (not a browser), the host that was asked for, whatever the port (the embedded
    server's port is not the page's), what `allow_origin` lists, and any page of this machine if this machine was
    asked for and the connection came over loopback.
    """
    origins = _headers(scope, b"origin")
    if not origins or "*" in allow_origin:
        return
    origin = origins[0]
    if len(origins) > 1:
        raise OriginRefused(", ".join(origins))
    if _is_listed(origin, allow_origin):
        return
    page_host = _hostname(origin) if origin.startswith(("http://", "https://")) else None
    asked_host = _hostname("//" + "".join(_headers(scope, b"host")))
    if page_host is None or asked_host is None:
        raise OriginRefused(origin)
    is_all_here = is_loopback(page_host) and is_loopback(asked_host) and _came_over_loopback(scope)
    if page_host != asked_host and not is_all_here:
        raise OriginRefused(origin)


def _headers(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]


def _came_over_loopback(scope: Scope) -> bool:
    server = scope.get("server")
    return server is not None and is_loopback(str(server[0]))


def _hostname(url: str) -> str | None:
    """The host of an address, in lower case and without its port; None if it has none, or a user in front."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises if it is no number
        return None if "@" in parts.netloc else parts.hostname
    except ValueError:
        return None


def _is_listed(origin: str, allowed: Iterable[str]) -> bool:
    return origin.rstrip("/").lower() in {entry.rstrip("/").lower() for entry in allowed}
