"""Which text a draft was begun on.

What somebody is typing stays when a remote text is written into the widget, so what is committed later is made of an
older text than the one shown last. Taken for an edit of the latter it would undo what the others wrote. The tab names
for each open draft its widget, and by digest the text that it was begun on; here is remembered which texts were shown.

A page sends a commit a moment after it is made, and a text that comes within that moment is put over it. The tab then
repeats the commit; here is remembered which ones have come.
"""

from __future__ import annotations

import functools
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


class TextDrafts:
    """The texts that each widget was shown since its person's last edit, the newest last, and before it.

    A class name can stand for several keys. Then a digest says whose draft it is, if only one of them has shown that.
    """

    def __init__(self) -> None:
        self._open: Mapping[str, tuple[str, int]] = {}
        self._shown: dict[str, deque[str]] = {}
        self._shown_before: dict[str, deque[str]] = {}
        self._commits: dict[str, deque[str]] = {}
        self._spent: dict[str, int] = {}
        self._begun_on: dict[str, str] = {}

    def note_shown(self, key: str, value: Any) -> None:
        if type(value) is not str:
            return
        texts = self._shown.setdefault(key, deque(maxlen=MAX_TEXTS))
        if not texts or texts[-1] != value:
            texts.append(value)

    def note_open(self, drafts: Mapping[str, tuple[str, int]]) -> None:
        """Learn on which texts the page's open drafts were begun, and keep those: the others go on writing.

        Args:
            drafts: digest of the text and number of the draft, by the class name of the widget.
        """
        self._open = drafts
        former, self._begun_on = self._begun_on, {}
        for name, (digest, number) in drafts.items():
            found = {
                key: text
                for key in self._keys_of(name)
                for text in [*self._shown[key], former.get(key)]
                if text is not None and digest_of(text) == digest
            }
            for key, text in found.items() if len(found) == 1 else ():
                if self._spent.get(key) != number:
                    self._begun_on[key] = text

    def committed(self, key: str, value: Any) -> None:
        """Set aside what was shown before its person's own edit: a later draft is made of that or of what follows."""
        if type(value) is str:
            self.recommitted(key, value)
        self._shown_before[key] = self._shown.pop(key, deque())
        self._begun_on.pop(key, None)
        if (named := self._open.get(class_of(key))) is not None:
            self._spent[key] = named[1]  # the tab names it for a moment longer

    def recommitted(self, key: str, text: str) -> None:
        """Note that a commit has come, which may be an earlier one than the draft that is open now."""
        self._commits.setdefault(key, deque(maxlen=MAX_COMMITS)).append(digest_of(text))

    def base(self, key: str) -> str | None:
        """Return the text that the draft of this widget was begun on; None if the page has named none of them."""
        return self._begun_on.get(key)

    def lost(self, name: str, text: str, base: str) -> tuple[str, str] | None:
        """Return of which key a commit is that the tab repeats, and the text it was begun on; None if it has come.

        Args:
            name: class name of the widget.
            text: what was committed.
            base: digest of what it was begun on.
        """
        bases = {
            key: shown
            for key in self._keys_of(name)
            for shown in self._all_shown(key)
            if digest_of(shown) == base
        }
        if len(bases) != 1:
            return None
        ((key, begun_on),) = bases.items()
        has_come = {*self._commits.get(key, ()), *map(digest_of, self._all_shown(key))}
        return None if digest_of(text) in has_come else (key, begun_on)

    def start_over(self) -> None:
        for known in (self._shown, self._shown_before, self._commits, self._spent, self._begun_on):
            known.clear()

    def _keys_of(self, name: str) -> list[str]:
        return [key for key in self._shown if class_of(key) == name]

    def _all_shown(self, key: str) -> list[str]:
        begun_on = self._begun_on.get(key)
        shown = [*self._shown_before.get(key, ()), *self._shown[key]]
        return shown if begun_on is None else [*shown, begun_on]


@functools.lru_cache(maxsize=4096)
def class_of(key: str) -> str:
    """Return the class name that Streamlit gives to the element of a key, without its prefix "st-key-"."""
    return re.sub(r"[^a-zA-Z0-9_-]", "-", key.strip())


def digest_of(text: str) -> str:
    """Return the digest by which the tab names a text: a browser's text fields know one kind of line end only."""
    lines = text.replace("\r\n", "\n").encode("utf-8", "surrogatepass")
    return sha256(lines).hexdigest()[:_DIGEST_CHARS]
