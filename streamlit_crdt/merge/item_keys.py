"""Items of lists and sets, entries of dicts: their stored form, and a name or token by which two are told apart."""

from __future__ import annotations

import base64
import json
from collections.abc import Hashable
from typing import Any

from streamlit_crdt.codec import values
from streamlit_crdt.codec.scalars import Stored

_BYTES = "$bytes"


def token(stored: Stored) -> Hashable:
    """Return what is `==` for two stored items exactly if they are the same, also after pycrdt has read one."""
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
    """Return a text that is the same for two stored items exactly if they are the same."""
    return json.dumps(_plain(stored), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def item_from_key(name: str) -> Stored:
    """Return the stored item that has this name."""
    return json.loads(name, object_hook=_from_plain)


def encode(value: object) -> Stored:
    return values.encode(value, key=None)


def decode(stored: Stored) -> Any:
    return values.decode(stored)


def _plain(stored: Stored) -> Stored:
    if isinstance(stored, bytes | bytearray):
        return {_BYTES: base64.b64encode(stored).decode()}
    if isinstance(stored, float) and stored.is_integer():
        return int(stored)
    if isinstance(stored, list):
        return [_plain(item) for item in stored]
    if isinstance(stored, dict):
        return {name: _plain(item) for name, item in stored.items()}
    return stored


def _from_plain(tagged: dict[str, Any]) -> Stored:
    return base64.b64decode(tagged[_BYTES]) if tagged.keys() == {_BYTES} else tagged
