"""The rule "records": a list whose items keep their identity, so that their fields merge one by one."""

from __future__ import annotations

from streamlit_crdt.merge.tree.tree_rule import TreeRule


class RecordsRule(TreeRule):
    """Merge by item and field. Deleting an item wins over editing it, and a moved item stays the same item.

    The name of the id field is not stored: it only helps to recognize the items of a list that a script has rebuilt.
    """

    name = "records"
    is_list = True

    def __init__(self, id_field: str = "id") -> None:
        self.id_field = id_field
