"""Merge of a change of one plain container into a later version of it."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from streamlit_crdt.codec.equality import equal
from streamlit_crdt.codec.live_values import plain
from streamlit_crdt.merge.item_keys import encode, token
from streamlit_crdt.merge.sequence_diff import diff, rebase


def merge(seen: Any, after: Any, present: Any) -> Any:
    """Return `present` with the difference between `seen` and `after`. All three have the same type.

    The difference is that of the container itself. An item that has changed counts as another item.
    """
    if equal(seen, present):
        return after
    if isinstance(present, dict):
        return _merge_dicts(seen, after, present)
    if isinstance(present, set):
        return (present | (after - seen)) - (seen - after)
    return _merge_lists(seen, after, present)


def _merge_dicts(seen: dict[Any, Any], after: dict[Any, Any], present: dict[Any, Any]) -> dict[Any, Any]:
    changed = {key: value for key, value in after.items() if key not in seen or not equal(seen[key], value)}
    kept = {key: value for key, value in present.items() if key in after or key not in seen}
    return {**kept, **changed}


def _merge_lists(seen: list[Any], after: list[Any], present: list[Any]) -> list[Any]:
    merged = list(present)
    for step in rebase(_tokens(seen), _tokens(after), _tokens(present), diff, follows=False):
        merged[step.at : step.end] = []
        merged[step.at : step.at] = after[step.start : step.stop]
    return merged


def _tokens(items: list[Any]) -> list[Hashable]:
    return [token(encode(plain(item))) for item in items]
