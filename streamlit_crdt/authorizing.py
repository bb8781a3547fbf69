"""Who may enter a room, and in which role, as the app's own hook decides: `crdt_app(authorize=...)`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import streamlit as st

from streamlit_crdt.errors import EntryForbiddenError
from streamlit_crdt.identity import Role, role_of


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


def permitted(room: str, role: Role) -> Role:
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
