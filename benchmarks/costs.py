"""CPU time of one change and of one script run, by the number of keys or items that do not change.

Each operation is measured at four sizes. A cost that depends on the change alone has the same time at all of them. The
time is that of the process, the least of several repetitions, so that other programs have little influence. A size is
left out if the size before it took so long that it would take more than `MAX_S`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy
import pandas

from streamlit_crdt.access.participant import Participant, User
from streamlit_crdt.access.room_context import RoomContext
from streamlit_crdt.binding import StateBinding
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.merge import RULES

DEFAULT_ROUNDS = 5
SIZES = (100, 1_000, 10_000, 100_000)

MAX_S = 30.0
"""Limit in seconds of the preparation and the repetitions of one size, by a linear estimate."""

FRAME_COLUMNS = 8

Operation = Callable[[int], object]
"""An operation that is repeated. Its argument is the number of the repetition."""


def run(rounds: int) -> None:
    """Print one line for each operation: its time at the first size, and the quotients at the others."""
    print(f"{'':44}" + "".join(f"{size:>12,}" for size in SIZES))
    for name, prepare in OPERATIONS.items():
        print(f"{name:44}" + "".join(f"{cell:>12}" for cell in _cells(prepare, rounds)), flush=True)


def _cells(prepare: Callable[[int], Operation], rounds: int) -> list[str]:
    cells, first, took_s, last = list[str](), 0.0, 0.0, SIZES[0]
    for size in SIZES:
        if took_s * size / last > MAX_S:
            cells.append("-")
            continue
        began_at = time.process_time()
        least = _measure(prepare(size), rounds)
        took_s, last = time.process_time() - began_at, size
        first = first or least
        cells.append(f"{least * 1000:.2f} ms" if size == SIZES[0] else f"{least / first:.1f} x")
    return cells


def _measure(operation: Operation, rounds: int) -> float:
    times = list[float]()
    for number in range(rounds + 1):
        began_at = time.process_time()
        operation(number)
        times.append(time.process_time() - began_at)
    return min(times[1:])


class BenchSession:
    """A session without Streamlit: session state, replica, and the binding between them."""

    def __init__(self) -> None:
        self.replica = Replica()
        context = RoomContext("room", Participant("editor", User("ada", "Ada")))
        self.binding = StateBinding(self.replica, context)
        self.state: dict[str, Any] = {}

    def run(self, body: Callable[[dict[str, Any]], object] | None = None) -> None:
        """Run a script whose statements are `body`."""
        binding, state = self.binding, self.state
        binding.push(state, None, is_synced=True, is_at_top=True)
        binding.begin_run()
        for write in binding.plan(state):
            binding.mark_written(write, state)
            state[write.key] = write.value
        if body is not None:
            body(state)
        binding.check_registered(state)
        binding.push(state, None, is_synced=True)
        binding.end_run(is_complete=True)

    def settle(self) -> None:
        for _ in range(3):
            self.run()


def remote_edit(size: int, *, with_run: bool) -> Operation:
    """Prepare a remote edit of one of `size` keys."""
    author, session, updates = Replica(), BenchSession(), list[bytes]()
    with author.transaction():
        for number in range(size):
            author.set(f"key{number}", number)
    session.replica.apply(author.diff())
    session.settle()
    author.subscribe(lambda update, origin: updates.append(update))

    def edit(number: int) -> None:
        session.replica.apply(updates[number])
        assert session.binding.needs_run()
        if with_run:
            session.run()

    for number in range(DEFAULT_ROUNDS * 20):
        author.set(f"key{number % size}", f"new {number}")
    return edit


def operation(
    rule: str, first: Callable[[int], Any], change: Callable[[Any, int], object]
) -> Callable[[int], Operation]:
    """Prepare an operation of a shared type on a value of `size` items."""

    def prepare(size: int) -> Operation:
        replica = Replica()
        replica.edit("k", None, first(size), RULES[rule])
        empty = type(first(0))()
        return lambda number: replica.operate("k", RULES[rule], empty, lambda editor: change(editor, number))

    return prepare


def unchanged(make: Callable[[int], Any]) -> Callable[[int], Operation]:
    """Prepare a run of a script that does not change a value of `size` rows or items."""

    def prepare(size: int) -> Operation:
        session = BenchSession()
        session.state["value"] = make(size)
        session.settle()
        return lambda number: session.run()

    return prepare


def append_in_script(item: Callable[[int], Any]) -> Callable[[int], Operation]:
    """Prepare `st.session_state.chat.append(...)` in a script."""

    def prepare(size: int) -> Operation:
        session = BenchSession()
        session.state["chat"] = [item(number) for number in range(size)]
        session.settle()
        return lambda number: session.run(lambda state: state["chat"].append(item(size + number)))

    return prepare


def message(number: int) -> dict[str, str]:
    return {"who": "Ada", "text": f"message {number}"}


def frame(rows: int) -> pandas.DataFrame:
    random = numpy.random.default_rng(1)
    table = pandas.DataFrame(random.normal(size=(rows, FRAME_COLUMNS)), columns=list("abcdefgh"))
    return table.assign(city=random.choice(["Ulm", "Bonn"], rows))


OPERATIONS: dict[str, Callable[[int], Operation]] = {
    "remote edit of one of n keys: apply": lambda size: remote_edit(size, with_run=False),
    "remote edit of one of n keys: apply and run": lambda size: remote_edit(size, with_run=True),
    "room.list(k).append, n texts": operation(
        "list",
        lambda size: [f"text {number}" for number in range(size)],
        lambda editor, number: editor.insert(2**30, [number]),
    ),
    "room.set(k).add, n texts": operation(
        "set", lambda size: {f"text {number}" for number in range(size)}, lambda editor, number: editor.add(number)
    ),
    "room.text(k).append, n characters": operation(
        "text", lambda size: "x" * size, lambda editor, number: editor.insert(len(editor.content), "y")
    ),
    "run, unchanged frame of n x 9": unchanged(frame),
    "run, unchanged list of n dicts": unchanged(lambda size: [message(number) for number in range(size)]),
    "run, unchanged dict of n texts": unchanged(lambda size: {f"k{number}": "text" for number in range(size)}),
    "list.append in a script, n texts": append_in_script(lambda number: f"text {number}"),
    "list.append in a script, n dicts": append_in_script(message),
}  # fmt: skip
"""Operations by their name in the table."""
