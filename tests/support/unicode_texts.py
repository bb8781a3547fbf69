"""Random texts with characters of several bytes, UTF-16 units or code points."""

from __future__ import annotations

from random import Random
from typing import Final

WORDS: Final = (
    "word", " ", "\r\n", "\n", "é", "e\u0301", "ü̈", "👍", "👍🏽", "👩‍👩‍👧‍👦", "🇩🇪", "𝒳", "漢字", "नमस्ते",
    "مرحبا", "\u200d", "\ufeff",
    "\x00", "a", "aa", "ab",
)  # fmt: skip


def random_text(random: Random, words: int = 6) -> str:
    return "".join(random.choice(WORDS) for _ in range(random.randrange(words + 1)))


def with_word(before: str, word: str, random: Random, *, may_remove: bool = True) -> str:
    """Return `before` with `word` inserted at a random position, and possibly a part of it removed."""
    at = random.randrange(len(before) + 1)
    end = min(len(before), at + random.randrange(4)) if may_remove and random.random() < 0.3 else at
    return before[:at] + word + before[end:]
