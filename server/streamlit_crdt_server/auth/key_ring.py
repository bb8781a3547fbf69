"""Where the keys come from that tokens are signed with.

Nobody has to configure anything to be safe: an app that serves its own rooms makes or derives a key, and only a
server that other machines can reach, with nothing to derive one from, asks for a secret before it starts.
"""

from __future__ import annotations

import logging
import os
import secrets
import stat
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from streamlit_crdt_server.auth.tokens import KeyRing
from streamlit_crdt_server.errors import SettingsError
from streamlit_crdt_server.names import is_loopback
from streamlit_crdt_server.settings import Settings

_log = logging.getLogger(__name__)

MIN_SECRET_CHARS = 16
"""A shorter one could be guessed from a single token, without asking the server."""

_ADVICE = "make one with: python -c 'import secrets; print(secrets.token_hex(32))'"


def check_keys(settings: Settings | None, keys: KeyRing | None) -> None:
    """Raise SettingsError if tokens are required and could not be verified."""
    if settings is not None and settings.require_token and keys is None:
        raise SettingsError(
            "tokens are required and there are no keys to verify them with: pass keys=standalone_ring(settings), or "
            "require_token=False to let in everybody who can reach the port"
        )


def ring_from_settings(settings: Settings) -> KeyRing | None:
    """The keys that the settings name, `secret` before `secret_file`; None if they name none.

    Raises:
        SettingsError: A secret is too short, or the file cannot be read.
    """
    if settings.secret:
        return KeyRing.from_secret(*_checked(settings.secret, "secret"))
    if settings.secret_file is not None:
        return KeyRing.from_secret(*_checked(_read(Path(settings.secret_file)), settings.secret_file))
    return None


def standalone_ring(settings: Settings, *, environ: Mapping[str, str] | None = None) -> KeyRing:
    """The keys of a server in a process of its own: those that are set, else this user's key file.

    The file serves only a server that nobody but this machine can reach, where whoever can read the file could
    read the rooms as well.

    Raises:
        SettingsError: Other machines can reach the server and no secret is set; or one is set that cannot be used.
    """
    ring = ring_from_settings(settings)
    if ring is not None:
        return ring
    if not is_loopback(settings.host):
        raise SettingsError(
            f"host={settings.host!r} lets other machines in and no secret is set: set STREAMLIT_CRDT_SECRET or "
            f"--secret-file to the secret that your Streamlit app has too ({_ADVICE}), or listen on 127.0.0.1"
        )
    return user_ring(environ=environ)


def user_ring(*, environ: Mapping[str, str] | None = None) -> KeyRing:
    """The key in this user's key file, which is made at the first call; an app and a server here share it.

    Raises:
        SettingsError: The file cannot be made or read, or others than this user can read it.
    """
    path = key_file(os.environ if environ is None else environ)
    try:
        if not path.exists():
            _create(path)
        _check_private(path)
        return KeyRing.from_secret(*_checked(_read(path), str(path)), label="key file")
    except OSError as error:
        raise SettingsError(
            f"the key file {path} cannot be used ({error.strerror or error}): set STREAMLIT_CRDT_SECRET instead "
            f"({_ADVICE})"
        ) from error


def derive_ring(cookie_secret: str) -> KeyRing:
    """The key of an app that serves its own rooms, from the secret with which it signs its cookies.

    Raises:
        SettingsError: The secret is missing or too short: everybody could derive the same key.
    """
    return KeyRing.from_secret(
        *_checked((cookie_secret.strip(),), "server.cookieSecret"), label="cookie secret"
    )


@cache
def process_ring() -> KeyRing:
    """A key that only this process knows, and that ends with it; the same one at each call."""
    return KeyRing.from_secret(secrets.token_hex(32), label="process")


def key_file(environ: Mapping[str, str]) -> Path:
    """Where this user's key is kept: in `$XDG_CONFIG_HOME`, `%APPDATA%`, or `~/.config`."""
    variable = "APPDATA" if sys.platform == "win32" else "XDG_CONFIG_HOME"
    base = environ.get(variable)
    return (Path(base) if base else Path.home() / ".config") / "streamlit-crdt" / "key"


def _create(path: Path) -> None:
    """Write a new key so that it appears whole; of two who do so at once, one is first and both read its key."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".key")  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32) + "\n")
        os.link(draft, path)
        _log.info("made a key for tokens: %s", path)
    except FileExistsError:
        _log.debug("another process was faster to make %s", path)
    finally:
        os.unlink(draft)


def _check_private(path: Path) -> None:
    if sys.platform == "win32":
        return  # the folder's access list decides there
    found = path.stat()
    if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise SettingsError(
            f"others than you can read or replace the key file {path}: delete it, and a new one is made"
        )


def _read(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the secret file {path} cannot be read: {error}") from error
    return tuple(line.strip() for line in lines if line.strip())


def _checked(found: tuple[str, ...], where: str) -> tuple[str, ...]:
    """Return the secrets, or raise SettingsError, which does not show them."""
    if not found:
        raise SettingsError(f"{where} holds no secret: {_ADVICE}")
    if min(map(len, found)) < MIN_SECRET_CHARS:
        raise SettingsError(f"a secret in {where} has fewer than {MIN_SECRET_CHARS} characters: {_ADVICE}")
    return found
