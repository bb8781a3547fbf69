"""Signed tokens of connections and of the admin API. No I/O, no clock.

A token is a JWT signed with HS256; the algorithm is never taken from the token. It has exactly one spelling: canonical
base64 without padding, UTF-8, no repeated fields, no unknown header fields. PyJWT, which signs tokens and checks
signatures, accepts more, for example a header in UTF-16, and then one token has several meanings or several texts. Keys
are derived from secrets with a label, so that a signature made elsewhere with the same secret is not valid here.

A connection token states user, rooms, roles and expiry. An admin token authorizes one request of the admin API, such
as the listing of rooms, and expires after seconds. The two have different audiences, so that neither replaces the
other.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NoReturn, Self

import jwt

from streamlit_crdt_server.errors import (
    RoomNameRefused,
    TokenExpiredError,
    TokenForgedError,
    TokenKeyUnknownError,
    TokenMalformedError,
)
from streamlit_crdt_server.names import ANY_ROOM, check_room_name

MAX_TOKEN_CHARS = 8192
"""Characters. A longer token does not fit into the headers of a request, and costs more to verify."""

MAX_NAME_CHARS = 256
"""Characters of user, name and session. Longer ones are not signed; a longer name is cut when it is verified."""

MAX_EXPIRY_S = 253_402_300_799
"""Latest expiry in seconds since the Unix epoch: the last second of the year 9999."""

ADMIN_TTL_S = 30.0
"""Lifetime of an admin token in seconds. It is signed for one request that is sent immediately."""

NAMESPACE_HEADER = "streamlit-crdt-namespace"
"""Header of an admin request with the namespace of the app."""

ALGORITHM = "HS256"
_AUDIENCE = "streamlit-crdt"
_ADMIN_AUDIENCE = "streamlit-crdt errand"
_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{43}")
_TYPE = "JWT"
_HEADER_FIELDS = {"alg", "typ", "kid"}
_SIGNATURE_ONLY: Any = {
    f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")
}


class Role(StrEnum):
    """Permission of a user in a room."""

    VIEWER = "viewer"
    EDITOR = "editor"


@dataclass(frozen=True, slots=True)
class Claims:
    """Claims of a verified token.

    Attributes:
        rooms: Role per room name. `ANY_ROOM` matches the rooms that are not named.
        user: User id, for limits and presence.
        name: Name that other users see.
        session: Session of the token. A token that replaces it on an open socket must have the same session.
        expires_at: Expiry, in seconds since the Unix epoch.
        key_id: Id of the key that signed the token.
    """

    rooms: Mapping[str, Role]
    user: str
    name: str
    session: str
    expires_at: float
    key_id: str

    def role_in(self, room: str) -> Role | None:
        """Return the role in `room`, or None if the token grants no access to it."""
        return self.rooms.get(room, self.rooms.get(ANY_ROOM))


@dataclass(frozen=True, slots=True)
class AdminScope:
    """One operation of the admin API.

    Attributes:
        namespace: Namespace of the rooms; "" for none.
        does: "list", or "delete" and the name of the room.
    """

    namespace: str
    does: str

    @classmethod
    def listing(cls, namespace: str) -> AdminScope:
        """Return the scope of listing all rooms of a namespace."""
        return cls(namespace, "list")

    @classmethod
    def deletion(cls, namespace: str, room: str) -> AdminScope:
        """Return the scope of deleting a room, named without its namespace."""
        return cls(namespace, f"delete {room}")


@dataclass(frozen=True, slots=True)
class AdminClaims:
    """Claims of a verified admin token.

    Attributes:
        scope: The operation that it authorizes.
        issued_at: Time of its signature, in seconds since the Unix epoch.
        expires_at: Expiry, in seconds since the Unix epoch.
    """

    scope: AdminScope
    issued_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Keys by id. All keys verify; the current key signs. A second key makes rotation possible.

    Attributes:
        keys: 32 bytes per key id. The repr does not contain them.
        current: Id of the key that signs.
    """

    keys: Mapping[str, bytes] = field(repr=False)
    current: str

    def __post_init__(self) -> None:
        if self.current not in self.keys:
            raise ValueError(f"the current key {self.current!r} is not in the ring")

    @classmethod
    def from_secret(cls, *secrets: str, label: str = "shared secret") -> Self:
        """Derive a key from each secret and the label. The first key signs."""
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
    """Sign a token that is valid for `ttl_s` from `now`, in seconds since the Unix epoch.

    Raises:
        RoomNameRefused: A key of `rooms` is neither a room name nor `ANY_ROOM`.
        ValueError: `rooms` is empty, `ttl_s` is not positive or exceeds the year 9999, or user, name or session is
            empty or too long.
    """
    _check_rooms(rooms)
    if not 0 < ttl_s <= MAX_EXPIRY_S - now:
        raise ValueError(f"ttl_s={ttl_s} must be greater than 0 and end before the year 10000")
    for field_name, text in (("user", user), ("name", name), ("session", session)):
        if not 0 < len(text) <= MAX_NAME_CHARS:
            raise ValueError(f"{field_name} must have 1 to {MAX_NAME_CHARS} characters")
    payload = {
        "aud": _AUDIENCE,
        "sub": user,
        "name": name,
        "sid": session,
        "rooms": {room: str(Role(role)) for room, role in rooms.items()},
        "iat": int(now),
        "exp": now + ttl_s,
    }
    return _sign(ring, payload)


def verify(ring: KeyRing, text: str, *, now: float) -> Claims:
    """Verify the signature and the expiry of a connection token, and return its claims.

    Raises:
        TokenMalformedError: `text` is not a connection token.
        TokenKeyUnknownError: Its key is not in the ring.
        TokenForgedError: Its signature does not match its content.
        TokenExpiredError: It has expired.
    """
    payload, key_id, expires_at = _verified_payload(ring, text, audience=_AUDIENCE, now=now)
    return _read_claims(payload, key_id, expires_at)


def mint_admin_token(ring: KeyRing, scope: AdminScope, *, now: float) -> str:
    """Sign an admin token that is valid for one request, for `ADMIN_TTL_S` from `now`."""
    payload = {
        "aud": _ADMIN_AUDIENCE,
        "namespace": scope.namespace,
        "does": scope.does,
        "jti": secrets.token_hex(8),
        "iat": now,
        "exp": now + ADMIN_TTL_S,
    }
    return _sign(ring, payload)


def verify_admin_token(ring: KeyRing, text: str, *, now: float) -> AdminClaims:
    """Verify the signature and the expiry of an admin token, and return its claims.

    It may have been used before; see `SingleUse`.

    Raises:
        TokenError: As `verify`. A connection token is malformed here.
    """
    payload, _, expires_at = _verified_payload(ring, text, audience=_ADMIN_AUDIENCE, now=now)
    namespace, does = payload.get("namespace"), payload.get("does")
    if not isinstance(namespace, str) or not isinstance(does, str):
        raise TokenMalformedError("its scope is missing")
    return AdminClaims(AdminScope(namespace, does), _read_time(payload, "iat"), expires_at)


def _sign(ring: KeyRing, payload: Mapping[str, Any]) -> str:
    return jwt.encode(dict(payload), ring.keys[ring.current], ALGORITHM, headers={"kid": ring.current})


def _verified_payload(
    ring: KeyRing, text: str, *, audience: str, now: float
) -> tuple[Mapping[str, Any], str, float]:
    """Return the payload, the key id and the expiry of a token for `audience`. Raises the errors of `verify`."""
    if len(text) > MAX_TOKEN_CHARS or not _FORM.fullmatch(text):
        raise TokenMalformedError("its form is not that of a token")
    header, claims, signature = text.split(".")
    _decode_base64url(signature)
    key_id = _read_key_id(header)
    key = ring.keys.get(key_id)
    if key is None:
        raise TokenKeyUnknownError(key_id)
    _check_signature(text, key)
    payload = _read_object(claims)
    if payload.get("aud") != audience:
        raise TokenMalformedError("it is for another audience")
    expires_at = _read_time(payload, "exp")
    if expires_at <= now:
        raise TokenExpiredError(expires_at, now)
    return payload, key_id, expires_at


def _check_signature(text: str, key: bytes) -> None:
    try:
        jwt.decode_complete(text, key, algorithms=[ALGORITHM], options=_SIGNATURE_ONLY)
    except jwt.InvalidSignatureError as error:
        raise TokenForgedError() from error
    except (jwt.InvalidTokenError, ValueError, RecursionError) as error:
        raise TokenMalformedError("its claims do not decode") from error


def _read_key_id(part: str) -> str:
    header = _read_object(part)
    if header.get("alg") != ALGORITHM or header.get("typ", _TYPE) != _TYPE:
        raise TokenMalformedError(f"its algorithm is not {ALGORITHM}, or its type not {_TYPE}")
    if not header.keys() <= _HEADER_FIELDS:
        raise TokenMalformedError("its header has unknown fields")
    key_id = header.get("kid")
    if not isinstance(key_id, str):
        raise TokenMalformedError("its header has no key id")
    return key_id


def _read_object(part: str) -> Mapping[str, Any]:
    """Decode a part of a token: canonical base64 of a JSON object in UTF-8, in which no field occurs twice."""
    try:
        # Of bytes, `json.loads` would guess the encoding.
        decoded = _decode_base64url(part).decode("utf-8")
        value = json.loads(decoded, object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant)
        json.dumps(
            value, ensure_ascii=False, allow_nan=False
        ).encode()  # fails on surrogates and infinite numbers
    except (ValueError, RecursionError) as error:
        raise TokenMalformedError("a part of it does not decode") from error
    if not isinstance(value, dict):
        raise TokenMalformedError("a part of it is no object")
    return value


def _without_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a field occurs twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _read_time(payload: Mapping[str, Any], name: str) -> float:
    value = payload.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= MAX_EXPIRY_S:
        raise TokenMalformedError(f"its {name} is not a time")
    return float(value)


def _read_claims(payload: Mapping[str, Any], key_id: str, expires_at: float) -> Claims:
    texts = [payload.get(name) for name in ("sub", "name", "sid")]
    rooms = payload.get("rooms")
    if not isinstance(rooms, dict) or not all(isinstance(text, str) and text for text in texts):
        raise TokenMalformedError("a claim is missing")
    try:
        checked = {room: Role(role) for room, role in rooms.items()}
        _check_rooms(checked)
    except (RoomNameRefused, ValueError) as error:
        raise TokenMalformedError("a room or role in its claims is invalid") from error
    user, name, session = map(str, texts)
    return Claims(checked, user, name[:MAX_NAME_CHARS], session, expires_at, key_id)


def _check_rooms(rooms: Mapping[str, Role]) -> None:
    if not rooms:
        raise ValueError("rooms is empty: a token needs at least one room")
    for room in rooms:
        if room != ANY_ROOM:
            check_room_name(room)


def _derive(secret: str, label: str) -> bytes:
    """Return a key of 32 bytes. Keys of different labels are independent of each other."""
    return hashlib.blake2b(f"{label}\0{secret}".encode(), digest_size=32, person=b"streamlit-crdt").digest()


def _key_id(key: bytes) -> str:
    """Return the id of a key, which reveals nothing about the key."""
    return hashlib.blake2b(key, digest_size=6, person=b"key id").hexdigest()


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _decode_base64url(text: str) -> bytes:
    """Decode base64 without padding, and refuse any other spelling of the same bytes."""
    try:
        content = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError as error:
        raise TokenMalformedError("a part of it is not base64") from error
    if _base64url(content) != text:
        raise TokenMalformedError("a part of it is not canonical base64")
    return content
