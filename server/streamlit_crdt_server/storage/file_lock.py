"""That one process owns a file: a second one would append to logs that the first believes to know.

The lease is an operating system's lock on a file of its own beside the owned one. It is held for as long as
its owner lives and is gone with it, also after kill -9, so that no timeout has to guess whether somebody is
still there. The file stays when the lease is released: removing it would race with the next owner's lock.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from streamlit_crdt_server.errors import StoreBusyError

if sys.platform == "win32":
    import msvcrt

    _BEYOND_THE_TEXT = 1 << 20
    """Windows' locks forbid others to read what they cover; the owner's name must be readable."""

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, _BEYOND_THE_TEXT, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        # flock, not lockf: two stores of one process exclude each other too, and a closed copy releases nothing.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class FileLock:
    """The right to use a file, from its making until `release()`."""

    def __init__(self, owned: Path) -> None:
        """Take the lease of `owned`, whether or not that file exists.

        Raises:
            StoreBusyError: Somebody has it; the error names the process.
            OSError: The lease's own file cannot be made or locked.
        """
        path = Path(f"{owned}-lease")
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(self._descriptor)
            os.ftruncate(self._descriptor, 0)
            os.write(self._descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        except (BlockingIOError, PermissionError) as error:
            self.release()
            owner = path.read_text("utf-8", "replace").strip() or "another process"
            raise StoreBusyError(str(owned), f"{owner} uses it") from error
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Give it up. Must not be called again."""
        os.close(self._descriptor)
