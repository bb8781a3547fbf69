"""The rule "text": a text in which all concurrent insertions are kept."""

from __future__ import annotations

from typing import Any

from pycrdt import Text

from streamlit_crdt.codec.scalars import Stored
from streamlit_crdt.merge.computed_runs import Run, insert_runs, text_units, units_in
from streamlit_crdt.merge.rule import Edit
from streamlit_crdt.merge.sequence_diff import Step, edit_size, rebase
from streamlit_crdt.merge.text_diff import text_diff


class TextRule:
    """Merge by character. pycrdt measures positions in UTF-8 bytes and Yjs in UTF-16 units; this rule uses bytes."""

    name = "text"
    kind = Text
    empty = ""

    def accepts(self, value: object) -> bool:
        return type(value) is str and is_unicode(value)

    def container_tag(self, value: str) -> str:
        return "str"

    def edit(self, shared: Text, content: str, edit: Edit) -> None:
        current = content
        embeds = embed_positions(shared, current)
        is_computed = not (edit.is_by_person or embeds)
        steps = rebase(
            edit.before or "", edit.after, current, text_diff, follows=True, skips_equal=is_computed
        )
        runs = _runs(shared, current, edit, steps) if is_computed else []
        for step in steps:
            at = byte_length(current[: step.at])
            if step.end > step.at:
                end = byte_length(current[: step.end])
                first = at + sum(embed <= at for embed in embeds)
                del shared[first : end + sum(embed < end for embed in embeds)]
            if step.stop > step.start and not is_computed:
                shared.insert(at + sum(embed < at for embed in embeds), edit.after[step.start : step.stop])
        insert_runs(shared, edit, runs)

    def distance(self, before: str, after: str) -> float:
        return edit_size(text_diff(before, after))

    def value(self, content: Stored, container_tag: str) -> Any:
        if type(content) is not str:
            raise TypeError("not a text")
        return content


def _runs(shared: Text, current: str, edit: Edit, steps: list[Step]) -> list[Run]:
    """Return the insertions of an edit, with their neighbors. The text has no embedded objects."""
    insertions = [step for step in steps if step.stop > step.start]
    positions = {at for step in insertions for at in (step.left, step.right) if at is not None}
    offsets = {at: byte_length(current[:at]) for at in positions}
    units = text_units(shared, current.encode(), offsets.values(), edit.clocks)
    runs = []
    for step in insertions:
        left = right = None
        if step.left is not None:
            replica, clock = units[offsets[step.left]]
            left = replica, clock + units_in(current[step.left]) - 1
        if step.right is not None:
            right = units[offsets[step.right]]
        text = edit.after[step.start : step.stop]
        runs.append(Run(left, right, text, text))
    return runs


def embed_positions(shared: Text, current: str) -> list[int]:
    """Return the byte positions of the embedded objects, such as images. Each takes one position in the Yjs text."""
    if len(shared) == byte_length(current):
        return []
    positions, at = list[int](), 0
    for part, _ in shared.diff():
        if isinstance(part, str):
            at += byte_length(part)
        else:
            positions.append(at)
    return positions


def byte_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
