"""Participants of a room: role and user of a session, and the authorize hook of the app.

The server trusts the token that the session signs, and no claim of a browser (rule A3). So role and user come from the
script, from Streamlit's login, or from a random guest of this session. The hook `crdt_app(authorize=...)` can reject a
session, or lower its role.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import streamlit as st

from streamlit_crdt.errors import EntryForbiddenError, RoleError, UserError

Role = Literal["editor", "viewer"]

MAX_CHARS: Final = 100
"""Length of a user's id or name, in characters. A longer one is truncated, so that the token fits into a header."""

_ANIMALS: Final = (
    "Badger", "Beaver", "Bison", "Crane", "Deer", "Dolphin", "Falcon", "Finch", "Fox", "Gecko", "Hare", "Hedgehog",
    "Heron", "Ibex", "Koala", "Lark", "Lemur", "Lynx", "Magpie", "Marten", "Moose", "Newt", "Orca", "Otter", "Owl",
    "Panda", "Puffin", "Quail", "Raven", "Robin", "Seal", "Sparrow", "Squirrel", "Stork", "Swan", "Swift", "Tapir",
    "Tern", "Turtle", "Walrus", "Wombat", "Wren", "Yak", "Zebra",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class User:
    """A user, as other participants see them.

    Attributes:
        id: unique id. Two sessions with one id are one user.
        name: displayed name.
    """

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Participant:
    """Role and user of a session in a room."""

    role: Role
    user: User

    @property
    def is_viewer(self) -> bool:
        return self.role == "viewer"

    def combine(self, other: Participant) -> Participant:
        """Return the participant of two calls for one room: a viewer in either of them is a viewer."""
        return self if self.is_viewer else other


def participant_for(role: object, user: object, guest: User) -> Participant:
    """Return the participant of the arguments of `crdt_sync`.

    Args:
        role: "editor" or "viewer".
        user: a name, a mapping with a "name" or an "id", or None for the user who is logged in.
        guest: the user if no user is logged in.

    Raises:
        RoleError: the role is another value.
        UserError: the user has another type, or neither name nor id.
    """
    return Participant(role_of(role), _logged_in_or(guest) if user is None else _user(user))


def role_of(role: object) -> Role:
    """Return `role` as a `Role`.

    Raises:
        RoleError: the role is neither "editor" nor "viewer".
    """
    if role not in get_args(Role):
        raise RoleError(role)
    return "viewer" if role == "viewer" else "editor"


def random_guest() -> User:
    """Return a random user, for a session without login."""
    return User(f"guest-{secrets.token_hex(8)}", f"Guest {secrets.choice(_ANIMALS)}")


def _logged_in_or(guest: User) -> User:
    """Return the user who is logged in to the app (`st.login`), or `guest`."""
    if not getattr(st.user, "is_logged_in", False):
        return guest
    return _read(st.user.to_dict(), ("sub", "email")) or guest


def _user(user: object) -> User:
    fields = {"name": user} if isinstance(user, str) else user
    found = _read(fields, ("id", "email", "name")) if isinstance(fields, Mapping) else None
    if found is None:
        raise UserError(user)
    return found


def _read(fields: Mapping[str, Any], ids: tuple[str, ...]) -> User | None:
    """Return the user with the first id of `ids` that `fields` has; None if it has no id."""
    user_id = _first(fields, ids)
    return User(user_id, _first(fields, ("name", "email")) or user_id) if user_id else None


def _first(fields: Mapping[str, Any], names: tuple[str, ...]) -> str:
    texts = (str(fields.get(name) or "").strip()[:MAX_CHARS] for name in names)
    return next((text for text in texts if text), "")


@dataclass(frozen=True, slots=True)
class Visitor:
    """A session that requests access to a room.

    Attributes:
        room: name of the room, as the script gives it.
        role: the role that the script requests.
        user: the fields of `st.user`; empty if no user is logged in.
        headers: headers of the request that opened the page, as in `st.context.headers`. Names are case-insensitive.
            They include headers of the browser: trust only those that your proxy sets.
    """

    room: str
    role: Role
    user: Mapping[str, Any]
    headers: Mapping[str, str]


Authorize = Callable[[Visitor], Role | None]
"""Returns the highest role that a visitor may have; None rejects the visitor."""


class _Hook:
    """The hook of the app in this process; None if the app has none."""

    authorize: Authorize | None = None


_hook: Final = _Hook()


def install(authorize: Authorize | None) -> None:
    """Set the hook. With None each session gets the role that its script requests."""
    _hook.authorize = authorize


@contextmanager
def installed(authorize: Authorize | None) -> Iterator[None]:
    """Set the hook for the block, and restore the former one afterwards."""
    former, _hook.authorize = _hook.authorize, authorize
    try:
        yield
    finally:
        _hook.authorize = former


def authorized_role(room: str, role: Role) -> Role:
    """Return the role that this session has in `room`: the requested role, or a lower one.

    Raises:
        EntryForbiddenError: the hook rejected the session.
        RoleError: the hook returned another value. An exception of the hook is not caught: no session enters then.
    """
    if _hook.authorize is None:
        return role
    allowed = _hook.authorize(Visitor(room, role, st.user.to_dict(), st.context.headers))
    if allowed is None:
        raise EntryForbiddenError(room)
    return "viewer" if role_of(allowed) == "viewer" else role
