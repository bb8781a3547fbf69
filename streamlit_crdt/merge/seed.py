"""First values: the same one, brought along by several sessions, goes into a room only once (R8)."""

from __future__ import annotations

from collections.abc import Container
from hashlib import blake2b
from itertools import count
from typing import Any

from pycrdt import Doc

from streamlit_crdt.merge.item_keys import encode, item_key
from streamlit_crdt.merge.rule import Rule

_ID_BYTES = 7
MAX_ID = 2**53 - 1


def seed(key: str, rule: Rule, value: Any, known: Container[int]) -> bytes:
    """Return the update that puts `value` into the root type of `key`.

    Its replica id comes from key, rule and value, so that all who bring this value make the very same update, and
    another value is another replica's. After the key was deleted, what this replica wrote is gone for good; then it is
    the next one of a row that is the same for all.

    Args:
        known: ids of replicas that have written to the room.
    """
    first = f"{rule.name}:{key}\0{rule.form(value)}\0{item_key(encode(value))}"
    author = next(author for life in count() if (author := _author(f"{first}\0{life}")) not in known)
    document: Doc[Any] = Doc(client_id=author)
    shared = document.get(f"{rule.name}:{key}", type=rule.kind)
    rule.edit(
        shared, None, value, author
    )  # each step by itself: a transaction takes time with its length squared
    update: bytes = document.get_update()
    return update


def _author(text: str) -> int:
    digest = blake2b(text.encode(), digest_size=_ID_BYTES).digest()
    return int.from_bytes(digest, "big") & MAX_ID
