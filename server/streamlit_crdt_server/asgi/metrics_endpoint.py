"""The endpoint `/metrics`, which answers requests of this machine only, unless it listens elsewhere on purpose.

Metrics reveal how many rooms and users a server has. A proxy that passes all paths would show them to everyone. On a
port that a proxy may share, a request is answered only if nothing in it shows a proxy or another machine. A proxy on
this machine that adds no header cannot be detected: set `metrics_port` behind it.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from streamlit_crdt_server.asgi.origins import hostname_of
from streamlit_crdt_server.metrics import CONTENT_TYPE, Metrics
from streamlit_crdt_server.names import is_loopback

PATH = "/metrics"

_PROXY_HEADERS = ("forwarded", "via", "x-real-ip")
_PROXY_PREFIX = "x-forwarded-"


class MetricsEndpoint:
    """The endpoint `/metrics` on one address."""

    def __init__(self, metrics: Metrics, *, host: str) -> None:
        """Create an endpoint.

        Args:
            metrics: The metrics.
            host: The address that the server listens on. If it is a loopback address, the requests of other machines
                and of proxies are answered like those for an unknown path.
        """
        self._metrics = metrics
        self._is_local = is_loopback(host)

    @property
    def route(self) -> Route:
        return Route(PATH, self.answer, methods=["GET"])

    async def answer(self, request: Request) -> Response:
        """Return the metrics in the format of Prometheus, or 404."""
        raw_path = request.scope.get("raw_path") or b""
        if b"%" in raw_path.partition(b"?")[0] or (self._is_local and not _is_of_this_machine(request)):
            return PlainTextResponse("Not Found", status_code=404)
        return Response(self._metrics.encode(), media_type=CONTENT_TYPE)


def _is_of_this_machine(request: Request) -> bool:
    hosts = [hostname_of(f"//{host}") for host in request.headers.getlist("host")]
    client = request.client
    return (
        all(host is not None and is_loopback(host) for host in hosts)
        and (client is None or is_loopback(client.host))
        and not any(name in _PROXY_HEADERS or name.startswith(_PROXY_PREFIX) for name in request.headers)
    )
