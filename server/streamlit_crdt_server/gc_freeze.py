"""Taking what is loaded at start out of the garbage collector's sight.

Streamlit 1.67 calls `gc.collect(2)` after every script run and holds the GIL meanwhile: 40 to 80 ms with
pandas and pyarrow imported, which delays every other session and every socket of the process. Modules and
classes never become garbage, so nothing is gained by looking at them again. With them frozen the time from an
edit in one tab to its being shown in another fell from 250 to 105 ms.
"""

from __future__ import annotations

import gc
import threading

MAX_FREEZES = 3
"""What is frozen is never collected, cycles that become garbage later included, so this must not go on for
ever: once when the server starts, once after the first script run has imported its libraries, and one to
spare."""

_lock = threading.Lock()
_freezes_left = MAX_FREEZES


def freeze_collector() -> bool:
    """Collect what is garbage now and freeze the rest; the first three calls in a process do so.

    Returns:
        Whether this call did it. Any thread; holds the GIL for as long as a full collection takes.
    """
    global _freezes_left
    with _lock:
        if _freezes_left == 0:
            return False
        _freezes_left -= 1
    gc.collect()
    gc.freeze()
    return True
