"""The rule "list": an ordered list in which all concurrent insertions are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pycrdt import Array

from streamlit_crdt.codec.scalars import Stored
from streamlit_crdt.codec.values import decode
from streamlit_crdt.merge.computed_runs import Run, insert_runs, unit_at
from streamlit_crdt.merge.item_keys import encode, item_key, token
from streamlit_crdt.merge.rule import Edit, Foreign
from streamlit_crdt.merge.sequence_diff import Step, diff, edit_size, rebase


class ListRule:
    """Merge by item. A changed item is replaced as a whole: deleted and inserted."""

    name = "list"
    kind = Array
    empty: Sequence[Stored] = ()

    def accepts(self, value: object) -> bool:
        return type(value) is list

    def container_tag(self, value: object) -> str:
        return "list"

    def edit(self, shared: Array[Any], content: Sequence[Stored | Foreign], edit: Edit) -> None:
        new = [encode(item) for item in edit.after]
        old = [token(encode(item)) for item in edit.before or ()]
        current = [token(item) for item in content]
        steps = rebase(
            old,
            [token(item) for item in new],
            current,
            diff,
            follows=False,
            skips_equal=not edit.is_by_person,
        )
        runs = (
            [] if edit.is_by_person else [_run(shared, step, new) for step in steps if step.stop > step.start]
        )
        for step in steps:
            if step.end > step.at:
                del shared[step.at : step.end]
            if edit.is_by_person:
                for offset, item in enumerate(new[step.start : step.stop]):
                    shared.insert(step.at + offset, item)
        insert_runs(shared, edit, runs)

    def distance(self, before: Sequence[Any], after: Sequence[Any]) -> float:
        old, new = ([token(encode(item)) for item in items] for items in (before, after))
        return edit_size(diff(old, new))

    def value(self, content: Stored, container_tag: str) -> Any:
        return [decode(item) for item in content if not isinstance(item, Foreign)]


def _run(shared: Array[Any], step: Step, new: list[Stored]) -> Run:
    items = new[step.start : step.stop]
    left, right = (None if at is None else unit_at(shared, at) for at in (step.left, step.right))
    return Run(left, right, items, item_key(items))
