"""What a stand-alone server is asked over HTTP by the apps that use it: which rooms there are, and to delete one.

    GET    /rooms          {"rooms": [{"name": "planning", "people": 3}]}
    DELETE /rooms/{name}   {}

Each with the header `Authorization: Bearer` and a token for just that (see `errand`), and with the app's namespace.
Who is refused is told nothing but that; why is in the log.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from streamlit_crdt_server.asgi.origins import check_host, check_origin
from streamlit_crdt_server.auth.tokens import NAMESPACE_HEADER, AdminScope, KeyRing, verify_errand
from streamlit_crdt_server.errors import (
    AdminForbiddenError,
    HostRefused,
    HubNotRunningError,
    OriginRefused,
    RoomNameRefused,
    ServerError,
    TokenError,
    TokenMissingError,
)
from streamlit_crdt_server.hub.hub import Hub
from streamlit_crdt_server.names import qualified
from streamlit_crdt_server.settings import Settings

_log = logging.getLogger(__name__)

_REFUSALS = (HostRefused, OriginRefused, TokenError)
_SCHEME = "bearer "


class AdminApi:
    """Answers apps about the rooms of their namespace."""

    def __init__(
        self, hub: Hub, settings: Settings, *, keys: KeyRing | None, clock: Callable[[], float]
    ) -> None:
        """Make a desk; the arguments are those of `Gate`."""
        self._hub = hub
        self._settings = settings
        self._keys = keys if settings.require_token else None
        self._clock = clock

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/rooms", self.list, methods=["GET"]),
            Route("/rooms/{name}", self.delete, methods=["DELETE"]),
        ]

    async def list(self, request: Request) -> Response:
        """Tell which rooms there are in a namespace, and how many are in each."""

        async def answer(namespace: str) -> object:
            entries = await self._hub.find_rooms(namespace)
            return {"rooms": [{"name": entry.name, "people": entry.people} for entry in entries]}

        return await self._answer(request, AdminScope.listing(_namespace(request)), answer)

    async def delete(self, request: Request) -> Response:
        """Delete a room of a namespace."""
        name = str(request.path_params["name"])

        async def answer(namespace: str) -> object:
            if "~" in name:
                raise RoomNameRefused(name)
            await self._hub.delete_room(qualified(name, namespace))
            return {}

        return await self._answer(request, AdminScope.deletion(_namespace(request), name), answer)

    async def _answer(
        self, request: Request, errand: AdminScope, answer: Callable[[str], Awaitable[object]]
    ) -> Response:
        try:
            self._check(request, errand)
            if not self._hub.is_open:
                raise HubNotRunningError()
            return JSONResponse(await answer(errand.namespace))
        except _REFUSALS as error:
            _log.warning("refused an errand: %s", error)
            return JSONResponse({"error": "refused"}, status_code=403)
        except RoomNameRefused as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        except ServerError as error:
            _log.error("an errand could not be done: %s", error)
            return JSONResponse({"error": str(error)}, status_code=503)

    def _check(self, request: Request, errand: AdminScope) -> None:
        """Raise a ServerError unless the request may come from here and brings a token for just this errand."""
        check_host(request.scope, self._settings)
        check_origin(request.scope, self._settings.allow_origin)
        if self._keys is None:
            return
        given = request.headers.getlist("authorization")
        if len(given) != 1 or not given[0].lower().startswith(_SCHEME):
            raise TokenMissingError()
        allowed = verify_errand(self._keys, given[0][len(_SCHEME) :].strip(), now=self._clock())
        if allowed != errand:
            raise AdminForbiddenError(errand.does)


def _namespace(request: Request) -> str:
    return request.headers.get(NAMESPACE_HEADER, "")
