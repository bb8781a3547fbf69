"""Tokens for errands: one thing that an app asks of its room server, over HTTP, such as which rooms there are.

A token for a socket opens none of this, nor does one for an errand open a socket: they are for different audiences. It
names the one thing that it is for, and ends after seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import jwt

from streamlit_crdt_server.refusals import TokenMalformedError
from streamlit_crdt_server.token import ALGORITHM, KeyRing, verified_payload

ERRAND_TTL_S = 30.0
"""How long a token is valid: it is made for a request that is on its way at once."""

NAMESPACE_HEADER = "streamlit-crdt-namespace"

_AUDIENCE = "streamlit-crdt errand"


@dataclass(frozen=True, slots=True)
class Errand:
    """What is asked for.

    Attributes:
        namespace: Whose rooms; "" is that of none.
        does: "list", or "delete" and the room's name.
    """

    namespace: str
    does: str

    @classmethod
    def listing(cls, namespace: str) -> Errand:
        """Ask which rooms there are."""
        return cls(namespace, "list")

    @classmethod
    def deletion(cls, namespace: str, room: str) -> Errand:
        """Ask to delete a room, whose name is without the namespace."""
        return cls(namespace, f"delete {room}")


def mint_errand(ring: KeyRing, errand: Errand, *, now: float) -> str:
    """Sign a token for one errand, valid for `ERRAND_TTL_S` from `now`."""
    payload = {
        "aud": _AUDIENCE,
        "namespace": errand.namespace,
        "does": errand.does,
        "iat": int(now),
        "exp": now + ERRAND_TTL_S,
    }
    return jwt.encode(payload, ring.keys[ring.current], ALGORITHM, headers={"kid": ring.current})


def verify_errand(ring: KeyRing, text: str, *, now: float) -> Errand:
    """Return what a token is for, once its signature and its end have been checked.

    Raises:
        TokenError: As `token.verify`; a token for a socket is malformed here.
    """
    payload, _, _ = verified_payload(ring, text, audience=_AUDIENCE, now=now)
    namespace, does = payload.get("namespace"), payload.get("does")
    if not isinstance(namespace, str) or not isinstance(does, str):
        raise TokenMalformedError("it does not say what it is for")
    return Errand(namespace, does)
