"""All rules, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from streamlit_crdt.merge.counter import CounterRule
from streamlit_crdt.merge.list_rule import ListRule
from streamlit_crdt.merge.map_rule import MapRule
from streamlit_crdt.merge.rule import Rule
from streamlit_crdt.merge.set_rule import SetRule
from streamlit_crdt.merge.text import TextRule

_ALL: Final[tuple[Rule, ...]] = (TextRule(), ListRule(), MapRule(), SetRule(), CounterRule())

RULES: Final[Mapping[str, Rule]] = {rule.name: rule for rule in _ALL}
