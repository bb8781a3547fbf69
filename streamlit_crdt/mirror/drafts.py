"""Which text a draft was begun on.

What somebody is typing stays when a remote text is written into the widget, so what is committed later is made of an
older text than the one shown last. Taken for an edit of the latter it would undo what the others wrote. The tab names
for each open draft its widget, and by digest the text that it was begun on; here is remembered which texts were shown.

A page sends a commit a moment after it is made, and a text that comes within that moment is put over it. The tab then
repeats the commit; here is remembered which ones have come.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

MAX_TEXTS: Final = 16
"""So many texts are remembered for each widget. The page names a draft with its next frame, and its text is kept."""

MAX_COMMITS: Final = 16
"""So many commits are remembered for each widget. The tab repeats one for a few seconds, and its newest only."""

_DIGEST_CHARS = 16


class Drafts:
    """The texts that each widget was shown since its person's last edit, the newest last, and before it."""

    def __init__(self) -> None:
        self._open: Mapping[str, str] = {}
        self._shown: dict[str, deque[str]] = {}
        self._shown_before: dict[str, deque[str]] = {}
        self._commits: dict[str, deque[str]] = {}
        self._spent: dict[str, str] = {}
        self._begun_on: dict[str, str] = {}

    def note_shown(self, key: str, value: Any) -> None:
        if type(value) is not str:
            return
        texts = self._shown.setdefault(key, deque(maxlen=MAX_TEXTS))
        if not texts or texts[-1] != value:
            texts.append(value)

    def note_open(self, drafts: Mapping[str, str]) -> None:
        """Learn on which texts the page's open drafts were begun, and keep those: the others go on writing.

        Args:
            drafts: the digest of the text, by the class name of the widget.
        """
        self._open = drafts
        self._spent = {
            key: digest for key, digest in self._spent.items() if drafts.get(class_of(key)) == digest
        }
        if drafts or self._begun_on:
            self._begun_on = {key: text for key in self._shown if (text := self._named(key)) is not None}

    def committed(self, key: str, value: Any) -> None:
        """Set aside what was shown before its person's own edit: a later draft is made of that or of what follows."""
        if type(value) is str:
            self._commits.setdefault(key, deque(maxlen=MAX_COMMITS)).append(digest_of(value))
        self._shown_before[key] = self._shown.pop(key, deque())
        self._begun_on.pop(key, None)
        if (digest := self._open.get(class_of(key))) is not None:
            self._spent[key] = digest  # the tab names it for a moment longer

    def base(self, key: str) -> str | None:
        """Return the text that the draft of this widget was begun on; None if the page has named none of them."""
        return self._begun_on.get(key)

    def begun_on(self, key: str, text: str, base: str) -> str | None:
        """Return the text that a commit was begun on which the tab repeats; None if it has come, or that is not known.

        Args:
            text: what was committed.
            base: digest of what it was begun on.
        """
        shown = [*self._shown.get(key, ()), *self._shown_before.get(key, ())]
        if key in self._begun_on:
            shown.append(self._begun_on[key])
        if digest_of(text) in {*self._commits.get(key, ()), *map(digest_of, shown)}:
            return None
        return next((one for one in shown if digest_of(one) == base), None)

    def start_over(self) -> None:
        for known in (self._shown, self._shown_before, self._commits, self._spent, self._begun_on):
            known.clear()

    def _named(self, key: str) -> str | None:
        """Return the text that the page names for this widget, if it was shown."""
        digest = self._open.get(class_of(key))
        if digest is None or digest == self._spent.get(key):
            return None
        candidates = [self._begun_on[key]] if key in self._begun_on else []
        candidates += reversed(self._shown[key])
        return next((text for text in candidates if digest_of(text) == digest), None)


def class_of(key: str) -> str:
    """Return the class name that Streamlit gives to the element of a key, without its prefix "st-key-"."""
    return re.sub(r"[^a-zA-Z0-9_-]", "-", key.strip())


def digest_of(text: str) -> str:
    """Return the digest by which the tab names a text: a browser's text fields know one kind of line end only."""
    lines = text.replace("\r\n", "\n").encode("utf-8", "surrogatepass")
    return sha256(lines).hexdigest()[:_DIGEST_CHARS]
