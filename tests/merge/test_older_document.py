"""A document of a version before records: it opens, and its lists of dicts become records without loss."""

from __future__ import annotations

import json
from base64 import b64decode
from datetime import date
from pathlib import Path
from typing import Any, Final

import pytest

from streamlit_crdt.codec.values import deep_copy, equal
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.merge import DEFAULT_POLICY

FILE: Final = Path(__file__).parents[1] / "vectors" / "older_document.json"
MILK: Final = {"text": "milk", "done": False}
BREAD: Final = {"text": "bread", "done": False}
VALUES: Final[dict[str, Any]] = {
    "todos": [MILK, BREAD, MILK],
    "rows": [{"id": 1, "day": date(2026, 1, 2), "tags": ["a"]}, {"id": 2, "day": None, "tags": []}],
    "empty": [],
    "names": ["Ada", "Ben"],
    "mixed": [{"a": 1}, 2],
    "board": {
        "todo": ["bread", "wine"], "done": [], "$x": {"/": {}},
        "people": {"p1": {"tags": {"x"}, 1: "one", (2, "b"): None}},
    },
    "chosen": {1, "a"},
    "plain": [{"a": 1}],
}  # fmt: skip


def part(name: str) -> bytes:
    return b64decode(json.loads(FILE.read_text(encoding="utf-8"))[name])


def opened(count: int) -> list[Replica]:
    replicas = [Replica() for _ in range(count)]
    for replica in replicas:
        replica.apply(part("document"))
    return replicas


def edit(replica: Replica, key: str, before: Any, after: Any) -> None:
    rule = DEFAULT_POLICY.rule(key, after, None, replica.rule_name(key))
    replica.edit(key, before, after, rule)


def sync(*replicas: Replica) -> None:
    for _ in range(2):
        for one in replicas:
            for two in replicas:
                one.apply(two.diff())


def test_older_document_has_its_values() -> None:
    (replica,) = opened(1)
    for key, value in VALUES.items():
        assert equal(replica.get(key), value), key
    assert replica.get("numbers") in ({1: "one"}, {1: "float"})
    replica.edit("numbers", replica.get("numbers"), {}, DEFAULT_POLICY.rule("numbers", {}, None))
    assert replica.get("numbers") == {}


@pytest.mark.parametrize("key", ["todos", "rows", "empty", "plain"])
def test_list_of_dicts_becomes_records_at_its_first_edit(key: str) -> None:
    replica, peer = opened(2)
    added = {"text": "new", "done": True}
    edit(replica, key, VALUES[key], [*VALUES[key], added])
    assert replica.rule_name(key) == "records"
    assert equal(replica.get(key), [*VALUES[key], added])
    peer.apply(replica.diff())
    assert equal(peer.get(key), [*VALUES[key], added])


@pytest.mark.parametrize("key", ["names", "mixed"])
def test_other_list_stays_a_list(key: str) -> None:
    (replica,) = opened(1)
    edit(replica, key, VALUES[key], [*VALUES[key], {"a": 2}])
    assert replica.rule_name(key) == "list"


def test_R8_two_sessions_that_migrate_at_once_double_nothing() -> None:
    ada, ben = opened(2)
    ticked, shorter = deep_copy(VALUES["todos"]), VALUES["todos"][1:]
    ticked[1]["done"] = True
    edit(ada, "todos", VALUES["todos"], ticked)
    edit(ben, "todos", VALUES["todos"], [*shorter, {"text": "tea", "done": False}])
    sync(ada, ben)
    wanted = [{"text": "bread", "done": True}, MILK, {"text": "tea", "done": False}]
    assert equal(ada.get("todos"), wanted) and equal(ben.get("todos"), wanted)


def test_nested_list_of_an_older_document_merges() -> None:
    ada, ben = opened(2)
    for replica, card in ((ada, "ada"), (ben, "ben")):
        board = deep_copy(VALUES["board"])
        board["done"].append(board["todo"].pop(0))
        board["todo"].append(card)
        board["people"]["p1"]["tags"].add(card)
        edit(replica, "board", VALUES["board"], board)
    sync(ada, ben)
    board = ada.get("board")
    assert equal(ben.get("board"), board)
    assert sorted(board["todo"]) == ["ada", "ben", "wine"] and board["done"] == ["bread"]
    assert board["people"]["p1"]["tags"] == {"x", "ada", "ben"}


def test_edit_of_an_older_version_is_there_before_migration() -> None:
    (replica,) = opened(1)
    replica.apply(part("later_edit"))
    before = replica.get("todos")
    edit(replica, "todos", before, [*before, {"text": "tea", "done": False}])
    assert equal(
        replica.get("todos"), [{"text": "milk", "done": True}, BREAD, MILK, {"text": "tea", "done": False}]
    )


def test_edit_of_an_older_version_after_migration_doubles_nothing() -> None:
    (replica,) = opened(1)
    edit(replica, "todos", VALUES["todos"], [*VALUES["todos"], {"text": "tea", "done": False}])
    replica.apply(part("later_edit"))
    assert [todo["text"] for todo in replica.get("todos")] == ["milk", "bread", "milk", "tea"]
    assert replica.get("board")["done"] == ["tea"]
