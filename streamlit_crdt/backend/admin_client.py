"""What an app asks of a stand-alone room server: which rooms there are, and to delete one.

The sessions of such an app reach a room through their tabs, and no tab knows of other rooms. So the app asks the server
itself, with a token that it signs for just that.
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
"""A script waits for the answer."""

MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024


class _StayHere(urllib.request.HTTPRedirectHandler):
    """Follow nobody elsewhere: the token would come along."""

    def redirect_request(self, *_arguments: Any) -> None:
        return None


def list_rooms(address: str, keys: KeyRing | None, namespace: str) -> list[RoomEntry]:
    """Ask the server at `address` for the rooms of `namespace`.

    Raises:
        ServerUnavailableError: it does not answer, refuses, or says something else.
    """
    answer = _ask(address, keys, "GET", "/rooms", AdminScope.listing(namespace))
    try:
        return [RoomEntry(str(room["name"]), int(room["people"])) for room in answer["rooms"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ServerUnavailableError(address, "it answered something else than a list of rooms") from error


def delete_room(address: str, keys: KeyRing | None, namespace: str, room: str) -> None:
    """Ask the server at `address` to delete a room of `namespace`; raises as `list_rooms` does."""
    _ask(address, keys, "DELETE", f"/rooms/{room}", AdminScope.deletion(namespace, room))


def _ask(address: str, keys: KeyRing | None, method: str, path: str, errand: AdminScope) -> Any:
    url = address.rstrip("/").replace("ws", "http", 1) + path
    headers = {NAMESPACE_HEADER: errand.namespace}
    if keys is not None:
        headers["Authorization"] = f"Bearer {mint_admin_token(keys, errand, now=time.time())}"
    request = urllib.request.Request(url, method=method, headers=headers)
    try:
        with _opener(url).open(request, timeout=TIMEOUT_S) as answer:
            return json.loads(answer.read(MAX_ANSWER_BYTES))
    except urllib.error.HTTPError as error:
        with error:
            raise ServerUnavailableError(address, _explain(error)) from error
    except urllib.error.URLError as error:
        raise ServerUnavailableError(address, str(error.reason)) from error
    except (OSError, HTTPException, ValueError) as error:
        raise ServerUnavailableError(address, f"its answer cannot be read ({error})") from error


def _opener(url: str) -> urllib.request.OpenerDirector:
    """Return what opens `url`; a server on this machine is not asked for by way of a proxy."""
    handlers: list[urllib.request.BaseHandler] = [_StayHere()]
    if is_loopback(urllib.parse.urlsplit(url).hostname or ""):
        handlers.append(urllib.request.ProxyHandler({}))
    return urllib.request.build_opener(*handlers)


def _explain(error: urllib.error.HTTPError) -> str:
    if error.code == 403:
        return "it refused; the app and the server must have the same secret, and its log says why"
    if error.code == 404:
        return "it does not tell of its rooms: it is older than this app, or no room server"
    try:
        return str(json.loads(error.read(MAX_ANSWER_BYTES))["error"])
    except (OSError, ValueError, KeyError, TypeError):
        return f"it answered HTTP {error.code}"
