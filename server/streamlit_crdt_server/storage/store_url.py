"""Which store a text names: what `Settings.store` holds, and what people write on a command line."""

from __future__ import annotations

from streamlit_crdt_server.errors import SettingsError
from streamlit_crdt_server.storage.sqlite_store import SQLiteStore
from streamlit_crdt_server.storage.store import MemoryStore, Store

MEMORY = "memory"
_SQLITE = "sqlite:///"


def open_store(text: str | None) -> Store:
    """Return the store that `text` names, to be entered: a file's path, `sqlite:///path`, or `memory` or None.

    Raises:
        SettingsError: It names another kind of store, or none.
    """
    path = store_path(text)
    return MemoryStore() if path is None else SQLiteStore(path)


def store_path(text: str | None) -> str | None:
    """Return the path of the file that `text` names; None if it names no file. Raises SettingsError."""
    if text is None or text == MEMORY:
        return None
    path = text.removeprefix(_SQLITE)
    if "://" in path or not path.strip() or path.endswith(("/", "\\")) or "\0" in path:
        raise SettingsError(
            f"store={text!r} names no file: write a path such as rooms.db, sqlite:///rooms.db, or {MEMORY}"
        )
    return path
