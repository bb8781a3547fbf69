"""How far a log has come, written down beside it, so that a log which lost its end is noticed.

SQLite takes a damaged or shortened write-ahead log for one whose last transactions were never finished, and
leaves them out without a word. The mark is written after each commit, so it is never ahead of a log that is
whole. It is not synced: it outlives the process, and after a power cut it may lag, which costs sharpness and
never raises a false alarm.
"""

from __future__ import annotations

import logging
import os
import zlib
from pathlib import Path

_log = logging.getLogger(__name__)


class HighWaterMark:
    """A number in a file of its own, which only grows; the file is open until `close()`."""

    def __init__(self, marked: Path) -> None:
        self.path = Path(f"{marked}-mark")
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)

    def read(self) -> int:
        """Return the number; 0 if there is none, or none that can be trusted."""
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        text = os.read(self._descriptor, 100)
        number, _, checksum = text.partition(b" ")
        if text == b"":
            return 0
        if number.isdigit() and checksum.strip() == _checksum(number):
            return int(number)
        _log.warning("%s is damaged: whether the store lost its end cannot be told this time", self.path)
        return 0

    def write(self, number: int) -> None:
        """Put `number` down. That it fails is reported and harmless: what it marks is saved."""
        text = f"{number:020d}".encode()
        try:
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.write(self._descriptor, text + b" " + _checksum(text) + b"\n")
        except OSError as error:
            _log.warning("%s cannot be written: %s", self.path, error)

    def close(self) -> None:
        os.close(self._descriptor)


def _checksum(number: bytes) -> bytes:
    return f"{zlib.crc32(number):08x}".encode()
