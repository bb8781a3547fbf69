"""Sources of the keys that sign tokens.

The defaults are safe without configuration. An app with its own room server generates or derives a key. Only a
stand-alone server that other machines can reach requires a secret before it starts.
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
"""Characters. A shorter secret could be guessed offline from a single token."""

_ADVICE = "generate one with: python -c 'import secrets; print(secrets.token_hex(32))'"


def check_keys(settings: Settings | None, keys: KeyRing | None) -> None:
    """Raise SettingsError if tokens are required and there are no keys to verify them."""
    if settings is not None and settings.require_token and keys is None:
        raise SettingsError(
            "tokens are required, but there are no keys to verify them: pass keys=standalone_ring(settings), or "
            "require_token=False to admit every client that can reach the port"
        )


def ring_from_settings(settings: Settings) -> KeyRing | None:
    """Return the keys of `secret`, else of `secret_file`, or None if neither is set.

    Raises:
        SettingsError: A secret is too short, or the file cannot be read.
    """
    if settings.secret:
        return KeyRing.from_secret(*_checked(settings.secret, "secret"))
    if settings.secret_file is not None:
        return KeyRing.from_secret(*_checked(_read(Path(settings.secret_file)), settings.secret_file))
    return None


def standalone_ring(settings: Settings, *, environ: Mapping[str, str] | None = None) -> KeyRing:
    """Return the keys of a stand-alone server: those of the settings, or the key of this user's key file.

    The key file is only used on a loopback address. There, users who can read the file could read the rooms as well.

    Raises:
        SettingsError: Other machines can reach the server and no secret is set, or the secret cannot be used.
    """
    ring = ring_from_settings(settings)
    if ring is not None:
        return ring
    if not is_loopback(settings.host):
        raise SettingsError(
            f"host={settings.host!r} admits other machines, but no secret is set: set STREAMLIT_CRDT_SECRET or "
            f"--secret-file to the secret of your Streamlit app ({_ADVICE}), or listen on 127.0.0.1"
        )
    return user_ring(environ=environ)


def user_ring(*, environ: Mapping[str, str] | None = None) -> KeyRing:
    """Return the key of this user's key file. The file is created if necessary; apps and servers of a user share it.

    Raises:
        SettingsError: The file cannot be created or read, or other users can access it.
    """
    path = key_file(os.environ if environ is None else environ)
    try:
        if not path.exists():
            _create(path)
        _check_private(path)
        return KeyRing.from_secret(*_checked(_read(path), str(path)), label="key file")
    except OSError as error:
        raise SettingsError(
            f"key file {path} cannot be used ({error.strerror or error}): set STREAMLIT_CRDT_SECRET instead "
            f"({_ADVICE})"
        ) from error


def derive_ring(cookie_secret: str) -> KeyRing:
    """Return the key of an app with its own room server, derived from the secret of its cookies.

    Raises:
        SettingsError: The secret is missing or too short, so that the key could be guessed.
    """
    return KeyRing.from_secret(
        *_checked((cookie_secret.strip(),), "server.cookieSecret"), label="cookie secret"
    )


@cache
def process_ring() -> KeyRing:
    """Return the random key of this process. It is the same at each call."""
    return KeyRing.from_secret(secrets.token_hex(32), label="process")


def key_file(environ: Mapping[str, str]) -> Path:
    """Return the path of this user's key file: in `$XDG_CONFIG_HOME`, `%APPDATA%`, or `~/.config`."""
    variable = "APPDATA" if sys.platform == "win32" else "XDG_CONFIG_HOME"
    base = environ.get(variable)
    return (Path(base) if base else Path.home() / ".config") / "streamlit-crdt" / "key"


def _create(path: Path) -> None:
    """Create the key file atomically. If two processes do so at once, the first one wins."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".key")  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32) + "\n")
        os.link(draft, path)
        _log.info("created the key file %s", path)
    except FileExistsError:
        _log.debug("another process created %s first", path)
    finally:
        os.unlink(draft)


def _check_private(path: Path) -> None:
    if sys.platform == "win32":
        return  # the access control list of the folder protects the file there
    found = path.stat()
    if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise SettingsError(
            f"other users can read or replace the key file {path}: delete it, and a new one is created"
        )


def _read(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"secret file {path} cannot be read: {error}") from error
    return tuple(line.strip() for line in lines if line.strip())


def _checked(found: tuple[str, ...], where: str) -> tuple[str, ...]:
    """Return the secrets, or raise a SettingsError that does not contain them."""
    if not found:
        raise SettingsError(f"{where} contains no secret: {_ADVICE}")
    if min(map(len, found)) < MIN_SECRET_CHARS:
        raise SettingsError(f"a secret in {where} has fewer than {MIN_SECRET_CHARS} characters: {_ADVICE}")
    return found
