"""Key sources: settings, key file, cookie secret, process."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from streamlit_crdt_server import (
    Hub,
    KeyRing,
    Settings,
    SettingsError,
    derive_ring,
    process_ring,
    ring_from_settings,
    standalone_ring,
    user_ring,
)
from streamlit_crdt_server.auth.key_ring import key_file

SECRET, OTHER = "the first long secret", "the second long secret"


def test_first_secret_signs_and_all_secrets_verify() -> None:
    ring = ring_from_settings(Settings(secret=(SECRET, OTHER)))
    assert ring is not None
    assert ring.current == KeyRing.from_secret(SECRET).current
    assert KeyRing.from_secret(OTHER).current in ring.keys


def test_secrets_are_read_from_variable_argument_or_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n\n  {OTHER}  \n")
    from_file = ring_from_settings(Settings(secret_file=str(file)))
    from_variable = ring_from_settings(Settings.load(environ={"STREAMLIT_CRDT_SECRET": f"{SECRET}, {OTHER}"}))
    from_argument = ring_from_settings(Settings.load(environ={}, secret=SECRET))
    assert from_file == from_variable
    assert from_argument == KeyRing.from_secret(SECRET)
    assert ring_from_settings(Settings()) is None


@pytest.mark.parametrize("content", ["", "\n \n", "short\n", f"{SECRET}\nshort"])
def test_short_secret_is_rejected_and_not_shown(tmp_path: Path, content: str) -> None:
    file = tmp_path / "file-name"
    file.write_text(content)
    with pytest.raises(SettingsError, match="token_hex") as caught:
        ring_from_settings(Settings(secret_file=str(file)))
    assert SECRET not in str(caught.value)


def test_missing_secret_file_error_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.txt cannot be read"):
        ring_from_settings(Settings(secret_file=str(tmp_path / "nowhere.txt")))


def test_repr_of_settings_hides_secrets() -> None:
    assert SECRET not in repr(Settings(secret=(SECRET,)))


def test_secret_and_secret_file_together_are_an_error() -> None:
    with pytest.raises(SettingsError, match="secret_file"):
        Settings(secret=(SECRET,), secret_file="file")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "rooms.example.com"])
def test_server_on_public_address_requires_a_secret(host: str, tmp_path: Path) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    with pytest.raises(SettingsError, match="STREAMLIT_CRDT_SECRET"):
        standalone_ring(Settings(host=host), environ=environ)
    assert not list(tmp_path.iterdir())
    assert standalone_ring(Settings(host=host, secret=(SECRET,)), environ=environ).keys


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_loopback_server_creates_private_key_file_once(host: str, tmp_path: Path) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    first = standalone_ring(Settings(host=host), environ=environ)
    path = key_file(environ)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert standalone_ring(Settings(host=host), environ=environ) == first == user_ring(environ=environ)
    assert os.listdir(path.parent) == ["key"]


def test_key_file_readable_by_other_users_is_rejected(tmp_path: Path) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    user_ring(environ=environ)
    key_file(environ).chmod(0o644)
    with pytest.raises(SettingsError, match="delete it"):
        user_ring(environ=environ)


def test_uncreatable_key_file_error_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "streamlit-crdt").write_text("a file where a folder should be")
    with pytest.raises(SettingsError, match="STREAMLIT_CRDT_SECRET"):
        user_ring(environ={"XDG_CONFIG_HOME": str(tmp_path)})


def test_concurrent_creation_of_key_file_gives_one_key(tmp_path: Path) -> None:
    rings: list[KeyRing] = []
    barrier = threading.Barrier(8)

    def read_key() -> None:
        barrier.wait()
        rings.append(user_ring(environ={"XDG_CONFIG_HOME": str(tmp_path)}))

    threads = [threading.Thread(target=read_key) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(rings) == 8
    assert all(ring == rings[0] for ring in rings)


def test_key_of_cookie_secret_differs_from_key_of_secret() -> None:
    assert derive_ring(SECRET) == derive_ring(SECRET)
    assert derive_ring(SECRET).current != KeyRing.from_secret(SECRET).current


@pytest.mark.parametrize("cookie_secret", ["", "   ", "None", "changeme", " " * 40])
def test_A2_guessable_cookie_secret_is_rejected(cookie_secret: str) -> None:
    with pytest.raises(SettingsError, match="token_hex"):
        derive_ring(cookie_secret)


def test_process_ring_returns_the_same_key() -> None:
    assert process_ring() is process_ring()


def test_hub_that_requires_tokens_requires_keys() -> None:
    with pytest.raises(SettingsError, match="require_token=False"):
        Hub(Settings())
    assert Hub(Settings(), keys=process_ring()).keys is process_ring()
    assert Hub().settings.require_token is False
