"""The visitor of a session, for whom the limits of new rooms count."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from streamlit_crdt import _compat
from streamlit_crdt.backend import backend
from streamlit_crdt_server.hub.creation_limits import Creator


@pytest.mark.parametrize(
    ("login", "address", "visitor"),
    [
        (None, None, Creator(None, None)),
        (None, "192.0.2.1", Creator(None, "192.0.2.1")),
        ({"sub": "ada", "email": "ada@example.com"}, "192.0.2.1", Creator("ada", "192.0.2.1")),
        ({"email": "ada@example.com"}, None, Creator("ada@example.com", None)),
        ({"sub": None, "name": "Ada"}, None, Creator(None, None)),
    ],
)
def test_visitor_is_the_login_and_the_address_of_the_browser(
    monkeypatch: pytest.MonkeyPatch, login: dict[str, Any] | None, address: str | None, visitor: Creator
) -> None:
    user = SimpleNamespace(is_logged_in=login is not None, to_dict=lambda: login)
    streamlit = SimpleNamespace(user=user, context=SimpleNamespace(ip_address=address))
    monkeypatch.setattr(backend, "st", streamlit)
    monkeypatch.setattr(_compat, "has_server", lambda: True)
    assert backend._visitor() == visitor


def test_process_without_streamlits_server_has_no_visitor() -> None:
    assert backend._visitor() == Creator()
