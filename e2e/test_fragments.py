"""Apps with fragments of their own: edits in them are shared, remote ones reach them, and their timers lose nothing."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import pytest

from e2e.conftest import OpenTab, StartApp
from e2e.drivers import set_number, set_slider, set_text, shown_slider, shown_text
from e2e.harness import Way
from e2e.polling import eventually, settles_on
from e2e.tab import Tab

ROUNDS = 5


@pytest.mark.floor
@pytest.mark.parametrize("where", ["every=0", "every=0&inside=1"], ids=["synced above", "synced inside"])
def test_fragments_edits_inside_a_fragment_are_shared_and_remote_ones_reach_it(
    shared_app: StartApp, tab: OpenTab, room: str, where: str
) -> None:
    app = shared_app("ticking.py", Way.EMBEDDED)
    one, two = tab(app, room=room, path=f"/?{where}"), tab(app, room=room, path=f"/?{where}")
    for number, (editor, other) in enumerate([(one, two), (two, one)], start=1):
        set_slider(editor, "inner", 2)
        for each in (other, editor):
            each.eventually_shows("inner", 2 * number, in_state="panel")
            settles_on(functools.partial(shown_slider, each, "inner"), [str(2 * number)])
        set_slider(editor, "inner, without a key", 3)
        for each in (other, editor):
            each.eventually_shows("unkeyed", 3 * number, in_state="panel")
            settles_on(functools.partial(shown_slider, each, "inner, without a key"), [str(3 * number)])


def test_no_edit_is_lost_in_an_app_whose_fragments_run_on_timers(
    shared_app: StartApp, tab: OpenTab, room: str
) -> None:
    app = shared_app("ticking.py", Way.EMBEDDED)
    one, two = tab(app, room=room), tab(app, room=room)
    for number in range(1, ROUNDS + 1):
        for label, editor, other in (("outer", one, two), ("inner", two, one), ("plain", one, two)):
            set_slider(editor, label, 1)
            set_number(other, "number", 10 * number)
        set_text(two, "note", f"note {number}")
        agree([one, two], {"outer": number, "inner": number, "plain": number, "number": 10 * number})
        for editor, value in ((one, 1), (two, 2)):
            set_number(editor, "number", 10 * number + value)
        agree([one, two], {"outer": number, "inner": number, "plain": number, "note": f"note {number}"})
        assert number_of(one) in (10 * number + 1, 10 * number + 2)


def agree(tabs: Sequence[Tab], expected: dict[str, object]) -> None:
    """Wait until all widgets and scripts of all tabs show the same, and what is expected."""

    def look() -> bool:
        shown = [everything(tab) for tab in tabs]
        assert all(one == shown[0] for one in shown), shown
        for source in shown[0].values():
            wrong = {
                key: source[key] for key in source.keys() & expected.keys() if source[key] != expected[key]
            }
            assert not wrong, shown
        return True

    eventually(look, why=f"all tabs show {expected}")


def everything(tab: Tab) -> dict[str, dict[str, object]]:
    """Return what the widgets show, what the script has printed and what its fragment has."""
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
