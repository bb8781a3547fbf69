"""The admin API over HTTP: apps list and delete the rooms of their namespace on a stand-alone server.

    GET    /rooms          {"rooms": [{"name": "planning", "people": 3}]}
    DELETE /rooms/{name}   {}

A request has an `Authorization: Bearer` header with an admin token for exactly this operation (see `AdminScope`), and a
header with the app's namespace. A token authorizes one request. A refused request receives no reason; the reason is in
the log.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from streamlit_crdt_server.asgi.origins import check_host, check_origin
from streamlit_crdt_server.asgi.room_path import read_room_name
from streamlit_crdt_server.auth.single_use import SingleUse
from streamlit_crdt_server.auth.tokens import NAMESPACE_HEADER, AdminScope, KeyRing
from streamlit_crdt_server.errors import (
    HostRefused,
    HubNotRunningError,
    OriginRefused,
    RoomNameRefused,
    ServerError,
    TokenError,
    TokenMissingError,
)
from streamlit_crdt_server.names import qualified, split_namespace
from streamlit_crdt_server.throttled_log import ThrottledLog

if TYPE_CHECKING:
    from streamlit_crdt_server.hub.hub import Hub
    from streamlit_crdt_server.settings import Settings

_log = logging.getLogger(__name__)

_REFUSALS = (HostRefused, OriginRefused, TokenError)
_SCHEME = "bearer "


class AdminApi:
    """The admin API of one hub."""

    def __init__(
        self, hub: Hub, settings: Settings, *, keys: KeyRing | None, clock: Callable[[], float]
    ) -> None:
        """Create the API. The arguments are those of `WebSocketEndpoint`."""
        self._hub = hub
        self._settings = settings
        self._keys = keys if settings.require_token else None
        self._clock = clock
        self._used = SingleUse()
        self._throttled = ThrottledLog(_log)

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/rooms", self.list_rooms, methods=["GET"]),
            Route("/rooms/{room:path}", self.delete_room, methods=["DELETE"]),
        ]

    async def list_rooms(self, request: Request) -> Response:
        """Return the rooms of a namespace and the number of participants in each."""

        async def find(namespace: str) -> object:
            entries = await self._hub.find_rooms(namespace)
            return {"rooms": [{"name": entry.name, "people": entry.people} for entry in entries]}

        return await self._answer(request, AdminScope.listing(_namespace(request)), find)

    async def delete_room(self, request: Request) -> Response:
        """Delete a room of a namespace."""
        try:
            name = read_room_name(request.scope, prefix="/rooms/")
        except RoomNameRefused as error:
            return _refuse_name(error)

        async def delete(namespace: str) -> object:
            full_name = qualified(name, namespace)
            if split_namespace(full_name) != (namespace, name):  # a room of another namespace
                raise RoomNameRefused(name)
            await self._hub.delete_room(full_name)
            return {}

        return await self._answer(request, AdminScope.deletion(_namespace(request), name), delete)

    async def _answer(
        self, request: Request, scope: AdminScope, operation: Callable[[str], Awaitable[object]]
    ) -> Response:
        try:
            self._authorize(request, scope)
            if not self._hub.is_open:
                raise HubNotRunningError()
            return JSONResponse(await operation(scope.namespace))
        except _REFUSALS as error:
            self._throttled.warning(type(error).__name__, "refused an admin request: %s", error)
            return JSONResponse({"error": "refused"}, status_code=403)
        except RoomNameRefused as error:
            return _refuse_name(error)
        except ServerError as error:
            _log.error("an admin request failed: %s", error)
            return JSONResponse({"error": str(error)}, status_code=503)

    def _authorize(self, request: Request, scope: AdminScope) -> None:
        """Check host, origin and token of a request.

        Raises:
            HostRefused, OriginRefused: See `check_host` and `check_origin`.
            TokenError: The token is missing or invalid, or its scope differs from `scope`.
        """
        check_host(request.scope, self._settings)
        check_origin(request.scope, self._settings.allow_origin)
        if self._keys is None:
            return
        headers = request.headers.getlist("authorization")
        if len(headers) != 1 or not headers[0].lower().startswith(_SCHEME):
            raise TokenMissingError()
        token = headers[0][len(_SCHEME) :]
        self._used.spend(self._keys, token, scope, started_at=self._hub.opened_at, now=self._clock())


def _refuse_name(error: RoomNameRefused) -> JSONResponse:
    return JSONResponse({"error": str(error)}, status_code=400)


def _namespace(request: Request) -> str:
    return request.headers.get(NAMESPACE_HEADER, "")
