"""Merge rules: how two people's edits of one value become one value.

A script sees plain Python values. A rule turns what the script, or a person, made of such a value (before → after) into
operations on a shared type, and a shared type into a value. So a draft that is older than what others have written
meanwhile merges with it: only the difference to what its author saw is taken over.

One file for each rule: `text`, `list_rule`, `map_rule`, `set_rule`, `counter`. `rule` says what a rule is, `sequence`
how a difference is moved to a value that has changed meanwhile, `seed` how a first value goes in only once (R8),
`choice` which rule a key has.
"""

from __future__ import annotations

from streamlit_crdt.merge.rule import MergedValue, Rule
from streamlit_crdt.merge.rules import RULES, MergePolicy, MergeRule
from streamlit_crdt.merge.seed import seed

__all__ = ["RULES", "MergePolicy", "MergeRule", "MergedValue", "Rule", "seed"]
