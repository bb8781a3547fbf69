"""Plain values of every shareable type keep their Python type through pycrdt and Yjs."""

from __future__ import annotations

from e2e import drivers as d
from e2e.conftest import OpenTab, StartApp
from e2e.harness import Deployment
from e2e.polling import eventually, settles_on

TYPES = {
    "int": "int", "float": "float", "bool": "bool", "none": "NoneType", "false": "bool", "zero": "int", "empty": "str",
    "str": "str", "bytes": "bytes", "list": "list",
    "tuple": "tuple", "set": "set", "dict": "dict", "date": "date", "time": "time", "datetime": "datetime",
    "utc": "datetime", "zone": "datetime", "timedelta": "timedelta", "decimal": "Decimal", "uuid": "UUID",
    "numpy": "float32", "timestamp": "Timestamp", "array": "ndarray", "series": "Series", "frame": "DataFrame",
}  # fmt: skip


def test_every_plain_value_keeps_its_type(shared_app: StartApp, tab: OpenTab, room: str) -> None:
    app = shared_app("plain.py", Deployment.STANDALONE)
    one, two = tab(app, room=room), tab(app, room=room)
    d.click(one, "assign")
    eventually(lambda: TYPES.keys() <= one.state().keys(), why="the assigning session shows all values")
    assigned = {name: one.state()[name] for name in TYPES}
    assert {name: shown[0] for name, shown in assigned.items()} == TYPES
    settles_on(lambda: {name: two.state().get(name) for name in TYPES}, assigned)
    late = tab(app, room=room)
    settles_on(lambda: {name: late.state().get(name) for name in TYPES}, assigned)


def test_P3_deletion_is_shared_and_a_hidden_widget_is_not_deleted(
    shared_app: StartApp, tab: OpenTab, room: str
) -> None:
    app = shared_app("plain.py", Deployment.EMBEDDED)
    one, two = tab(app, room=room), tab(app, room=room)
    d.click(one, "assign")
    two.eventually_shows("int", ["int", "7"])
    d.set_number(one, "seldom", 4)
    two.eventually_shows("seldom", 4)
    d.set_checkbox(two, "hide", True)
    two.page.get_by_label("seldom").wait_for(state="detached")
    d.click(two, "forget")
    eventually(
        lambda: "int" not in one.state() and "int" not in two.state(),
        why="both sessions have deleted the value",
    )
    assert one.state()["seldom"] == 4
    d.set_number(one, "seldom", 5)
    d.set_checkbox(two, "hide", False)
    for tab_ in (one, two):
        tab_.eventually_shows("seldom", 5)
    settles_on(lambda: d.shown_text(two, "seldom"), "5")


def test_R5_unshareable_value_raises_only_in_its_session(
    shared_app: StartApp, tab: OpenTab, room: str
) -> None:
    app = shared_app("plain.py", Deployment.EMBEDDED)
    one, two = tab(app, room=room), tab(app, room=room)
    d.click(one, "lock")
    eventually(one.exceptions, why="the page shows the error")
    assert "lock" in one.exceptions()[0]
    assert "object" in one.exceptions()[0]
    d.click(two, "click")
    two.eventually_shows("clicks", 1)
    assert two.exceptions() == []
    d.click(one, "unlock")
    one.eventually_shows("clicks", 1)
