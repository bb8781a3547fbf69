"""`room.text(key)`."""

from __future__ import annotations

from typing import Self

from streamlit_crdt.shared.view import View


class SharedText(View[str]):
    """A text that several people write in at once. Places count characters, as in a `str`."""

    _rule_name = "text"

    def _empty(self) -> str:
        return ""

    def _plain(self, value: str) -> str:
        return str(value) if isinstance(value, str) else value

    def __str__(self) -> str:
        return self._read()

    def __len__(self) -> int:
        return len(self._read())

    def __contains__(self, part: object) -> bool:
        return isinstance(part, str) and part in self._read()

    def __getitem__(self, place: int | slice) -> str:
        return self._read()[place]

    def __eq__(self, other: object) -> bool:
        return self._read() == (other._read() if isinstance(other, SharedText) else other)

    __hash__ = None  # type: ignore[assignment]

    def __iadd__(self, text: str) -> Self:
        self.append(text)
        return self

    def append(self, text: str) -> None:
        """Put `text` at the end."""
        self._change(lambda value: value + text)

    def insert(self, place: int, text: str) -> None:
        """Put `text` in before the character at `place`; a place beyond an end is that end."""
        self._change(lambda value: value[:place] + text + value[place:])

    def delete(self, start: int, stop: int | None = None) -> None:
        """Take out the characters from `start` to before `stop`, as of a slice; None is the end."""
        self._change(lambda value: "".join(_without(list(value), slice(start, stop))))

    def replace(self, old: str, new: str, count: int = -1) -> None:
        """Replace each `old` (the first `count` of them), as `str.replace` does."""
        self._change(lambda value: value.replace(old, new, count))

    def set(self, text: str) -> None:
        """Have it be `text`; what others are writing at this moment stays."""
        self._change(lambda value: text)


def _without(characters: list[str], where: slice) -> list[str]:
    del characters[where]
    return characters
