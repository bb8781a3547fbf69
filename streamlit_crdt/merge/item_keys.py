"""Encoding and identity of list items, set items and dict entries.

A token compares two encoded items within this process. An item key is text: it identifies an item inside the document.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Hashable
from typing import Any

from streamlit_crdt.codec import values
from streamlit_crdt.codec.scalars import Stored

_BYTES = "$bytes"
"""Tag of bytes in an item key, as base64: JSON has no bytes."""


def token(stored: Stored) -> Hashable:
    """Return a hashable token. The tokens of two encoded items are `==` exactly if the items are equal.

    An item that pycrdt has read, with float for int and bytearray for bytes, has the same token as before.
    """
    if isinstance(stored, bytes | bytearray):
        return (bytes, bytes(stored))
    if isinstance(stored, float) and stored.is_integer():
        return (int, int(stored))
    if isinstance(stored, list):
        return (list, tuple(map(token, stored)))
    if isinstance(stored, dict):
        return (dict, tuple((name, token(stored[name])) for name in sorted(stored)))
    if isinstance(stored, float) and stored != stored:
        return (float, "nan")
    return (type(stored), stored)


def item_key(stored: Stored) -> str:
    """Return canonical JSON of an encoded item. Two items have the same key exactly if they are equal."""
    return json.dumps(_to_json(stored), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def item_from_key(key: str) -> Stored:
    """Return the encoded item of an item key."""
    return json.loads(key, object_hook=_from_json_object)


def encode(value: object) -> Stored:
    """Return the tree of an item. An error names no key; the caller sets it."""
    return values.encode(value, key=None)


def as_read(stored: Stored) -> Stored:
    """Return an encoded value as pycrdt reads it: numbers as float, and bytes as bytearray."""
    if type(stored) is int:
        return float(stored)
    if type(stored) is bytes:
        return bytearray(stored)
    if type(stored) is list:
        return [as_read(item) for item in stored]
    if type(stored) is dict:
        return {name: as_read(item) for name, item in stored.items()}
    return stored


def _to_json(stored: Stored) -> Stored:
    if isinstance(stored, bytes | bytearray):
        return {_BYTES: base64.b64encode(stored).decode()}
    if isinstance(stored, float) and stored.is_integer():
        return int(stored)
    if isinstance(stored, list):
        return [_to_json(item) for item in stored]
    if isinstance(stored, dict):
        return {name: _to_json(item) for name, item in stored.items()}
    return stored


def _from_json_object(loaded: dict[str, Any]) -> Stored:
    return base64.b64decode(loaded[_BYTES]) if loaded.keys() == {_BYTES} else loaded
