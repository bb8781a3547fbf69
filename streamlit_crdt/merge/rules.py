"""All merge rules by name, and the policy that selects the rule of a key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, Final, Literal, get_args

from streamlit_crdt.codec.live_values import plain
from streamlit_crdt.errors import MergeRuleError
from streamlit_crdt.merge.counter_rule import CounterRule
from streamlit_crdt.merge.list_rule import ListRule
from streamlit_crdt.merge.map_rule import MapRule
from streamlit_crdt.merge.records_rule import RecordsRule
from streamlit_crdt.merge.rule import Rule
from streamlit_crdt.merge.set_rule import SetRule
from streamlit_crdt.merge.text_rule import TextRule

_ALL: Final[tuple[Rule, ...]] = (
    TextRule(), ListRule(), RecordsRule(), MapRule(), SetRule(), CounterRule(),
)  # fmt: skip

RULES: Final[Mapping[str, Rule]] = {rule.name: rule for rule in _ALL}

RuleName = Literal["value", "text", "list", "records", "map", "set", "counter"]

MergeRule = RuleName | str
"""A rule name, or "records:FIELD" for records that the field FIELD identifies."""

_RECORDS_BY: Final = "records:"

_DEFAULTS_BY_WIDGET: Final = {
    "text_area": "text", "multiselect": "set", "pills": "set", "segmented_control": "set",
}  # fmt: skip
_DEFAULTS_BY_TYPE: Final[Mapping[type, str]] = {dict: "map", list: "list", set: "set"}


@dataclass(frozen=True, slots=True)
class MergePolicy:
    """Merge rules of the argument `merge` of `crdt_sync`, with a default for each widget and value type.

    Attributes:
        named: rule names by key or glob.
    """

    named: Mapping[str, MergeRule] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key, name in self.named.items():
            is_records = isinstance(name, str) and name.startswith(_RECORDS_BY) and name != _RECORDS_BY
            if name not in get_args(RuleName) and not is_records:
                raise MergeRuleError(key, name)

    def joined(self, other: MergePolicy) -> MergePolicy:
        """Return the policy of two `crdt_sync` calls for one room. `other` is the later call and takes precedence."""
        return MergePolicy({**self.named, **other.named})

    def rule(
        self, key: str, value: Any, widget_kind: str | None, stored_rule: str | None = None
    ) -> Rule | None:
        """Return the rule for `value` under `key`, or None if the last writer wins.

        Args:
            widget_kind: Streamlit's element type if `key` belongs to a widget, else None.
            stored_rule: name of the rule that stores the present value. Records stay records by default, whatever the
                items of a later list are.
        """
        value, name = plain(value), self._named(key)
        if name is None and widget_kind is not None:
            name = _DEFAULTS_BY_WIDGET.get(widget_kind)
        elif name is None:
            name = "records" if _is_records(value) else _DEFAULTS_BY_TYPE.get(type(value))
            if name == "list" and stored_rule == "records":
                name = "records"
        rule = _rule(name or "value")
        return rule if rule is not None and rule.accepts(value) else None

    def _named(self, key: str) -> str | None:
        """Return the configured rule name of `key`, else of the first glob that matches it, else None."""
        if key in self.named:
            return self.named[key]
        return next((name for glob, name in self.named.items() if fnmatchcase(key, glob)), None)


def _is_records(value: Any) -> bool:
    return type(value) is list and bool(value) and all(type(item) is dict for item in value)


@lru_cache
def _rule(name: str) -> Rule | None:
    if name.startswith(_RECORDS_BY):
        return RecordsRule(name.removeprefix(_RECORDS_BY))
    return RULES.get(name)


DEFAULT_POLICY: Final = MergePolicy()
"""The policy without configured rules. It is shared, so that a script run without `merge=` creates none."""
