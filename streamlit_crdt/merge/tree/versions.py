"""Entries of the values that scripts saw, so that the items of a value are known when it is edited later."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Final

from streamlit_crdt.codec.scalars import Stored

MAX_VERSIONS: Final = 8
"""Limit of the remembered versions of one value. An edit of an older one is matched with the present value."""

MAX_ENTRIES: Final = 200_000
"""Limit of the entries of all remembered versions of one value. The newest two are always kept."""

Content = Mapping[str, Stored]


class Versions:
    """Contents of one value, as read by a script or made by its edits. Not thread-safe."""

    def __init__(self) -> None:
        self._contents: deque[Content] = deque(maxlen=MAX_VERSIONS)

    def note(self, content: Content) -> None:
        """Remember a copy of a content."""
        if self._contents and self._contents[-1] == content:
            return
        self._contents.append(dict(content))
        while len(self._contents) > 2 and sum(map(len, self._contents)) > MAX_ENTRIES:
            self._contents.popleft()

    def __iter__(self) -> Iterator[Content]:
        """Yield the contents, the newest first."""
        return reversed(self._contents)
