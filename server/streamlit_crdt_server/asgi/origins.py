"""Checks of the Origin and Host headers of a request.

A browser lets any page of any site open a WebSocket to any address, and sends only the page's Origin. With DNS
rebinding a page's name points to this machine after the page was loaded. The page then has the same origin as a server
on the loopback address, and only the Host header reveals it.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.types import Scope

from streamlit_crdt_server.errors import HostRefused, OriginRefused
from streamlit_crdt_server.names import is_loopback
from streamlit_crdt_server.settings import Settings


def check_host(scope: Scope, settings: Settings) -> None:
    """Check the Host header of a request.

    A server on a loopback address accepts the names of this machine, and the hosts in `allow_origin`, which a proxy on
    this machine may send. The names of any other address are not known here, so every host is accepted.

    Raises:
        HostRefused: The header is missing, repeated or not accepted.
    """
    hosts = _headers(scope, b"host")
    if len(hosts) > 1:
        raise HostRefused(", ".join(hosts))
    if not is_loopback(settings.host) or "*" in settings.allow_origin:
        return
    host = hostname_of("//" + hosts[0]) if hosts else None
    if host is None or not (is_loopback(host) or host in map(hostname_of, settings.allow_origin)):
        raise HostRefused(hosts[0] if hosts else "")


def check_origin(scope: Scope, allow_origin: Iterable[str]) -> None:
    """Check the Origin header of a request.

    Accepted are: no Origin (the client is no browser); the host of the request with any port, because the embedded
    server has another port than the page; the origins in `allow_origin`; and any page of this machine, if the host is
    this machine too and the connection uses a loopback address.

    Raises:
        OriginRefused: The header is repeated or not accepted.
    """
    origins = _headers(scope, b"origin")
    if not origins or "*" in allow_origin:
        return
    origin = origins[0]
    if len(origins) > 1:
        raise OriginRefused(", ".join(origins))
    if _is_listed(origin, allow_origin):
        return
    page_host = hostname_of(origin) if origin.startswith(("http://", "https://")) else None
    request_host = hostname_of("//" + "".join(_headers(scope, b"host")))
    if page_host is None or request_host is None:
        raise OriginRefused(origin)
    is_all_local = is_loopback(page_host) and is_loopback(request_host) and _uses_loopback(scope)
    if page_host != request_host and not is_all_local:
        raise OriginRefused(origin)


def _headers(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]


def _uses_loopback(scope: Scope) -> bool:
    server = scope.get("server")
    return server is not None and is_loopback(str(server[0]))


def hostname_of(url: str) -> str | None:
    """Return the host of a URL in lower case, without its port. None if it has no host, or has user information."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError if it is no number
        return None if "@" in parts.netloc else parts.hostname
    except ValueError:
        return None


def _is_listed(origin: str, allowed: Iterable[str]) -> bool:
    return origin.rstrip("/").lower() in {entry.rstrip("/").lower() for entry in allowed}
