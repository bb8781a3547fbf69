"""Lists of dicts and nested containers in `st.session_state`, edited by several people at the same moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from streamlit_crdt.testing import sessions_of


def tasks_app() -> None:
    from datetime import date

    import pandas as pd
    import streamlit as st

    from streamlit_crdt import crdt_sync

    with crdt_sync("todo", merge={"stock": "records:sku"}):
        empty = {"done": False, "who": ""}
        st.session_state.setdefault("tasks", [{"what": what, **empty} for what in ("bread", "wine", "tea")])
        st.session_state.setdefault("stock", [{"sku": "a", "count": 1}, {"sku": "b", "count": 1}])
        st.session_state.setdefault("rows", [{"id": 1, "day": None, "table": None, "parts": []}])
        st.session_state.setdefault("log", [])
    tasks, stock, row = st.session_state.tasks, st.session_state.stock, st.session_state.rows[0]
    me = st.query_params["who"]
    acts = {
        "tick": lambda: tasks[0].update(done=True),
        "take": lambda: tasks[0].update(who=me),
        "delete": lambda: tasks.pop(0),
        "up": lambda: tasks.insert(0, tasks.pop(1)),
        "insert": lambda: tasks.insert(1, {"what": me, **empty}),
        "sort": lambda: tasks.sort(key=lambda task: task["what"]),
        "sort down": lambda: tasks.sort(key=lambda task: task["what"], reverse=True),
        "rebuild": lambda: st.session_state.update(tasks=[{**task, "who": me} for task in tasks]),
        "replace": lambda: tasks.__setitem__(0, {"what": "rice", "done": True, "who": me}),
        "none": lambda: st.session_state.update(tasks=None),
        "more a": lambda: stock[0].update(count=5),
        "reverse": lambda: st.session_state.update(stock=[dict(item) for item in reversed(stock)]),
        "rename": lambda: stock[0].update(sku="c"),
        "day": lambda: row.update(day=date(2026, 1, 2)),
        "table": lambda: row.update(table=pd.DataFrame({"x": [1]})),
        "part": lambda: row["parts"].append({"name": me}),
        "say": lambda: st.session_state.log.append({"text": "hi"}),
    }
    for name, act in acts.items():
        if st.button(name, key=name):
            act()


def board_app() -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    with crdt_sync("board"):
        st.session_state.setdefault(
            "board", {"todo": [{"t": "bread"}, {"t": "wine"}], "doing": [], "done": []}
        )
        st.session_state.setdefault("people", {"p1": {"tags": {"x"}}})
    board, people, me = st.session_state.board, st.session_state.people, st.query_params["who"]
    if st.button("add", key="add"):
        board["todo"].append({"t": me})
    if st.button("finish", key="finish"):
        board["done"].append(board["todo"].pop(0))
    if st.button("begin", key="begin"):
        board["doing"].append(board["todo"].pop(0))
    if st.button("finish second", key="finish second"):
        board["done"].append(board["todo"].pop(1))
    if st.button("name", key="name"):
        board["todo"][1]["t"] = me
    if st.button("tag", key="tag"):
        people["p1"]["tags"].add(me)
    if st.button("column", key="column"):
        board.setdefault("new", []).append({"t": me})


def click(person: AppTest, key: str) -> None:
    person.button(key=key).click().run()


def after(app: Callable[[], None], room: str, *acts: str) -> dict[str, Any]:
    """Return the values of the room after acts of one person each, who have not heard of each other."""
    with sessions_of(app, 0) as people:
        everybody = [people.join(query_params={"who": who}) for who in ("ada", "ben", "cay")[: len(acts)]]
        people.settle()
        with people.apart():
            for person, act in zip(everybody, acts, strict=True):
                click(person, act)
        people.settle()
        return dict(people.values_in(room))


def names(value: Any) -> list[str]:
    return [task["what"] + "+" * task["done"] + task["who"] for task in value]


@pytest.mark.parametrize(
    ("acts", "wanted"),
    [
        (("tick", "tick", "take"), ["bread+cay", "wine", "tea"]),
        (("tick", "delete", "delete"), ["wine", "tea"]),
        (("delete", "up"), ["wine", "tea"]),
        (("up", "up", "tick"), ["wine", "bread+", "tea"]),
        (("insert", "delete"), ["ada", "wine", "tea"]),
        (("sort down", "tick"), ["wine", "tea", "bread+"]),
        (("rebuild", "tick"), ["bread+ada", "wineada", "teaada"]),
        (("replace", "delete"), ["wine", "tea"]),
    ],
)
def test_tasks_have_all_edits_once(acts: tuple[str, ...], wanted: list[str]) -> None:
    assert names(after(tasks_app, "todo", *acts)["tasks"]) == wanted


@pytest.mark.parametrize(
    ("acts", "wanted"),
    [
        (("sort", "sort down", "insert"), ["bread", "cay", "tea", "wine"]),
        (("insert", "insert", "up"), ["ada", "ben", "bread", "tea", "wine"]),
    ],
)
def test_tasks_are_all_there_in_some_order(acts: tuple[str, ...], wanted: list[str]) -> None:
    tasks = after(tasks_app, "todo", *acts)["tasks"]
    assert sorted(task["what"] for task in tasks) == wanted


def test_id_field_of_the_author_identifies_rebuilt_items() -> None:
    assert after(tasks_app, "todo", "more a", "reverse")["stock"] == [
        {"sku": "b", "count": 1},
        {"sku": "a", "count": 5},
    ]
    assert after(tasks_app, "todo", "rename", "more a")["stock"][0] == {"sku": "c", "count": 5}


def test_fields_of_any_type_merge_in_one_record() -> None:
    (row,) = after(tasks_app, "todo", "day", "table", "part")["rows"]
    assert (
        str(row["day"]) == "2026-01-02"
        and row["table"]["x"].tolist() == [1]
        and row["parts"] == [{"name": "cay"}]
    )
    (row,) = after(tasks_app, "todo", "part", "part", "day")["rows"]
    assert sorted(part["name"] for part in row["parts"]) == ["ada", "ben"]


def test_equal_messages_of_two_people_are_two_and_none_replaces_records() -> None:
    assert after(tasks_app, "todo", "say", "say")["log"] == [{"text": "hi"}, {"text": "hi"}]
    assert after(tasks_app, "todo", "none", "say")["tasks"] is None


@pytest.mark.parametrize(
    ("acts", "todo", "finished"),
    [
        (("add", "add", "finish"), ["ada", "ben", "wine"], ["bread"]),
        (("finish", "finish", "finish second"), [], ["bread", "wine"]),
        (("finish", "begin", "name"), ["cay"], ["bread"]),
    ],
)
def test_card_of_a_board_is_in_one_column(
    acts: tuple[str, ...], todo: list[str], finished: list[str]
) -> None:
    board = after(board_app, "board", *acts)["board"]
    cards = {name: sorted(card["t"] for card in column) for name, column in board.items()}
    assert (cards["todo"], sorted(cards["doing"] + cards["done"])) == (todo, finished)


def test_sets_and_new_columns_of_two_people_merge() -> None:
    values = after(board_app, "board", "tag", "tag", "column")
    assert values["people"]["p1"]["tags"] == {"x", "ada", "ben"} and values["board"]["new"] == [{"t": "cay"}]
    board = after(board_app, "board", "column", "column")["board"]
    assert sorted(card["t"] for card in board["new"]) == ["ada", "ben"]
