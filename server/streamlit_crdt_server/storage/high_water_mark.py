"""Sequence number of the last commit, in two files beside the store, to detect a log that lost its end.

SQLite treats a damaged or shortened write-ahead log as one with unfinished last transactions, and skips them
silently. The mark is written after each commit, so that it is never ahead of a complete log. It names its store, so
that the files of two stores are not taken for one.

There are two copies, because a mark that is lost together with the end of the log could not detect it. They are synced
when they are created. Later writes are not: they survive the process, and may lag after a power failure. Then the mark
detects less, and never raises a false alarm.
"""

from __future__ import annotations

import logging
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

from streamlit_crdt_server.errors import StoreCorruptError

SUFFIXES = ("-mark", "-mark-copy")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Mark:
    """Sequence number of a commit, and id of its store: "" in a mark of format 1."""

    seq: int
    store_id: str


class HighWaterMark:
    """A mark in two files, which are created by the first `write` and open until `close()`."""

    def __init__(self, store_file: Path) -> None:
        self._store_file = store_file
        self._paths = [Path(f"{store_file}{suffix}") for suffix in SUFFIXES]
        self._descriptors: list[int] = []

    def read(self) -> Mark | None:
        """Return the newest intact copy. None if there is no copy, or if all copies are empty.

        Raises:
            StoreCorruptError: No copy is intact, and at least one is damaged. Or they belong to two stores.
            OSError: A copy cannot be read.
        """
        texts = [path.read_bytes() for path in self._paths if path.exists()]
        marks = [mark for text in texts if (mark := _parse(text)) is not None]
        if not marks:
            if any(texts):
                raise StoreCorruptError(
                    str(self._store_file), "both copies of its high-water mark are damaged"
                )
            return None
        if len({mark.store_id for mark in marks if mark.store_id}) > 1:
            raise StoreCorruptError(
                str(self._store_file), "the copies of its high-water mark belong to two stores"
            )
        return max(marks, key=lambda mark: mark.seq)

    def write(self, mark: Mark) -> None:
        """Write `mark`. A failure is only logged, because the commit that it marks is saved."""
        try:
            is_first = not self._descriptors
            for path in self._paths if is_first else ():
                self._descriptors.append(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            content = _encode(mark)
            for descriptor in self._descriptors:
                os.lseek(descriptor, 0, os.SEEK_SET)
                os.write(descriptor, content)
                if is_first:
                    os.ftruncate(descriptor, len(content))
                    os.fsync(descriptor)
        except OSError as error:
            _log.warning("the high-water mark of %s could not be written: %s", self._store_file, error)

    def close(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.pop())


def _encode(mark: Mark) -> bytes:
    text = f"{mark.seq:020d} {mark.store_id}".encode()
    return text + b" " + _checksum(text) + b"\n"


def _parse(text: bytes) -> Mark | None:
    """Return the mark of format 2 (`seq id checksum`) or 1 (`seq checksum`), or None if it is damaged."""
    content, _, checksum = text.rstrip(b"\n").rpartition(b" ")
    seq, _, store_id = content.partition(b" ")
    if not seq.isdigit() or checksum != _checksum(content):
        return None
    return Mark(int(seq), store_id.decode("ascii", "replace"))


def _checksum(text: bytes) -> bytes:
    return f"{zlib.crc32(text):08x}".encode()
