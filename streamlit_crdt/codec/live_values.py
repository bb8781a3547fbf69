"""The mark of containers that write their changes through to a room. They are stored and compared as plain values."""

from __future__ import annotations

from typing import Any


class LiveValue:
    """Mixin of subclasses of dict, list and set. `plain` returns a copy that is no live value at any level."""

    __slots__ = ()

    def plain(self) -> Any:
        """Return a deep copy of plain types."""
        return plain(self)


def plain(value: Any) -> Any:
    """Return a live value as a copy of plain types, and any other value itself."""
    if not isinstance(value, LiveValue):
        return value
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return set(value) if isinstance(value, set) else value
