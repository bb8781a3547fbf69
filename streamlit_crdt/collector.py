"""Freeze Python's garbage collector once the app has started.

Streamlit calls `gc.collect(2)` after every script run and holds the GIL meanwhile: 40 to 80 ms with pandas and pyarrow
imported, in which neither this session's page nor any other session nor a socket of the process moves. What is
alive once the first runs have imported everything lives as long as the process; `gc.freeze()` takes it out of the
collector's sight and the pause shrinks to almost nothing, for the whole app.

Switched off by `crdt_app(freeze_gc=False)` or STREAMLIT_CRDT_FREEZE_GC=0.
"""

from __future__ import annotations

import sys
from typing import Final

from streamlit_crdt_server import freeze_collector

MAX_FREEZES: Final = 3
"""A freeze also keeps garbage that exists at that moment, so it is done few times."""

NEW_MODULES: Final = 50
"""So many modules imported since the last freeze are worth another."""


class _Collector:
    def __init__(self) -> None:
        self.enabled = False
        self.freezes = 0
        self.modules = 0

    def run_ended(self) -> None:
        if not self.enabled or self.freezes >= MAX_FREEZES:
            return
        modules = len(sys.modules)
        if modules - self.modules >= NEW_MODULES:
            self.modules = modules
            self.freezes += 1
            freeze_collector()


_collector: Final = _Collector()


def freeze_after_first_run() -> None:
    """Freeze at the end of the next script run, and again if later runs import much more."""
    _collector.enabled = True


def run_ended() -> None:
    _collector.run_ended()
