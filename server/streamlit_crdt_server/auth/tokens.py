"""Tokens: which rooms somebody may enter, in which role, under which name, until when. No I/O, no clock.

A token is a JWT signed with HS256, and with nothing else: the algorithm is never taken from the token. What
PyJWT is lenient about is checked here first, so that a token has exactly one spelling and one meaning: unknown
header fields, and characters that a base64 decoder skips. Keys are derived from secrets, each under a label of
its own, so that a signature made elsewhere with the same secret opens nothing here.

Tokens for errands: one thing that an app asks of its room server, over HTTP, such as which rooms there are.

A token for a socket opens none of this, nor does one for an errand open a socket: they are for different audiences. It
names the one thing that it is for, and ends after seconds.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

import jwt

from streamlit_crdt_server.errors import (
    RoomNameRefused,
    TokenExpiredError,
    TokenForgedError,
    TokenKeyUnknownError,
    TokenMalformedError,
)
from streamlit_crdt_server.names import check_room_name

ANY_ROOM = "*"
"""Stands for every room in a token's claims. No room can be called so."""

MAX_TOKEN_CHARS = 8192
"""Longer ones do not fit into a request's headers anyway; verifying costs in proportion."""

MAX_NAME_CHARS = 256

ALGORITHM = "HS256"
_AUDIENCE = "streamlit-crdt"
_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{43}")
_HEADER_FIELDS = {"alg", "typ", "kid"}


class Role(StrEnum):
    """What somebody may do in a room."""

    VIEWER = "viewer"
    EDITOR = "editor"


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says.

    Attributes:
        rooms: The role per room's name; `ANY_ROOM` stands for those that are not named.
        user: Who it is, for limits and for the others.
        name: What the others see.
        session: Which session it was made for; a token that replaces it on an open socket names the same.
        expires_at: When it ends, in seconds since the epoch.
        key_id: The key that it was signed with.
    """

    rooms: Mapping[str, Role]
    user: str
    name: str
    session: str
    expires_at: float
    key_id: str

    def role_in(self, room: str) -> Role | None:
        """The role in `room`; None if this token does not open it."""
        return self.rooms.get(room, self.rooms.get(ANY_ROOM))


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Keys by their ids: all verify, the current one signs. A second one makes rotation possible.

    Attributes:
        keys: 32 bytes per key id. They are not shown in its repr.
        current: The id of the key that signs.
    """

    keys: Mapping[str, bytes] = field(repr=False)
    current: str

    def __post_init__(self) -> None:
        if self.current not in self.keys:
            raise ValueError(f"the current key {self.current!r} is not in the ring")

    @classmethod
    def from_secret(cls, *secrets: str, label: str = "shared secret") -> Self:
        """Derive a key from each secret; the first one signs. An equal label and secret give an equal key."""
        keys = [_derive(secret, label) for secret in secrets]
        ids = [_key_id(key) for key in keys]
        return cls(dict(zip(ids, keys, strict=True)), ids[0])


def mint(
    ring: KeyRing,
    *,
    rooms: Mapping[str, Role],
    user: str,
    name: str,
    session: str,
    ttl_s: float,
    now: float,
) -> str:
    """Sign a token that is valid from `now`, in seconds since the epoch, for `ttl_s`.

    Raises:
        RoomNameRefused: A key of `rooms` is neither a room's name nor `ANY_ROOM`.
        ValueError: Nothing is opened by it, it would end at once, or user, name or session is empty or too long.
    """
    _check_rooms(rooms)
    if not ttl_s > 0:
        raise ValueError(f"ttl_s={ttl_s} must be greater than 0")
    for what, text in (("user", user), ("name", name), ("session", session)):
        if not 0 < len(text) <= MAX_NAME_CHARS:
            raise ValueError(f"{what} must have 1 to {MAX_NAME_CHARS} characters")
    payload = {
        "aud": _AUDIENCE,
        "sub": user,
        "name": name,
        "sid": session,
        "rooms": {room: str(Role(role)) for room, role in rooms.items()},
        "iat": int(now),
        "exp": now + ttl_s,
    }
    return jwt.encode(payload, ring.keys[ring.current], ALGORITHM, headers={"kid": ring.current})


def verify(ring: KeyRing, text: str, *, now: float) -> Claims:
    """Return what a token says, once its signature and its end have been checked.

    Raises:
        TokenMalformedError: It is not a token of ours.
        TokenKeyUnknownError: It was signed with a key that is not, or no longer, in the ring.
        TokenForgedError: The signature is not that of what it says.
        TokenExpiredError: It has ended.
    """
    payload, key_id, expires_at = verified_payload(ring, text, audience=_AUDIENCE, now=now)
    return _read_claims(payload, key_id, expires_at)


def verified_payload(
    ring: KeyRing, text: str, *, audience: str, now: float
) -> tuple[Mapping[str, Any], str, float]:
    """Return what a token for `audience` says, the id of its key and its end; raises as `verify` does."""
    key_id = _read_key_id(text)
    key = ring.keys.get(key_id)
    if key is None:
        raise TokenKeyUnknownError(key_id)
    payload = _read_payload(text, key, audience)
    expires_at = _read_end(payload)
    if expires_at <= now:
        raise TokenExpiredError(expires_at, now)
    return payload, key_id, expires_at


def _read_key_id(text: str) -> str:
    if len(text) > MAX_TOKEN_CHARS or not _FORM.fullmatch(text):
        raise TokenMalformedError("it does not have the form of a token")
    signature = text.rpartition(".")[2]
    if _spell(base64.urlsafe_b64decode(signature + "=")) != signature:
        raise TokenMalformedError("its signature is not spelt as encoders do")
    try:
        header = jwt.get_unverified_header(text)
    except (jwt.InvalidTokenError, ValueError, RecursionError) as error:
        raise TokenMalformedError("its header does not decode") from error
    if header.get("alg") != ALGORITHM or not header.keys() <= _HEADER_FIELDS:
        raise TokenMalformedError(f"its header asks for something other than {ALGORITHM}")
    key_id = header.get("kid")
    if not isinstance(key_id, str):
        raise TokenMalformedError("it does not name its key")
    return key_id


def _read_payload(text: str, key: bytes, audience: str) -> Mapping[str, Any]:
    """Check the signature, and that the token is for us; times are checked against the caller's clock."""
    options: Any = {"require": ["aud", "exp"], "verify_exp": False, "verify_iat": False, "verify_nbf": False}
    try:
        payload = jwt.decode(text, key, algorithms=[ALGORITHM], audience=audience, options=options)
    except jwt.InvalidSignatureError as error:
        raise TokenForgedError() from error
    except (jwt.InvalidTokenError, ValueError, RecursionError) as error:
        raise TokenMalformedError("its claims do not decode") from error
    return dict(payload)


def _read_end(payload: Mapping[str, Any]) -> float:
    expires_at = payload.get("exp")
    if isinstance(expires_at, bool) or not isinstance(expires_at, (int, float)):
        raise TokenMalformedError("its end is not a time")
    try:
        ends_at = float(expires_at)
    except OverflowError as error:
        raise TokenMalformedError("its end is not a time") from error
    if not math.isfinite(ends_at):
        raise TokenMalformedError("its end is not a time")
    return ends_at


def _read_claims(payload: Mapping[str, Any], key_id: str, ends_at: float) -> Claims:
    texts = [payload.get(name) for name in ("sub", "name", "sid")]
    rooms = payload.get("rooms")
    if not isinstance(rooms, dict) or not all(isinstance(text, str) and text for text in texts):
        raise TokenMalformedError("a claim is missing")
    try:
        checked = {room: Role(role) for room, role in rooms.items()}
        _check_rooms(checked)
    except (RoomNameRefused, ValueError) as error:
        raise TokenMalformedError("a claim has no meaning") from error
    user, name, session = map(str, texts)
    return Claims(checked, user, name[:MAX_NAME_CHARS], session, ends_at, key_id)


def _check_rooms(rooms: Mapping[str, Role]) -> None:
    if not rooms:
        raise ValueError("a token that opens no room is of no use")
    for room in rooms:
        if room != ANY_ROOM:
            check_room_name(room)


def _derive(secret: str, label: str) -> bytes:
    """Make a key of 32 bytes from a secret; keys of different labels say nothing about each other."""
    return hashlib.blake2b(f"{label}\0{secret}".encode(), digest_size=32, person=b"streamlit-crdt").digest()


def _key_id(key: bytes) -> str:
    """Name a key without giving anything of it away."""
    return hashlib.blake2b(key, digest_size=6, person=b"key id").hexdigest()


def _spell(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


ERRAND_TTL_S = 30.0
"""How long a token is valid: it is made for a request that is on its way at once."""

NAMESPACE_HEADER = "streamlit-crdt-namespace"

_ADMIN_AUDIENCE = "streamlit-crdt errand"


@dataclass(frozen=True, slots=True)
class AdminScope:
    """What is asked for.

    Attributes:
        namespace: Whose rooms; "" is that of none.
        does: "list", or "delete" and the room's name.
    """

    namespace: str
    does: str

    @classmethod
    def listing(cls, namespace: str) -> AdminScope:
        """Ask which rooms there are."""
        return cls(namespace, "list")

    @classmethod
    def deletion(cls, namespace: str, room: str) -> AdminScope:
        """Ask to delete a room, whose name is without the namespace."""
        return cls(namespace, f"delete {room}")


def mint_admin_token(ring: KeyRing, errand: AdminScope, *, now: float) -> str:
    """Sign a token for one errand, valid for `ERRAND_TTL_S` from `now`."""
    payload = {
        "aud": _ADMIN_AUDIENCE,
        "namespace": errand.namespace,
        "does": errand.does,
        "iat": int(now),
        "exp": now + ERRAND_TTL_S,
    }
    return jwt.encode(payload, ring.keys[ring.current], ALGORITHM, headers={"kid": ring.current})


def verify_errand(ring: KeyRing, text: str, *, now: float) -> AdminScope:
    """Return what a token is for, once its signature and its end have been checked.

    Raises:
        TokenError: As `token.verify`; a token for a socket is malformed here.
    """
    payload, _, _ = verified_payload(ring, text, audience=_ADMIN_AUDIENCE, now=now)
    namespace, does = payload.get("namespace"), payload.get("does")
    if not isinstance(namespace, str) or not isinstance(does, str):
        raise TokenMalformedError("it does not say what it is for")
    return AdminScope(namespace, does)
