"""Texts of participants, room names and error messages as Markdown that shows them literally.

Streamlit has no error box and no heading without Markdown. A backslash is not enough: Streamlit replaces links, icons
and arrows in the parsed text, where the backslashes are gone. An invisible character between their parts prevents it.
"""

from __future__ import annotations

import re
from typing import Final

_WORD_JOINER: Final = "\u2060"

_UNSAFE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters and lone surrogates, and characters that change the direction of the text around them."""

_REPLACED_AFTER_PARSING: Final = re.compile(r":(?=\S)|www(?=\.)|\S(?=@)|[<>~-](?=[>=-])", re.IGNORECASE)
"""First part of an icon, an address with or without a scheme, an email address and an arrow."""

_PUNCTUATION: Final = re.compile(r"([!-/:-@\[-`{-~])")


def printable(text: str) -> str:
    """Return `text` in one line, with U+FFFD in place of control characters and changes of direction."""
    return _UNSAFE.sub("\ufffd", text.replace("\r\n", " ").replace("\n", " "))


def escape(text: str) -> str:
    """Return Markdown that Streamlit shows as `printable(text)`."""
    joined = _REPLACED_AFTER_PARSING.sub(rf"\g<0>{_WORD_JOINER}", printable(text))
    return _PUNCTUATION.sub(r"\\\1", joined)
