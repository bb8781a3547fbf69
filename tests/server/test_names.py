"""Names of rooms and namespaces, and groups of addresses."""

from __future__ import annotations

import pytest

from streamlit_crdt_server import RoomNameRefused, qualified
from streamlit_crdt_server.names import address_group, check_room_name, is_loopback, split_namespace


@pytest.mark.parametrize(
    "name", ["a", "json:notebook:1", "@scope/x", "/", "é" * 128, "👩‍💻", "\u2028", "\u202e", "~", "**"]
)
def test_name_of_256_bytes_without_control_characters_is_valid(name: str) -> None:
    assert check_room_name(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "*", "a/..", "./a", "a\n", "\0", "\x7f", "\x85", "\ud800", "é" * 128 + "a"]
)
def test_name_that_no_room_can_have_is_refused(name: str) -> None:
    with pytest.raises(RoomNameRefused) as caught:
        check_room_name(name)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("plan", ("", "plan")),
        ("ops~plan", ("ops", "plan")),
        ("ops~a~b", ("ops", "a~b")),
        ("~plan", ("", "~plan")),
        ("ops~", ("", "ops~")),
        ("@a/b~plan", ("", "@a/b~plan")),
        ("é~plan", ("", "é~plan")),
    ],
)
def test_name_has_one_namespace(name: str, parts: tuple[str, str]) -> None:
    assert split_namespace(name) == parts
    assert qualified(parts[1], parts[0]) == name


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1:2", "2001:db8::/64"),
        ("unix", "unix"),
    ],
)
def test_addresses_of_one_client_have_one_group(address: str, group: str) -> None:
    assert address_group(address) == group


def test_loopback_address_is_recognized_in_both_families() -> None:
    assert all(map(is_loopback, ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "app.localhost"]))
    assert not any(map(is_loopback, ["192.0.2.1", "::ffff:192.0.2.1", "localhost.example", "::"]))
