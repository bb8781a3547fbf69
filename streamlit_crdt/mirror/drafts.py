"""Which text a draft was begun on.

What somebody is typing stays when a remote text is written into the widget, so what is committed later is made of an
older text than the one shown last. Taken for an edit of the latter it would undo what the others wrote. The tab names
for each open draft its widget, and by digest the text that it was begun on; here is remembered which texts were shown.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

MAX_TEXTS: Final = 16
"""So many texts are remembered for each widget; one that was begun on an older one counts as begun on the last."""

_DIGEST_CHARS = 16


class Drafts:
    """The texts that each widget was shown since its person's last edit, the newest last.

    Attributes:
        open: digest of the text that each draft in the page was begun on, by the class name of its widget.
    """

    def __init__(self) -> None:
        self.open: Mapping[str, str] = {}
        self._shown: dict[str, deque[str]] = {}
        self._spent: dict[str, str] = {}

    def note_shown(self, key: str, value: Any) -> None:
        if type(value) is not str:
            return
        texts = self._shown.setdefault(key, deque(maxlen=MAX_TEXTS))
        if not texts or texts[-1] != value:
            texts.append(value)

    def committed(self, key: str) -> None:
        """Forget what was shown before its person's own edit: a later draft is made of that or of what follows."""
        self._shown.pop(key, None)
        if (digest := self.open.get(class_of(key))) is not None:
            self._spent[key] = digest  # the tab names it for a moment longer

    def base(self, key: str) -> str | None:
        """Return the text that the draft of this widget was begun on, None if the page has named none of them."""
        digest = self.open.get(class_of(key))
        if digest is None or digest == self._spent.get(key):
            return None
        shown = reversed(self._shown.get(key, ()))
        return next((text for text in shown if digest_of(text) == digest), None)

    def start_over(self) -> None:
        self._shown.clear()
        self._spent.clear()


def class_of(key: str) -> str:
    """Return the class name that Streamlit gives to the element of a key, without its prefix "st-key-"."""
    return re.sub(r"[^a-zA-Z0-9_-]", "-", key.strip())


def digest_of(text: str) -> str:
    """Return the digest by which the tab names a text: a browser's text fields know one kind of line end only."""
    lines = text.replace("\r\n", "\n").encode("utf-8", "surrogatepass")
    return sha256(lines).hexdigest()[:_DIGEST_CHARS]
