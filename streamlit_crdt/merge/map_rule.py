"""The rule "map": a dict merged by entry, including the entries of dicts, lists and sets inside of it."""

from __future__ import annotations

from streamlit_crdt.merge.tree.tree_rule import TreeRule


class MapRule(TreeRule):
    """Merge by entry, at any depth.

    If a leaf and entries below it are written at the same time, the entries are kept.
    """

    name = "map"
    is_list = False
