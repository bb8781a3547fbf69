"""Texts that drafts began with.

A draft stays in its text field when a remote text is written into the widget. A later commit of the draft was made from
an older text than the last one. As an edit of the last text it would undo remote edits. The tab reports the widget of
each open draft, and the digest of the text that the draft began with. The session finds the text by its digest.

The browser sends a commit a moment after the user makes it. A text that arrives in that moment replaces the commit in
the widget. The tab then reports the commit again. The session compares it with the commits that it has received.
"""

from __future__ import annotations

import functools
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

MAX_TEXTS: Final = 16
"""Number of texts kept for each widget. A draft on an older text merges as an edit of the last text."""

MAX_COMMITS: Final = 16
"""Number of commits kept for each widget. The tab repeats its newest commit only, for a few seconds."""

_DIGEST_CHARS = 16


@dataclass(slots=True)
class WidgetTexts:
    """Texts of one widget.

    Attributes:
        shown: texts that it showed since the last local edit, the newest last.
        shown_before: texts that it showed before that edit.
        commits: digests of the commits that have arrived.
        base: the text that the open draft began with.
        ended_draft: number of the last draft that was committed. The tab reports it for a moment longer.
    """

    shown: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_TEXTS))
    shown_before: deque[str] = field(default_factory=deque)
    commits: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_COMMITS))
    base: str | None = None
    ended_draft: int | None = None

    def all_shown(self) -> list[str]:
        shown = [*self.shown_before, *self.shown]
        return shown if self.base is None else [*shown, self.base]


class TextDrafts:
    """The texts of each widget, by key.

    Several keys may have the same class name. A digest then identifies the key, if only one of them showed that text.

    Attributes:
        texts: the texts of each key that has had one.
    """

    def __init__(self) -> None:
        self.texts: dict[str, WidgetTexts] = {}
        self._open: Mapping[str, tuple[str, int]] = {}

    def note_shown(self, key: str, text: str) -> None:
        shown = self._get(key).shown
        if not shown or shown[-1] != text:
            shown.append(text)

    def note_open(self, drafts: Mapping[str, tuple[str, int]]) -> None:
        """Set the open drafts of the page. Their texts are kept, however many texts follow.

        Args:
            drafts: digest of the text and number of the draft, by class name of the widget.
        """
        self._open = drafts
        former = {key: texts.base for key, texts in self.texts.items()}
        for texts in self.texts.values():
            texts.base = None
        for name, (digest, number) in drafts.items():
            found = {
                key: text
                for key in self._keys_of(name)
                for text in [*self.texts[key].shown, former[key]]
                if text is not None and digest_of(text) == digest
            }
            for key, text in found.items() if len(found) == 1 else ():
                if self.texts[key].ended_draft != number:
                    self.texts[key].base = text

    def note_edit(self, key: str, value: Any) -> None:
        """Record a local edit. A later draft begins with this text or with one that follows."""
        if type(value) is str:
            self.note_commit(key, value)
        texts = self._get(key)
        texts.shown_before, texts.shown = texts.shown, deque(maxlen=MAX_TEXTS)
        texts.base = None
        if (draft := self._open.get(class_of(key))) is not None:
            texts.ended_draft = draft[1]

    def note_commit(self, key: str, text: str) -> None:
        """Record a commit that has arrived. It may be older than the open draft."""
        self._get(key).commits.append(digest_of(text))

    def base(self, key: str) -> str | None:
        """Return the text that the widget's draft began with; None if the tab reported no known text."""
        texts = self.texts.get(key)
        return None if texts is None else texts.base

    def find_lost(self, name: str, text: str, base_digest: str) -> tuple[str, str] | None:
        """Return key and base text of a commit that the tab repeats; None if the commit has arrived.

        Args:
            name: class name of the widget.
            text: the committed text.
            base_digest: digest of the text that the draft began with.
        """
        bases = {
            key: shown
            for key in self._keys_of(name)
            for shown in self.texts[key].all_shown()
            if digest_of(shown) == base_digest
        }
        if len(bases) != 1:
            return None
        ((key, base),) = bases.items()
        texts = self.texts[key]
        arrived = {*texts.commits, *map(digest_of, texts.all_shown())}
        return None if digest_of(text) in arrived else (key, base)

    def start_over(self) -> None:
        self.texts.clear()

    def _get(self, key: str) -> WidgetTexts:
        if key not in self.texts:
            self.texts[key] = WidgetTexts()
        return self.texts[key]

    def _keys_of(self, name: str) -> list[str]:
        return [key for key, texts in self.texts.items() if texts.shown and class_of(key) == name]


@functools.lru_cache(maxsize=4096)
def class_of(key: str) -> str:
    """Return the class name that Streamlit gives to the element of a key, without its prefix "st-key-"."""
    return re.sub(r"[^a-zA-Z0-9_-]", "-", key.strip())


def digest_of(text: str) -> str:
    """Return the digest of a text, as the tab computes it. Line ends are normalized, as in a browser's text field."""
    lines = text.replace("\r\n", "\n").encode("utf-8", "surrogatepass")
    return sha256(lines).hexdigest()[:_DIGEST_CHARS]
