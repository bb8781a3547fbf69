"""In which file an app keeps its rooms, where nobody said so."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Final

from streamlit_crdt_server import StoreBusyError, StoreError
from streamlit_crdt_server.storage.file_lock import FileLock
from streamlit_crdt_server.storage.store_url import store_path

_log = logging.getLogger("streamlit_crdt")

DEFAULT_FILE: Final = "rooms.db"

VARIABLE: Final = "STREAMLIT_CRDT_STORE"

FREE_WITHIN_S: Final = 3.0
"""How long the one before may take to end, where an app is started anew."""

_LOOK_EVERY_S: Final = 0.1
"""No system tells when a lease is given up; it has to be looked for."""


def is_chosen() -> bool:
    """Say whether the environment names a store; empty, or "memory", is in memory."""
    return VARIABLE in os.environ


def store_beside(folder: Path | None) -> str | None:
    """Return the store that the environment names, else `rooms.db` in `folder`; None is in memory.

    Beside the script and not in the working directory: the same app finds the same rooms, however it is started.
    """
    if is_chosen():
        return os.environ[VARIABLE].strip() or None
    return None if folder is None else str(folder / DEFAULT_FILE)


def require_free(store: str | None) -> None:
    """Refuse a file that another process owns before anything is started, where it would be buried in a traceback.

    Raises:
        StoreBusyError: it names that process.
    """
    path = store_path(store)
    if path is None:
        return
    try:
        FileLock(Path(path).resolve()).release()
    except StoreBusyError:
        raise
    except OSError as error:
        _log.debug(
            "whether %s is free cannot be told: %s", path, error
        )  # the store says what is wrong with it


def wait_until_free(store: str | None, *, timeout_s: float = FREE_WITHIN_S) -> bool:
    """Wait until no other process owns the file; say whether that is so."""
    ends_at = time.monotonic() + timeout_s
    while True:
        try:
            require_free(store)
        except StoreBusyError:
            if time.monotonic() >= ends_at:
                return False
            time.sleep(_LOOK_EVERY_S)
        else:
            return True


def may_do_without(error: StoreError, store: str | None) -> bool:
    """Say whether an embedded server may keep its rooms in memory instead.

    Never where the store was chosen: who names a file wants it. Where another process serves the default file, the app
    is being run a second time, as one does while writing it; and where no file could be made, nothing is hidden by
    it. In all other cases the rooms that are in the file would seem to be empty (rule S4).
    """
    if store is None or is_chosen():
        return False
    return isinstance(error, StoreBusyError) or not Path(store).exists()
