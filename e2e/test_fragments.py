"""Apps with fragments: shared edits in fragments, remote edits that reach them, and timers."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import pytest

from e2e.conftest import OpenTab, StartApp
from e2e.drivers import set_number, set_slider, set_text, shown_slider, shown_text
from e2e.harness import Deployment
from e2e.polling import eventually, settles_on
from e2e.tab import Tab

ROUNDS = 3


@pytest.mark.floor
@pytest.mark.parametrize("query", ["every=0", "every=0&inside=1"], ids=["synced above", "synced inside"])
def test_edits_inside_a_fragment_are_shared_in_both_directions(
    shared_app: StartApp, tab: OpenTab, room: str, query: str
) -> None:
    app = shared_app("ticking.py", Deployment.EMBEDDED)
    one, two = tab(app, room=room, path=f"/?{query}"), tab(app, room=room, path=f"/?{query}")
    for number, (editor, other) in enumerate([(one, two), (two, one)], start=1):
        set_slider(editor, "inner", 2)
        for each in (other, editor):
            each.eventually_shows("inner", 2 * number, in_state="panel")
            settles_on(functools.partial(shown_slider, each, "inner"), [str(2 * number)])
        set_slider(editor, "inner, without a key", 3)
        for each in (other, editor):
            each.eventually_shows("unkeyed", 3 * number, in_state="panel")
            settles_on(functools.partial(shown_slider, each, "inner, without a key"), [str(3 * number)])


def test_fragments_on_timers_lose_no_edit(shared_app: StartApp, tab: OpenTab, room: str) -> None:
    app = shared_app("ticking.py", Deployment.EMBEDDED)
    one, two = tab(app, room=room), tab(app, room=room)
    for number in range(1, ROUNDS + 1):
        for label, editor, other in (("outer", one, two), ("inner", two, one), ("plain", one, two)):
            set_slider(editor, label, 1)
            set_number(other, "number", 10 * number)
        set_text(two, "note", f"note {number}")
        expect_converged(
            [one, two], {"outer": number, "inner": number, "plain": number, "number": 10 * number}
        )
        for editor, value in ((one, 1), (two, 2)):
            set_number(editor, "number", 10 * number + value)
        expect_converged(
            [one, two], {"outer": number, "inner": number, "plain": number, "note": f"note {number}"}
        )
        assert number_of(one) in (10 * number + 1, 10 * number + 2)


def expect_converged(tabs: Sequence[Tab], expected: dict[str, object]) -> None:
    """Wait until widgets and scripts of all tabs show equal values, including the expected ones."""

    def look() -> bool:
        shown = [visible_values(tab) for tab in tabs]
        assert all(one == shown[0] for one in shown), shown
        for source in shown[0].values():
            wrong = {
                key: source[key] for key in source.keys() & expected.keys() if source[key] != expected[key]
            }
            assert not wrong, shown
        return True

    eventually(look, why=f"all tabs show {expected}")


def visible_values(tab: Tab) -> dict[str, dict[str, object]]:
    """Return the values of the widgets, of the script and of its fragment."""
    script, fragment = tab.state(), tab.state("panel")
    del script["runs"]
    sliders = {label: int(shown_slider(tab, label)[0]) for label in ("outer", "plain", "inner")}
    return {
        "widgets": {**sliders, "number": number_of(tab), "note": shown_text(tab, "note")},
        "script": script,
        "fragment": fragment,
    }


def number_of(tab: Tab) -> int:
    return int(shown_text(tab, "number"))
