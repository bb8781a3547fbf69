"""A to-do list and a board, which people change by buttons."""

import json
import os

import streamlit as st

from streamlit_crdt import crdt_sync

with crdt_sync(st.query_params.get("room", "records"), server=os.environ.get("CRDT_SERVER")):
    st.session_state.setdefault(
        "todos", [{"text": text, "done": False} for text in ("milk", "bread", "eggs")]
    )
    st.session_state.setdefault("board", {"todo": ["bread", "wine"], "doing": [], "done": []})
todos, board = st.session_state.todos, st.session_state.board


def find(text: str) -> list[dict]:
    return [todo for todo in todos if todo["text"] == text]


def move(card: str, column: str) -> None:
    if card in board["todo"]:
        board["todo"].remove(card)
        board[column].append(card)


if st.button("Tick bread"):
    for todo in find("bread"):
        todo["done"] = True
if st.button("Delete milk"):
    for todo in find("milk"):
        todos.remove(todo)
if st.button("Sort"):
    todos.sort(key=lambda todo: todo["text"])
if st.button("Finish wine"):
    move("wine", "done")
if st.button("Begin wine"):
    move("wine", "doing")
for card in ("tea", "rice"):
    if st.button(f"Add {card}"):
        board["todo"].append(card)

with st.container(key="state"):
    st.text(
        json.dumps(
            {
                "todos": [todo["text"] + "-+"[todo["done"]] for todo in todos],
                "cards": sorted(card for column in board.values() for card in column),
                "moved": sorted(board["doing"] + board["done"]),
            }
        )
    )
