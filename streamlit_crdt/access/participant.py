"""Who takes part in a room: a role, and a user whom the others see by name.

The server believes the token that the session signs, and never what a browser says of itself (rule A3). So what stands
here comes from the script, from Streamlit's login, or was drawn for this session.

Who may enter a room, and in which role, as the app's own hook decides: `crdt_app(authorize=...)`.
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
"""A longer id or name is cut: it is shown to others, and travels in a request's header."""

_ANIMALS: Final = (
    "Badger", "Beaver", "Bison", "Crane", "Deer", "Dolphin", "Falcon", "Finch", "Fox", "Gecko", "Hare", "Hedgehog",
    "Heron", "Ibex", "Koala", "Lark", "Lemur", "Lynx", "Magpie", "Marten", "Moose", "Newt", "Orca", "Otter", "Owl",
    "Panda", "Puffin", "Quail", "Raven", "Robin", "Seal", "Sparrow", "Squirrel", "Stork", "Swan", "Swift", "Tapir",
    "Tern", "Turtle", "Walrus", "Wombat", "Wren", "Yak", "Zebra",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class User:
    """A user as the others know them.

    Attributes:
        id: what tells users apart.
        name: what the others see.
    """

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Participant:
    """What part a session takes in a room."""

    role: Role
    user: User

    @property
    def is_viewer(self) -> bool:
        return self.role == "viewer"

    def combine(self, other: Participant) -> Participant:
        """Return the part of a session that named both for one room: whoever may only look in one, may only look."""
        return self if self.is_viewer else other


def participant_for(role: object, user: object, guest: User) -> Participant:
    """Return the part that the arguments of `crdt_sync` name.

    Args:
        role: "editor" or "viewer".
        user: a name, a mapping with a "name" or an "id", or None for who is logged in.
        guest: who it is if nobody is logged in.

    Raises:
        RoleError: the role is another word.
        UserError: the user is of another kind, or has neither name nor id.
    """
    return Participant(role_of(role), _known(guest) if user is None else _user(user))


def role_of(role: object) -> Role:
    """Return `role` if it is one.

    Raises:
        RoleError: it is another word.
    """
    if role not in get_args(Role):
        raise RoleError(role)
    return "viewer" if role == "viewer" else "editor"


def draw_guest() -> User:
    """Draw a user of whom nothing is known; the name is the same as long as the session lasts."""
    return User(f"guest-{secrets.token_hex(8)}", f"Guest {secrets.choice(_ANIMALS)}")


def _known(guest: User) -> User:
    """Return who is logged in to the app (`st.login`), else the guest."""
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
    """Make a user of the first of `ids` that is there, and of the best name; None if there is no id."""
    user_id = _first(fields, ids)
    return User(user_id, _first(fields, ("name", "email")) or user_id) if user_id else None


def _first(fields: Mapping[str, Any], names: tuple[str, ...]) -> str:
    texts = (str(fields.get(name) or "").strip()[:MAX_CHARS] for name in names)
    return next((text for text in texts if text), "")


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks to enter a room.

    Attributes:
        room: the room's name, as the script gives it.
        role: the role that the script asks for.
        user: what `st.user` says of who is logged in; empty if nobody is.
        headers: headers of the request that opened the page, as `st.context.headers` has them: case does not matter.
            What the browser sent is in them as well; believe those alone that your proxy sets itself.
    """

    room: str
    role: Role
    user: Mapping[str, Any]
    headers: Mapping[str, str]


Authorize = Callable[[Visitor], Role | None]
"""Returns the role that a visitor may have at most, None to keep it out."""


class _Hook:
    """The hook of this process's app, if it has one."""

    authorize: Authorize | None = None


_hook: Final = _Hook()


def install(authorize: Authorize | None) -> None:
    """Ask `authorize` from now on; None lets everybody have the role that the script asks for."""
    _hook.authorize = authorize


@contextmanager
def installed(authorize: Authorize | None) -> Iterator[None]:
    """Ask `authorize` during the block, and the former hook afterwards."""
    former, _hook.authorize = _hook.authorize, authorize
    try:
        yield
    finally:
        _hook.authorize = former


def authorized_role(room: str, role: Role) -> Role:
    """Return the role that this session may have in `room`: the one it asks for, or less.

    Raises:
        EntryForbiddenError: it may not enter.
        RoleError: the hook returned something else. Whatever the hook raises: nobody enters by its fault.
    """
    if _hook.authorize is None:
        return role
    allowed = _hook.authorize(Visitor(room, role, st.user.to_dict(), st.context.headers))
    if allowed is None:
        raise EntryForbiddenError(room)
    return "viewer" if role_of(allowed) == "viewer" else role
