"""Freeze of the garbage collector after startup.

Streamlit 1.67 calls `gc.collect(2)` after every script run and holds the GIL meanwhile: 40 to 80 ms with pandas and
pyarrow imported, which delays every other session and every socket of the process. Modules and classes never become
garbage. With them frozen, the time from an edit in one tab to its display in another fell from 250 to 105 ms.
"""

from __future__ import annotations

import gc
import sys
import threading
from typing import Final

MAX_FREEZES: Final = 3
"""Freezes per process. Frozen objects are never collected, so the number is small: one when the server starts, one
after the first script run has imported its libraries, one to spare."""

NEW_MODULES: Final = 50
"""Modules imported since the last freeze that make another one worthwhile."""


class _Freezer:
    def __init__(self) -> None:
        self.freezes_left = MAX_FREEZES
        self.is_enabled_after_runs = False
        self._lock = threading.Lock()
        self._modules = 0

    def freeze(self) -> bool:
        with self._lock:
            if self.freezes_left == 0:
                return False
            self.freezes_left -= 1
        gc.collect()
        gc.freeze()
        return True

    def freeze_after_imports(self) -> bool:
        is_enabled, modules = self.is_enabled_after_runs, len(sys.modules)
        if is_enabled and self.freezes_left and modules - self._modules >= NEW_MODULES:
            self._modules = modules
            self.freeze()
        return is_enabled


_freezer: Final = _Freezer()


def freeze_collector() -> bool:
    """Collect the current garbage and freeze all other objects, at most `MAX_FREEZES` times per process.

    Any thread may call this. It holds the GIL for the time of one full collection.

    Returns:
        Whether this call froze objects.
    """
    return _freezer.freeze()


def enable_freeze_after_runs() -> None:
    """Make `freeze_after_run` freeze after the next script run, and again if later runs import many modules."""
    _freezer.is_enabled_after_runs = True


def freeze_after_run() -> bool:
    """Freeze if `NEW_MODULES` modules were imported since the last freeze. Call it at the end of a script run.

    Returns:
        Whether this is enabled. If so, the next call is due after further imports only.
    """
    return _freezer.freeze_after_imports()
