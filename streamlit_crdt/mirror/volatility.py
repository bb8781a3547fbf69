"""Keys that get a new value on each run, by which sessions would wake each other for ever (P4)."""

from __future__ import annotations

from typing import Final

from streamlit_crdt.mirror.memory import Memory

VOLATILE_AFTER_ROUNDS: Final = 3
"""So many remote runs in a row that overwrite what they were sent make a key volatile (P4)."""


class Volatility:
    """Counts, for each key, the remote runs in a row that overwrote what they were sent."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._overwritten_now: set[str] = set()
        self._churn: dict[str, int] = {}
        self._volatile: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self._volatile

    def begin_run(self) -> None:
        self._overwritten_now = set()

    def end_remote_run(self) -> None:
        """Begin anew to count for each key that kept what it was sent."""
        for key in self._memory.written_now - self._overwritten_now:
            self._churn.pop(key, None)

    def start_over(self) -> None:
        self._churn.clear()

    def is_damped(self, key: str, *, remote: bool) -> bool:
        """Say whether an edit of `key` stays here; call once for each edit, which is counted."""
        if not remote or key not in self._memory.written_now or key in self._overwritten_now:
            return key in self._volatile and remote
        self._overwritten_now.add(key)
        self._churn[key] = self._churn.get(key, 0) + 1
        if self._churn[key] >= VOLATILE_AFTER_ROUNDS and key not in self._volatile:
            self._volatile.add(key)
            self._memory.warn(
                key,
                "volatile",
                f"st.session_state[{key!r}] gets a new value on each run, so sessions would wake each other for ever; "
                f"it is now shared only when somebody acts. Make it private: crdt_sync(..., private=[{key!r}]).",
            )
        return key in self._volatile
