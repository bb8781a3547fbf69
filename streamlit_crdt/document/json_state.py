"""Lossless conversion of a room's values to readable JSON, and back.

A value is its encoded tree (see `codec.values`), with `{"$bytes": "…base64…"}` for bytes. A value of a merge rule names
the rule: `{"$rule": "text", "value": "…"}`. Neither is ambiguous, because the encoded form of a dict with a key that
starts with `$` is a tag.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from math import isfinite
from typing import Any, Final

from streamlit_crdt.codec.scalars import Stored
from streamlit_crdt.codec.values import decode, encode
from streamlit_crdt.document.keyed_values import check_key
from streamlit_crdt.errors import ValueNotShareableError, ValueUnreadableError
from streamlit_crdt.merge import MergedValue

Json = Any
"""A result of `json.loads`."""

State = Mapping[str, Json]
"""JSON values by key."""

MAX_CONTAINERS: Final = 4 * 1024 * 1024
"""Limit of the lists and objects of a text. An empty one takes 3 bytes of it, and 64 bytes when parsed."""

_JSON_TEXT: Final = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
"""A text of JSON. One without an end matches too: a search for it from each quote in it would take the square of the
length."""
_BYTES: Final = "$bytes"
_RULE_ENTRY_KEYS: Final = {"$rule", "value"}


def state_of(stored: Mapping[str, Any]) -> State:
    """Return the result of `Replica.stored` as JSON, sorted by key.

    Raises:
        ValueUnreadableError: the content of a merge rule cannot be decoded in this process.
    """
    return {key: entry_of(key, stored[key]) for key in sorted(stored)}


def entry_of(key: str, stored: Any) -> Json:
    """Return one value of `Replica.stored` as JSON. Raises as `state_of` does."""
    if not isinstance(stored, MergedValue):
        return _to_json(stored)
    try:
        tree = encode(stored.value(), key=key)
    except ValueUnreadableError as error:
        error.key = key
        raise
    except ValueNotShareableError as error:
        raise ValueUnreadableError(error.reason, key=key) from error
    except Exception as error:  # another program may have written any content
        raise ValueUnreadableError(f"{type(error).__name__}: {error}", key=key) from error
    return {"$rule": stored.rule.name, "value": _to_json(tree)}


def value_of(key: str, entry: Json) -> Any:
    """Return the Python value of the JSON `entry` of `key`.

    Raises:
        ValueUnreadableError: the entry is malformed, or needs an Enum class or a time zone that this process lacks.
        ValueNotShareableError: key or value has no stored form.
    """
    is_rule = type(entry) is dict and entry.keys() == _RULE_ENTRY_KEYS
    if is_rule and not isinstance(entry["$rule"], str):
        raise ValueUnreadableError("its merge rule is not a name", key=key)
    tree = entry["value"] if is_rule else entry
    try:
        value = decode(_from_json(tree))
    except ValueUnreadableError as error:
        error.key = key
        raise
    except RecursionError as error:
        raise ValueUnreadableError("it is nested too deeply", key=key) from error
    check_key(key)
    encode(value, key=key)
    return value


def dump(state: State) -> str:
    """Return canonical JSON text of a state. Equal states have the same text."""
    return json.dumps(state, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))


def dump_file(content: Mapping[str, Json]) -> str:
    """Return readable JSON text, with one line for each value, in the given order."""
    return "{\n" + ",\n".join(f"  {_line(name, part)}" for name, part in content.items()) + "\n}\n"


def _line(name: str, part: Json) -> str:
    if not isinstance(part, dict) or not part:
        return f"{_text(name)}: {_text(part)}"
    lines = ",\n".join(f"    {_text(key)}: {_text(value)}" for key, value in part.items())
    return f"{_text(name)}: {{\n{lines}\n  }}"


def _text(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def read_state(text: str) -> State:
    """Return the state of a text of `dump`. Raises ValueError if the text is not a JSON object."""
    state = parse(text)
    if not isinstance(state, dict):
        raise ValueError("it is not a JSON object")
    return state


def parse(text: str) -> Json:
    """Parse a JSON text.

    Raises:
        ValueError: the text is not JSON, is nested too deeply, has a number beyond the range of a float, a name twice
            in one object, or more than `MAX_CONTAINERS` lists and objects.
    """
    if text.count("[") + text.count("{") > MAX_CONTAINERS:
        without_texts = _JSON_TEXT.sub("", text)
        if without_texts.count("[") + without_texts.count("{") > MAX_CONTAINERS:
            raise ValueError(f"it has more than {MAX_CONTAINERS} lists and objects")
    try:
        return json.loads(
            text, parse_constant=_reject_constant, parse_float=_finite, object_pairs_hook=_without_duplicates
        )
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _finite(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):
        raise ValueError(f"the number {digits[:40]} is out of range")
    return number


def _without_duplicates(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has one name twice")
    return found


def _reject_constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")


def _to_json(tree: Stored) -> Json:
    if isinstance(tree, bytes | bytearray):
        return {_BYTES: base64.b64encode(tree).decode()}
    if isinstance(tree, float):
        if not isfinite(tree):
            return {"$float": repr(tree)}
        return int(tree) if tree.is_integer() else tree  # pycrdt returns every number as float
    if isinstance(tree, list):
        return [_to_json(item) for item in tree]
    if isinstance(tree, dict):
        return {name: _to_json(tree[name]) for name in sorted(tree)}  # pycrdt does not preserve the order
    return tree


def _from_json(entry: Json) -> Stored:
    if isinstance(entry, list):
        return [_from_json(item) for item in entry]
    if not isinstance(entry, dict):
        return entry
    if entry.keys() == {_BYTES}:
        return _decode_base64(entry[_BYTES])
    return {name: _from_json(item) for name, item in entry.items()}


def _decode_base64(text: Json) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError) as error:
        raise ValueUnreadableError("its bytes are not base64") from error
