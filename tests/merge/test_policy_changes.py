"""Changes of the merge rule of a key, and foreign content in the root type of a rule."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from pycrdt import Array, Doc, Map, Text, XmlFragment, XmlText

from streamlit_crdt.codec.values import equal
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.errors import ValueUnreadableError
from streamlit_crdt.merge import RULES

VALUE_OF_RULE: dict[str, Any] = {
    "value": "plain", "text": "a text", "list": ["a"], "records": [{"a": 1}], "map": {"a": {"b": 1}}, "set": {"a"},
    "counter": 5,
}  # fmt: skip
ODD_NAMES = ("", "a//b", "$nonsense", "$", "~", "~2", "/", "a", "__proto__")


def rule_of(name: str) -> Any:
    return RULES.get(name)


@pytest.mark.parametrize(("first", "second"), list(permutations(VALUE_OF_RULE, 2)))
def test_value_of_another_rule_replaces_the_value(first: str, second: str) -> None:
    one, two = Replica(), Replica()
    for name in (first, second, first, second):
        assert one.edit("k", one.get("k"), VALUE_OF_RULE[name], rule_of(name))
        assert two.apply(one.diff(two.state_vector())) == {"k"}
        assert equal(one.get("k"), VALUE_OF_RULE[name]) and equal(two.get("k"), VALUE_OF_RULE[name])


@pytest.mark.parametrize(
    ("name", "value", "made", "expected"),
    [("text", "ab", ["Xab", "abY"], "XabY"), ("list", [1], [[0, 1], [1, 2]], [0, 1, 2]),
     ("map", {"a": 1}, [{"a": 1, "b": 2}, {"a": 1, "c": 3}], {"a": 1, "b": 2, "c": 3}),
     ("set", {1}, [{1, 2}, {1, 3}], {1, 2, 3}), ("set", [1], [[1, 2], [1, 3]], [1, 2, 3]),
     ("counter", 10, [11, 15], 16)],
)  # fmt: skip
def test_concurrent_rule_changes_keep_a_whole_value_once(
    name: str, value: Any, made: list[Any], expected: Any
) -> None:
    one, two = Replica(), Replica()
    one.set("k", value)
    two.apply(one.diff())
    for replica, after in zip((one, two), made, strict=True):
        replica.edit("k", value, after, RULES[name])
    one.apply(two.diff())
    two.apply(one.diff())
    assert equal(one.get("k"), expected) and equal(two.get("k"), expected)


def test_list_becomes_a_set_and_a_list_again_with_its_items() -> None:
    one, two = Replica(), Replica()
    one.edit("k", None, ["b", "a"], RULES["list"])
    two.apply(one.diff())
    one.edit("k", ["b", "a"], ["b", "a", "c"], RULES["set"])
    two.edit("k", ["b", "a"], ["b", "a", "d"], RULES["set"])
    two.apply(one.diff())
    assert two.get("k") == ["a", "b", "c", "d"]
    two.edit("k", two.get("k"), ["d", "a"], RULES["list"])
    one.apply(two.diff())
    assert one.get("k") == ["d", "a"]


def test_content_of_an_overwritten_rule_stays_deleted() -> None:
    one, two = Replica(), Replica()
    one.edit("k", None, "old", RULES["text"])
    two.apply(one.diff())
    one.set("k", "new")
    two.edit("k", "old", "old!", RULES["text"])
    one.apply(two.diff())
    two.apply(one.diff())
    value = one.get("k")
    one.edit("k", value, value + "?", RULES["text"])
    two.apply(one.diff())
    assert one.get("k") == two.get("k") == value + "?"


def test_edit_concurrent_with_deletion_keeps_the_key() -> None:
    one, two = Replica(), Replica()
    one.edit("k", None, "text", RULES["text"])
    two.apply(one.diff())
    one.delete("k")
    two.edit("k", "text", "text!", RULES["text"])
    one.apply(two.diff())
    two.apply(one.diff())
    assert one.get("k") == two.get("k") == "!"


@pytest.mark.parametrize(
    "mark",
    [["unknown", "str"], ["text"], "text", None, [1, 2], ["", ""], ["text", "str", "x"], {"text": "str"}, []],
)
def test_N2_unknown_marker_is_unreadable_and_overwritable(mark: Any) -> None:
    document: Doc[Any] = Doc()
    document.get("state", type=Map).update({"k": {"$rule": mark}, "other": 1})
    replica = Replica()
    assert replica.apply(document.get_update()) == {"k", "other"}
    with pytest.raises(ValueUnreadableError):
        replica.get("k")
    assert replica.get("other") == 1
    assert replica.edit("k", None, "mine", RULES["text"]) and replica.get("k") == "mine"


def hostile(rule: str, kind: Any, *, marked: bool, long: bool = False) -> bytes:
    """Return an update of another program that creates the root type of "k" with another Yjs type."""
    document: Doc[Any] = Doc()
    shared: Any = document.get(f"{rule}:k", type=kind)
    if kind is Text:
        shared.insert(0, "hi 👍")
        shared.insert_embed(1, {"image": "x"})
        shared.format(0, 1, {"bold": True})
    elif kind is Array:
        shared.extend([1, "two", {"a": 1}, Map({"b": 2}), Text("t"), None])
    elif kind is Map:
        shared.update(
            {name: name for name in ODD_NAMES} | {"map": Map({"a": 1}), "number": 1.5, "none": None}
        )
    else:
        shared.children.append(XmlText("hey"))
    state = document.get("state", type=Map)
    state["other"] = 1
    if marked:
        state["k"] = {"$rule": [rule, "list"]}
    return bytes(document.get_update())


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("kind", [Text, Array, Map, XmlFragment])
@pytest.mark.parametrize("name", RULES)
def test_N2_root_type_of_another_type_is_overwritable(name: str, kind: Any, marked: bool) -> None:
    replica, peer = Replica(), Replica()
    replica.apply(hostile(name, kind, marked=marked))
    seen = None
    try:
        seen = replica.get("k")
    except ValueUnreadableError:
        assert "k" in replica
    for value in (VALUE_OF_RULE[name], seen, VALUE_OF_RULE["value"], VALUE_OF_RULE[name]):
        rule = RULES[name] if RULES[name].accepts(value) else None
        replica.edit("k", seen, value, rule)
        seen = replica.get("k")
    assert equal(seen, VALUE_OF_RULE[name])
    assert replica.delete("k") and replica.get("other") == 1
    peer.apply(replica.diff())
    assert dict(peer.items()) == dict(replica.items()) == {"other": 1}


def test_set_edit_on_restored_list_of_lists_stays_readable() -> None:
    replica = Replica()
    replica.edit("k", None, [[1], [2]], RULES["list"])
    replica.begin_group()
    replica.edit("k", [[1], [2]], {0}, RULES["set"])
    replica.undo()
    assert replica.get("k") == [[1], [2]]
    replica.edit("k", {0}, {0, 1}, RULES["set"])  # by an author who has not seen the undo
    assert replica.get("k") == {1}


def test_text_edit_keeps_positions_around_embedded_objects() -> None:
    document: Doc[Any] = Doc()
    text = document.get("text:k", type=Text)
    text.insert(0, "ä👍b")
    text.insert_embed(2, {"image": "x"})
    document.get("state", type=Map)["k"] = {"$rule": ["text", "str"]}
    replica = Replica()
    replica.apply(document.get_update())
    assert replica.get("k") == "ä👍b"
    for before, after in (("ä👍b", "ä👍b!"), ("ä👍b!", "äb!"), ("äb!", "?äüb!"), ("?äüb!", "?"), ("?", "")):
        replica.edit("k", before, after, RULES["text"])
        assert replica.get("k") == after
