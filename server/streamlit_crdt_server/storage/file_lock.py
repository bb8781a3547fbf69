"""Lock that gives a store file one owner. A second process would append to logs that the first one has in memory.

The lock is an operating system lock on a separate file beside the store. It ends with its process, also after
kill -9, so that no timeout is needed. The lock file stays after the release: removing it would race with the lock of
the next owner.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from streamlit_crdt_server.errors import StoreBusyError

if sys.platform == "win32":
    import msvcrt

    _LOCK_OFFSET = 1 << 20
    """Byte position of the lock. Windows lets no other process read a locked range, and the owner's name at the start
    of the file must stay readable."""

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, _LOCK_OFFSET, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        # flock instead of lockf: it also excludes a second store in this process, and closing a copy releases nothing.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class FileLock:
    """Exclusive ownership of a file, from construction until `release()`."""

    def __init__(self, locked_file: Path) -> None:
        """Lock `locked_file`, which need not exist.

        Raises:
            StoreBusyError: Another store owns it; the error names the process.
            OSError: The lock file cannot be created or locked.
        """
        path = Path(f"{locked_file}-lease")
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(self._descriptor)
            os.ftruncate(self._descriptor, 0)
            os.write(self._descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        except (BlockingIOError, PermissionError) as error:
            self.release()
            owner = path.read_text("utf-8", "replace").strip() or "another process"
            raise StoreBusyError(str(locked_file), f"{owner} uses it") from error
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Release the lock. Must be called once only."""
        os.close(self._descriptor)
