"""Sequence number of the last commit, in a file beside the store, to detect a log that lost its end.

SQLite treats a damaged or shortened write-ahead log as one with unfinished last transactions, and skips them
silently. The mark is written after each commit, so that it is never ahead of a complete log. It is not synced: it
survives the process, and may lag after a power failure. Then it detects less, and never raises a false alarm.
"""

from __future__ import annotations

import logging
import os
import zlib
from pathlib import Path

_log = logging.getLogger(__name__)


class HighWaterMark:
    """An increasing number in its own file, which is open until `close()`."""

    def __init__(self, store_file: Path) -> None:
        self.path = Path(f"{store_file}-mark")
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)

    def read(self) -> int:
        """Return the number, or 0 if there is none or its checksum is wrong."""
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        text = os.read(self._descriptor, 100)
        number, _, checksum = text.partition(b" ")
        if text == b"":
            return 0
        if number.isdigit() and checksum.strip() == _checksum(number):
            return int(number)
        _log.warning("%s is damaged: a lost end of the store cannot be detected this time", self.path)
        return 0

    def write(self, number: int) -> None:
        """Write `number`. A failure is only logged, because the commit that it marks is saved."""
        text = f"{number:020d}".encode()
        try:
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.write(self._descriptor, text + b" " + _checksum(text) + b"\n")
        except OSError as error:
            _log.warning("%s could not be written: %s", self.path, error)

    def close(self) -> None:
        os.close(self._descriptor)


def _checksum(number: bytes) -> bytes:
    return f"{zlib.crc32(number):08x}".encode()
