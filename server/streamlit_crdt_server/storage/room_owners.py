"""The creators of rooms, in a file beside the store, so that limits per user survive a restart.

Each line is a JSON list: a room and a digest of the user who created it, or null after the room was deleted. The file
is no part of the store: without it, rooms are complete but count for nobody.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

_log = logging.getLogger(__name__)

SUFFIX = "-owners"
_MODE = 0o600


def owner_of(user: str) -> str:
    """Return the digest of a user id. The file does not contain e-mail addresses."""
    return hashlib.blake2b(user.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class OwnerFile:
    """The file of one store. A failure is logged, and the creators are then known until the process ends."""

    def __init__(self, store: Path) -> None:
        self.path = store.with_name(store.name + SUFFIX)

    def load(self) -> dict[str, str]:
        """Return the owner of each room. A line that a crash has cut is ignored."""
        owners: dict[str, str] = {}
        lines = 0
        try:
            with open(self.path, encoding="utf-8", errors="replace") as file:
                for room, owner in _read(file):
                    lines += 1
                    owners.pop(room, None)
                    if owner is not None:
                        owners[room] = owner
        except FileNotFoundError:
            return {}
        except OSError as error:
            _log.warning("the creators of rooms cannot be read from %s: %s", self.path, error)
            return {}
        if lines > 2 * len(owners) + 100:
            self._replace(owners)
        return owners

    def append(self, room: str, owner: str | None) -> None:
        """Record a creation, or a deletion if `owner` is None."""
        self._write(self.path, os.O_APPEND, [(room, owner)])

    def _replace(self, owners: dict[str, str]) -> None:
        draft = self.path.with_name(self.path.name + "-new")
        if self._write(draft, os.O_TRUNC, list(owners.items())):
            os.replace(draft, self.path)

    def _write(
        self, path: Path, flag: int, records: list[tuple[str, str]] | list[tuple[str, str | None]]
    ) -> bool:
        # The line break comes first: a line that a crash has cut damages no other.
        text = "".join(f"\n{json.dumps(record)}" for record in records)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | flag, _MODE)
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            _log.warning("the creators of rooms cannot be written to %s: %s", path, error)
            return False
        return True


def _read(lines: Iterator[str]) -> Iterator[tuple[str, str | None]]:
    for line in lines:
        try:
            room, owner = json.loads(line)
        except (ValueError, TypeError, RecursionError):
            continue
        if isinstance(room, str) and (owner is None or isinstance(owner, str)):
            yield room, owner
