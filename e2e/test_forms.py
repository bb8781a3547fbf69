"""Forms: drafts, submits and cleared fields in two tabs (P7)."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Mapping
from typing import Any, Final

import pytest

from e2e import drivers as d
from e2e.conftest import OpenTab, StartApp
from e2e.harness import Deployment, RunningApp
from e2e.polling import eventually, settles_on
from e2e.tab import Tab

Values = Mapping[str, Any]

DEFAULTS: Final[Values] = {
    "text": "", "area": "", "number": 5, "date": "2024-05-01",
    "slider": 2, "select": "red", "multi": [], "check": False,
}  # fmt: skip
ADAS: Final[Values] = {
    "text": "from Ada", "area": "one\ntwo", "number": 42, "date": "2024-06-02",
    "slider": 5, "select": "blue", "multi": ["green"], "check": True,
}  # fmt: skip
BOBS: Final[Values] = {
    "text": "from Bob", "area": "one", "number": 7, "date": "2024-07-03",
    "slider": 4, "select": "green", "multi": ["blue"], "check": True,
}  # fmt: skip


@pytest.fixture
def app(shared_app: StartApp) -> RunningApp:
    return shared_app("forms.py", Deployment.EMBEDDED)


def fill(tab: Tab, form: str, values: Values) -> None:
    """Fill the fields of a form from their defaults, without a submit."""
    for name, value in values.items():
        label = f"{form} {name}"
        if name in ("text", "area", "number"):
            d.write(tab, label, str(value))
        elif name == "date":
            d.set_date(tab, label, dt.date.fromisoformat(value))
        elif name == "slider":
            d.set_slider(tab, label, value - int(d.shown_slider(tab, label)[0]))
        elif name == "select":
            d.choose(tab, label, value)
        elif name == "multi":
            for option in value:
                d.choose_also(tab, label, option)
        else:
            d.set_checkbox(tab, label, value)


def shown(tab: Tab, form: str) -> Values:
    """Return the visible values of the fields of a form."""
    year, month, day = d.shown_segments(tab, "stDateInput", f"{form} date")
    return {
        "text": d.shown_text(tab, f"{form} text"),
        "area": d.shown_text(tab, f"{form} area"),
        "number": int(d.shown_text(tab, f"{form} number")),
        "date": f"{year:04}-{month:02}-{day:02}",
        "slider": int(d.shown_slider(tab, f"{form} slider")[0]),
        "select": d.shown_choice(tab, f"{form} select"),
        "multi": d.shown_choices(tab, f"{form} multi"),
        "check": d.shown_checkbox(tab, f"{form} check"),
    }


def shown_question(tab: Tab) -> tuple[str, int]:
    return d.shown_text(tab, "question"), int(d.shown_slider(tab, "urgency")[0])


def settle_on(form: str, submitted: Values, *visible: tuple[Tab, Values]) -> None:
    """Wait until the scripts of the tabs have the submitted values, and their fields show the visible values."""
    for tab, _ in visible:
        tab.eventually_shows(form, submitted)
    for tab, values in visible:
        settles_on(functools.partial(shown, tab, form), values)


def test_P7_form_without_drafts_shows_a_remote_submit(app: RunningApp, tab: OpenTab, room: str) -> None:
    ada, bob = tab(app, room=room), tab(app, room=room)
    fill(ada, "keep", ADAS)
    settle_on("keep", DEFAULTS, (ada, ADAS), (bob, DEFAULTS))
    d.click(ada, "Save")
    settle_on("keep", ADAS, (ada, ADAS), (bob, ADAS))
    d.click(bob, "Save and close")  # unchanged values, so the submit changes nothing
    bob.eventually_shows("pressed", ["Save and close"])
    d.set_slider(bob, "keep slider", 1)
    d.click(bob, "Save")
    settle_on("keep", {**ADAS, "slider": 6}, (ada, {**ADAS, "slider": 6}), (bob, {**ADAS, "slider": 6}))
    assert ada.state()["pressed"] == ["Save"]
    assert bob.state()["pressed"] == ["Save and close", "Save"]


@pytest.mark.floor
def test_P7_draft_survives_a_remote_submit_and_is_submitted(app: RunningApp, tab: OpenTab, room: str) -> None:
    ada, bob = tab(app, room=room), tab(app, room=room)
    fill(bob, "keep", BOBS)
    fill(ada, "keep", ADAS)
    d.click(ada, "Save")
    settle_on("keep", ADAS, (ada, ADAS), (bob, BOBS))
    d.click(bob, "rerun")
    d.set_checkbox(ada, "outside", True)
    settle_on("keep", ADAS, (ada, ADAS), (bob, BOBS))
    d.click(bob, "Save")
    # Both sessions inserted text into the empty area, and options into the empty selection, so these merge.
    state = ada.state
    eventually(lambda: state()["keep"]["text"] == "from Bob", why="Bob's submit has arrived")
    merged = state()["keep"]
    assert {**merged, "area": "", "multi": []} == {**BOBS, "area": "", "multi": []}
    assert merged["multi"] == ["green", "blue"]
    assert sorted(merged["area"]) == sorted("one" + "one\ntwo")
    settle_on("keep", merged, (ada, merged), (bob, merged))


def test_P7_fields_without_a_draft_take_a_remote_submit(app: RunningApp, tab: OpenTab, room: str) -> None:
    ada, bob = tab(app, room=room), tab(app, room=room)
    drafts = {name: BOBS[name] for name in ("text", "slider", "select")}
    fill(bob, "keep", drafts)
    fill(ada, "keep", {"slider": 9, "number": 42, "check": True})
    d.click(ada, "Save")
    submitted = {**DEFAULTS, "slider": 9, "number": 42, "check": True}
    settle_on("keep", submitted, (ada, submitted), (bob, {**submitted, **drafts}))
    bob.page.get_by_label("keep text", exact=True).press("Enter")
    everywhere = {**submitted, **drafts}
    settle_on("keep", everywhere, (ada, everywhere), (bob, everywhere))
    assert bob.state()["pressed"] == ["Save"]
    fill(ada, "keep", {"text": "again"})
    d.click(ada, "Save")
    again = {**everywhere, "text": "again"}
    settle_on("keep", again, (ada, again), (bob, again))


@pytest.mark.floor
def test_P7_cleared_form_is_clear_everywhere_and_sends_its_fields(
    app: RunningApp, tab: OpenTab, room: str
) -> None:
    ada, bob = tab(app, room=room), tab(app, room=room)
    fill(ada, "clear", ADAS)
    d.click(ada, "Send ✉️")
    settle_on("clear", ADAS, (ada, DEFAULTS), (bob, DEFAULTS))
    for tab_ in (ada, bob):
        d.click(tab_, "rerun")
        d.set_checkbox(tab_, "outside", tab_ is ada)
        settles_on(lambda: [d.shown_checkbox(one, "outside") for one in (ada, bob)], [tab_ is ada] * 2)
    settle_on("clear", ADAS, (ada, DEFAULTS), (bob, DEFAULTS))
    d.set_slider(bob, "clear slider", 2)
    d.click(bob, "Send ✉️")
    settle_on("clear", {**DEFAULTS, "slider": 4}, (ada, DEFAULTS), (bob, DEFAULTS))
    d.click(ada, "Send ✉️")
    settle_on("clear", DEFAULTS, (ada, DEFAULTS), (bob, DEFAULTS))
    assert (ada.state()["pressed"], bob.state()["pressed"]) == (["Send", "Send"], ["Send"])


@pytest.mark.floor
def test_P7_draft_in_a_clearing_form_survives_a_remote_submit(
    app: RunningApp, tab: OpenTab, room: str
) -> None:
    ada, bob = tab(app, room=room), tab(app, room=room)
    drafts = {name: BOBS[name] for name in ("area", "slider", "select", "check")}
    bobs, adas = {**DEFAULTS, **drafts}, {**DEFAULTS, "area": "from Ada", "number": 42, "slider": 9}
    fill(bob, "clear", drafts)
    fill(ada, "clear", {name: adas[name] for name in ("area", "number", "slider")})
    d.click(ada, "Send ✉️")
    settle_on("clear", adas, (ada, DEFAULTS), (bob, bobs))
    d.click(bob, "rerun")
    settle_on("clear", adas, (ada, DEFAULTS), (bob, bobs))
    d.click(bob, "Send ✉️")
    settle_on("clear", bobs, (ada, DEFAULTS), (bob, DEFAULTS))


def test_P7_new_session_has_submitted_values_and_clear_fields(
    app: RunningApp, tab: OpenTab, room: str
) -> None:
    ada = tab(app, room=room)
    sent = {**DEFAULTS, "text": "from Ada", "number": 42, "check": True}
    fill(ada, "clear", {name: sent[name] for name in ("text", "number", "check")})
    d.click(ada, "Send ✉️")
    fill(ada, "keep", {"slider": 5})
    d.click(ada, "Save")
    bob = tab(app, room=room)
    settle_on("clear", sent, (bob, DEFAULTS))
    settle_on("keep", {**DEFAULTS, "slider": 5}, (bob, {**DEFAULTS, "slider": 5}))
    ada.reload()
    d.click(bob, "rerun")
    settle_on("clear", sent, (ada, DEFAULTS), (bob, DEFAULTS))
    d.click(bob, "Send ✉️")
    settle_on("clear", DEFAULTS, (ada, DEFAULTS), (bob, DEFAULTS))


@pytest.mark.floor
def test_P7_form_in_a_fragment_is_cleared_and_shared(app: RunningApp, tab: OpenTab, room: str) -> None:
    ada, bob = tab(app, room=room), tab(app, room=room)

    def expect_asked(question: str, urgency: int) -> None:
        for tab_ in (ada, bob):
            settles_on(functools.partial(tab_.state, "asked"), {"question": question, "urgency": urgency})

    d.set_slider(ada, "urgency", 3)
    d.type_draft(ada, "question", "why?")
    ada.page.get_by_label("question", exact=True).press("Enter")
    expect_asked("why?", 3)
    for tab_ in (ada, bob):
        d.click(tab_, "again")
        settles_on(functools.partial(shown_question, tab_), ("", 0))
    expect_asked("why?", 3)
    d.type_draft(bob, "question", "how?")
    d.click(bob, "Ask")
    expect_asked("how?", 0)


def test_P7_value_assigned_to_a_form_with_drafts_is_submitted(
    app: RunningApp, tab: OpenTab, room: str
) -> None:
    ada, bob = tab(app, room=room), tab(app, room=room)
    d.click(bob, "Send ✉️")  # Streamlit clears the fields to drafts
    bob.eventually_shows("pressed", ["Send"])
    fill(bob, "keep", {"text": "a draft", "slider": 7})
    d.click(bob, "prefill")
    kept, sent = {**DEFAULTS, "text": "from a template"}, {**DEFAULTS, "select": "blue"}
    settle_on("keep", kept, (bob, {**kept, "slider": 7}), (ada, kept))
    settle_on("clear", sent, (bob, sent), (ada, DEFAULTS))
    d.click(bob, "Save")
    d.click(bob, "Send ✉️")
    settle_on("keep", {**kept, "slider": 7}, (ada, {**kept, "slider": 7}), (bob, {**kept, "slider": 7}))
    settle_on("clear", sent, (bob, DEFAULTS), (ada, DEFAULTS))
