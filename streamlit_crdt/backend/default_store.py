"""Default store of an app without a configured store: the file `rooms.db` beside its script."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Final

from streamlit_crdt_server import StoreBusyError, StoreCorruptError, StoreError
from streamlit_crdt_server.storage.file_lock import FileLock
from streamlit_crdt_server.storage.store_url import store_path

DEFAULT_FILE: Final = "rooms.db"

VARIABLE: Final = "STREAMLIT_CRDT_STORE"

UNLOCK_TIMEOUT_S: Final = 3.0
"""Time in seconds that the former process of a restarted app has to end. Then the file counts as in use."""

_UNLOCK_POLL_S: Final = 0.1
"""Interval in seconds of the check. No operating system reports the release of a file lock."""

_log = logging.getLogger("streamlit_crdt")


def is_store_configured() -> bool:
    """Return whether the environment names a store. "" and "memory" name a store in memory."""
    return VARIABLE in os.environ


def resolve_store(script_folder: Path | None) -> str | None:
    """Return the store of the environment, else the default file. None: rooms are kept in memory.

    The default file is beside the script and not in the working directory: an app finds its rooms wherever it is
    started.
    """
    if is_store_configured():
        return os.environ[VARIABLE].strip() or None
    return None if script_folder is None else str(script_folder / DEFAULT_FILE)


def check_unlocked(store: str | None) -> None:
    """Check that no other process has locked the store's file, before a start would fail with a traceback.

    Raises:
        StoreBusyError: another process has locked the file. The error names the process.
    """
    path = store_path(store)
    if path is None:
        return
    try:
        FileLock(Path(path).resolve()).release()
    except StoreBusyError:
        raise
    except OSError as error:
        _log.debug("the lock of %s cannot be checked: %s", path, error)  # opening the store reports the error


def wait_until_unlocked(store: str | None, *, timeout_s: float = UNLOCK_TIMEOUT_S) -> bool:
    """Wait until no other process has locked the store's file. Return whether it is unlocked."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            check_unlocked(store)
        except StoreBusyError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_UNLOCK_POLL_S)
        else:
            return True


def allows_memory_fallback(error: StoreError, store: str | None) -> bool:
    """Return whether an embedded server may keep its rooms in memory after its store failed to open.

    A configured store never allows it: its author expects the file. The default file allows it in two cases. Another
    process has locked the file: the app is running twice, as is usual during development. The file does not exist and
    was not lost: no rooms are hidden. In every other case the rooms of the file would seem to be empty (rule S4).
    """
    if store is None or is_store_configured():
        return False
    is_lost = isinstance(error, StoreCorruptError)
    return isinstance(error, StoreBusyError) or not (is_lost or Path(store).exists())
