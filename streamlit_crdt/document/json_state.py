"""A room's values as JSON that people and other programs can read, and back without loss.

A value is the tree in which it is stored (see `values`), with `{"$bytes": "…base64…"}` where that holds bytes. What
lies under a merge rule says so: `{"$rule": "text", "value": "…"}`. Neither can be mistaken for a value: a dict of an
app with a key that starts with `$` is stored in another form.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from math import isfinite
from typing import Any, Final

from streamlit_crdt.codec.scalars import Stored
from streamlit_crdt.codec.values import decode, encode
from streamlit_crdt.document.keyed_values import check_key
from streamlit_crdt.errors import ValueNotShareableError, ValueUnreadableError
from streamlit_crdt.merge import MergedValue

Json = Any
"""What `json.loads` makes of a text."""

State = Mapping[str, Json]
"""Values by key, each as JSON."""

_BYTES: Final = "$bytes"
_RULED: Final = {"$rule", "value"}


def state_of(stored: Mapping[str, Any]) -> State:
    """Return as JSON what `Replica.stored` gives, in the order of its keys.

    Raises:
        ValueUnreadableError: what lies under a rule cannot be read here.
    """
    return {key: entry_of(key, stored[key]) for key in sorted(stored)}


def entry_of(key: str, stored: Any) -> Json:
    """Return one value of `Replica.stored` as JSON; raises as `state_of` does."""
    if not isinstance(stored, MergedValue):
        return _to_json(stored)
    try:
        tree = encode(stored.value(), key=key)
    except ValueUnreadableError as error:
        error.key = key
        raise
    except ValueNotShareableError as error:
        raise ValueUnreadableError(error.reason, key=key) from error
    except Exception as error:  # as in `contents`: another program may have put anything there
        raise ValueUnreadableError(f"{type(error).__name__}: {error}", key=key) from error
    return {"$rule": stored.rule.name, "value": _to_json(tree)}


def value_of(key: str, entry: Json) -> Any:
    """Return the value of `key` that is written as `entry`.

    Raises:
        ValueUnreadableError: it is malformed, or needs something that is not here, such as an Enum class.
        ValueNotShareableError: no room could hold it.
    """
    tree = entry["value"] if type(entry) is dict and entry.keys() == _RULED else entry
    try:
        value = decode(_from_json(tree))
    except ValueUnreadableError as error:
        error.key = key
        raise
    except RecursionError as error:
        raise ValueUnreadableError("it is nested too deep", key=key) from error
    check_key(key)
    encode(value, key=key)
    return value


def dump(state: State) -> str:
    """Return a state as one text, the same for equal states."""
    return json.dumps(state, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))


def dump_file(content: Mapping[str, Json]) -> str:
    """Return JSON as a text for people: with a line for each value, in the order in which it is given."""
    return "{\n" + ",\n".join(f"  {_line(name, part)}" for name, part in content.items()) + "\n}\n"


def _line(name: str, part: Json) -> str:
    if not isinstance(part, dict) or not part:
        return f"{_text(name)}: {_text(part)}"
    lines = ",\n".join(f"    {_text(key)}: {_text(value)}" for key, value in part.items())
    return f"{_text(name)}: {{\n{lines}\n  }}"


def _text(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def read_state(text: str) -> State:
    """Return the state that `dump` has written; raises ValueError if it has not."""
    state = parse(text)
    if not isinstance(state, dict):
        raise ValueError("it has no values by key")
    return state


def parse(text: str) -> Json:
    """Return what a JSON text holds.

    Raises:
        ValueError: it is none, or is nested too deeply.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _refuse_constant(name: str) -> Json:
    raise ValueError(f"{name} is no JSON")


def _to_json(tree: Stored) -> Json:
    if isinstance(tree, bytes | bytearray):
        return {_BYTES: base64.b64encode(tree).decode()}
    if isinstance(tree, float):
        if not isfinite(tree):
            return {"$float": repr(tree)}
        return int(tree) if tree.is_integer() else tree  # pycrdt reads every number as a float
    if isinstance(tree, list):
        return [_to_json(item) for item in tree]
    if isinstance(tree, dict):
        return {name: _to_json(tree[name]) for name in sorted(tree)}  # pycrdt has no order of its own
    return tree


def _from_json(written: Json) -> Stored:
    if isinstance(written, list):
        return [_from_json(item) for item in written]
    if not isinstance(written, dict):
        return written
    if written.keys() == {_BYTES}:
        return _raw(written[_BYTES])
    return {name: _from_json(item) for name, item in written.items()}


def _raw(text: Json) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError) as error:
        raise ValueUnreadableError("its bytes are not written in base64") from error
