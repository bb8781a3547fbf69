"""Merge rules: conversion of edits of plain Python values to operations on Yjs types.

A rule computes the difference between the value that the author of an edit saw and the value that the author made of
it. It applies only this difference to the shared type. An edit of a stale value therefore merges with later edits of
other replicas.

- `rule`: the protocol `Rule`, `Edit`, `MergedValue`, markers.
- `rules`: all rules by name, and the policy that selects the rule of a key.
- `text_rule`, `list_rule`, `records_rule`, `map_rule`, `set_rule`, `counter_rule`: one rule each.
- `tree`: nested values in one flat map, for "map" and "records".
- `editors`: single operations on the value of a rule, at the cost of the change.
- `sequence_diff`, `text_diff`: differences of sequences and texts, and their rebase onto a changed sequence.
- `seed`: deterministic first values (R8).
- `computed_runs`: deterministic insertions (R9).
- `item_keys`: encoding and identity of items and entries.
"""

from __future__ import annotations

from streamlit_crdt.merge.rule import Edit, MergedValue, Rule
from streamlit_crdt.merge.rules import DEFAULT_POLICY, RULES, MergePolicy, MergeRule
from streamlit_crdt.merge.seed import seed

__all__ = ["DEFAULT_POLICY", "RULES", "Edit", "MergePolicy", "MergeRule", "MergedValue", "Rule", "seed"]
