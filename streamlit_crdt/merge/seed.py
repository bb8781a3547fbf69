"""Deterministic first values: the same default from several sessions is inserted once (R8)."""

from __future__ import annotations

from collections.abc import Container
from itertools import count
from typing import Any

from pycrdt import Doc

from streamlit_crdt.merge.item_keys import encode, item_key
from streamlit_crdt.merge.rule import Edit, Rule, derived_id

_FORMATS = {"map": "/2"}
"""Marks of the rules whose seeds an older version wrote in another form: with one replica id they would differ."""


def seed(key: str, rule: Rule, value: Any, known: Container[int]) -> bytes:
    """Return an update that writes `value` into the root type of `key`.

    Its replica id is derived from key, rule and value. Sessions with the same value make the same update; another value
    has another replica id. If the key was deleted, the structs of this replica id are deleted for good. The next id of
    the same deterministic sequence is used then.

    Args:
        known: the replica ids in the state vector of the room.
    """
    source = f"{rule.name}{_FORMATS.get(rule.name, '')}:{key}\0{rule.container_tag(value)}\0{item_key(encode(value))}"
    author = next(author for number in count() if (author := derived_id(f"{source}\0{number}")) not in known)
    document: Doc[Any] = Doc(client_id=author)
    shared = document.get(f"{rule.name}:{key}", type=rule.kind)
    # Without a transaction each step is its own: the time of a transaction grows with the square of its length.
    rule.edit(shared, rule.empty, Edit(None, value, author))
    update: bytes = document.get_update()
    return update
