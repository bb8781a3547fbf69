"""Which merge rule a key has: the author's word, else by what it is.

All rules, by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final, Literal, get_args

from streamlit_crdt.errors import MergeRuleError
from streamlit_crdt.merge.counter_rule import CounterRule
from streamlit_crdt.merge.list_rule import ListRule
from streamlit_crdt.merge.map_rule import MapRule
from streamlit_crdt.merge.rule import Rule
from streamlit_crdt.merge.set_rule import SetRule
from streamlit_crdt.merge.text_rule import TextRule

_ALL: Final[tuple[Rule, ...]] = (TextRule(), ListRule(), MapRule(), SetRule(), CounterRule())

RULES: Final[Mapping[str, Rule]] = {rule.name: rule for rule in _ALL}


MergeRule = Literal["value", "text", "list", "map", "set", "counter"]

_OF_WIDGETS: Final = {
    "text_area": "text", "multiselect": "set", "pills": "set", "segmented_control": "set",
}  # fmt: skip
_OF_VALUES: Final[Mapping[type, str]] = {dict: "map", list: "list", set: "set"}


@dataclass(frozen=True, slots=True)
class MergePolicy:
    """What `crdt_sync(merge=…)` says, and what follows where it says nothing."""

    named: Mapping[str, MergeRule] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key, name in self.named.items():
            if name not in get_args(MergeRule):
                raise MergeRuleError(key, name)

    def joined(self, other: MergePolicy) -> MergePolicy:
        """Return the rules of two calls for one room; the later one wins."""
        return MergePolicy({**self.named, **other.named})

    def rule(self, key: str, value: Any, widget_kind: str | None) -> Rule | None:
        """Return the rule by which `value` is stored under `key`; None where the last writer wins.

        Args:
            widget_kind: Streamlit's element type if `key` is a widget's.
        """
        name = self._named(key)
        if name is None:
            name = _OF_VALUES.get(type(value)) if widget_kind is None else _OF_WIDGETS.get(widget_kind)
        rule = RULES.get(name or "value")
        return rule if rule is not None and rule.takes(value) else None

    def _named(self, key: str) -> str | None:
        """Return what the author says of `key`: of its own name first, then of the first glob that it matches."""
        if key in self.named:
            return self.named[key]
        return next((name for glob, name in self.named.items() if fnmatchcase(key, glob)), None)
