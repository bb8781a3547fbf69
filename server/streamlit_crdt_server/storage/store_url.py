"""Stores by URL or path, as in `Settings.store` and on the command line."""

from __future__ import annotations

from streamlit_crdt_server.errors import SettingsError
from streamlit_crdt_server.storage.sqlite_store import SQLiteStore
from streamlit_crdt_server.storage.store import MemoryStore, Store

MEMORY = "memory"
_SQLITE = "sqlite:///"


def open_store(text: str | None) -> Store:
    """Return the store of a path, of `sqlite:///path`, or of `memory` or None. It is not entered yet.

    Raises:
        SettingsError: `text` is none of these.
    """
    path = store_path(text)
    return MemoryStore() if path is None else SQLiteStore(path)


def store_path(text: str | None) -> str | None:
    """Return the path of the store file, or None for a store in memory.

    Raises:
        SettingsError: `text` is not a path, `sqlite:///path` or `memory`.
    """
    if text is None or text == MEMORY:
        return None
    path = text.removeprefix(_SQLITE)
    if "://" in path or not path.strip() or path.endswith(("/", "\\")) or "\0" in path:
        raise SettingsError(
            f"store={text!r} is not a store: use a path such as rooms.db, sqlite:///rooms.db, or {MEMORY}"
        )
    return path
