"""Client of a remote server's admin API: list rooms, delete a room.

The sessions of such an app reach a room through their tabs, and a tab reaches no other room. So the app sends the
request itself, with an admin token that is valid for this request only.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from http.client import HTTPException
from typing import Any, Final

from streamlit_crdt.errors import ServerUnavailableError
from streamlit_crdt_server import AdminScope, KeyRing, RoomEntry, mint_admin_token
from streamlit_crdt_server.auth.tokens import NAMESPACE_HEADER
from streamlit_crdt_server.names import is_loopback

TIMEOUT_S: Final = 3.0
"""Time limit of a request in seconds. A script run waits for the response."""

MAX_RESPONSE_BYTES: Final = 16 * 1024 * 1024
"""Limit of a response in bytes. A longer response is truncated, and then it is not valid JSON."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Handler that follows no redirect: the request would take the token to another server."""

    def redirect_request(self, *_arguments: Any) -> None:
        return None


def list_rooms(address: str, keys: KeyRing | None, namespace: str) -> list[RoomEntry]:
    """Return the rooms of `namespace` on the server at `address`.

    Raises:
        ServerUnavailableError: the server does not respond, rejects the request, or its response is invalid.
    """
    response = _request(address, keys, "GET", "/rooms", AdminScope.listing(namespace))
    try:
        return [RoomEntry(str(room["name"]), int(room["people"])) for room in response["rooms"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ServerUnavailableError(address, "its response is not a list of rooms") from error


def delete_room(address: str, keys: KeyRing | None, namespace: str, room: str) -> None:
    """Delete a room of `namespace` on the server at `address`. Raises as `list_rooms` does."""
    _request(address, keys, "DELETE", f"/rooms/{room}", AdminScope.deletion(namespace, room))


def _request(address: str, keys: KeyRing | None, method: str, path: str, scope: AdminScope) -> Any:
    url = address.rstrip("/").replace("ws", "http", 1) + path
    headers = {NAMESPACE_HEADER: scope.namespace}
    if keys is not None:
        headers["Authorization"] = f"Bearer {mint_admin_token(keys, scope, now=time.time())}"
    request = urllib.request.Request(url, method=method, headers=headers)
    try:
        with _opener(url).open(request, timeout=TIMEOUT_S) as response:
            return json.loads(response.read(MAX_RESPONSE_BYTES))
    except urllib.error.HTTPError as error:
        with error:
            raise ServerUnavailableError(address, _explain(error)) from error
    except urllib.error.URLError as error:
        raise ServerUnavailableError(address, str(error.reason)) from error
    except (OSError, HTTPException, ValueError) as error:
        raise ServerUnavailableError(address, f"its response cannot be read ({error})") from error


def _opener(url: str) -> urllib.request.OpenerDirector:
    """Return an opener without redirects. A request to this machine bypasses proxies."""
    handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
    if is_loopback(urllib.parse.urlsplit(url).hostname or ""):
        handlers.append(urllib.request.ProxyHandler({}))
    return urllib.request.build_opener(*handlers)


def _explain(error: urllib.error.HTTPError) -> str:
    """Return the reason for an HTTP error, and its remedy."""
    if error.code == 403:
        return "it rejected the request; app and server must have the same secret, see the server's log"
    if error.code == 404:
        return "it has no list of rooms; it is older than this app, or not a room server"
    try:
        return str(json.loads(error.read(MAX_RESPONSE_BYTES))["error"])
    except (OSError, ValueError, KeyError, TypeError):
        return f"it responded with HTTP {error.code}"
