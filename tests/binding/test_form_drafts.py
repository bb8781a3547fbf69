"""Drafts in form fields (P7)."""

from __future__ import annotations

import random

import pytest

from streamlit_crdt.binding.text_drafts import digest_of
from streamlit_crdt.binding.widgets import FormInfo, Widget
from streamlit_crdt.document.replica import Replica
from tests.support.binding_session import CLEARED, KEPT, FormPage, form_field, make_viewer


def two_pages(*widgets: Widget) -> tuple[FormPage, FormPage, Replica]:
    room = Replica()
    return FormPage(room, *widgets), FormPage(room, *widgets), room


@pytest.mark.parametrize("form", [KEPT, CLEARED], ids=["kept", "cleared"])
def test_P7_submitted_value_reaches_every_script(form: FormInfo) -> None:
    ada, bob, room = two_pages(form_field("size", form, 2))
    ada.draft(size=9)
    ada.act()
    assert room.keys() == []
    ada.submit(form)
    bob.run()
    assert (room.get("size"), ada.state["size"], bob.state["size"]) == (9, 9, 9)


def test_P7_kept_form_without_draft_shows_submitted_value() -> None:
    ada, bob, room = two_pages(form_field("size", KEPT, 2))
    ada.draft(size=9)
    ada.submit(KEPT)
    bob.run()
    assert bob.shows == {"size": 9}
    bob.submit(KEPT)
    assert room.get("size") == 9


def test_P7_value_is_withheld_only_from_field_with_draft() -> None:
    ada, bob, room = two_pages(form_field("size", KEPT, 2), form_field("seats", KEPT, 4))
    bob.draft(size=7)
    ada.draft(size=9, seats=6)
    ada.submit(KEPT)
    bob.run()
    bob.act()
    assert bob.state == {"size": 9, "seats": 6}
    assert bob.shows == {"size": 7, "seats": 6}
    assert room.get("size") == 9
    bob.submit(KEPT)
    ada.run()
    assert ada.shows == bob.shows == bob.state == {"size": 7, "seats": 6}


def test_P7_cleared_form_shows_each_user_their_own_input() -> None:
    ada, bob, room = two_pages(form_field("size", CLEARED, 2))
    ada.draft(size=9)
    ada.submit(CLEARED)
    bob.run()
    bob.act()
    assert (ada.shows, bob.shows) == ({"size": 2}, {"size": 2})
    assert (ada.state, bob.state, room.get("size")) == ({"size": 9}, {"size": 9}, 9)
    bob.submit(CLEARED)
    ada.run()
    ada.act()
    assert (ada.state, bob.state, room.get("size")) == ({"size": 2}, {"size": 2}, 2)


def test_R1_submit_of_the_rooms_value_is_no_edit() -> None:
    ada, bob, room = two_pages(form_field("size", CLEARED, 2))
    ada.draft(size=9)
    ada.submit(CLEARED)
    for page in (bob, ada):
        page.run()
        version = page.replica.version
        page.draft(size=9)
        page.submit(CLEARED)
        assert page.replica.version == version
    assert room.get("size") == 9


def test_P7_draft_sent_before_submit_is_no_edit() -> None:
    ada, bob, room = two_pages(form_field("size", KEPT, 2))
    ada.draft(size=9)
    ada.sent["size"] = 9  # as Streamlit's frontend does when it remounts the field
    ada.act()
    assert room.keys() == []
    ada.submit(KEPT)
    bob.run()
    assert bob.shows == {"size": 9}


def test_P7_submit_of_superseded_run_is_pushed_in_next_run() -> None:
    ada, bob, room = two_pages(form_field("size", CLEARED, 2))
    ada.draft(size=9)
    bob.submit(CLEARED)
    ada.sent["size"] = ada.drafts.pop("size")
    ada.receive({}, CLEARED.id)
    ada.state["size"] = 9  # the run ends here
    ada.act()
    assert room.get("size") == 9


def test_P7_assigned_value_is_shared_and_shown_in_its_session() -> None:
    ada, bob, room = two_pages(form_field("size", CLEARED, 2))
    ada.run(size=9)
    bob.run()
    assert (ada.shows, bob.shows) == ({"size": 9}, {"size": 2})
    assert (room.get("size"), bob.state["size"]) == (9, 9)


def test_P7_withheld_value_is_shown_after_draft_ends_unsubmitted() -> None:
    ada, bob, _room = two_pages(form_field("size", KEPT, 2))
    bob.draft(size=7)
    ada.draft(size=9)
    ada.submit(KEPT)
    bob.run()
    assert not bob.binding.needs_run()
    bob.drafts.clear()
    bob.shows["size"] = 2
    bob.report_drafts()
    assert bob.binding.needs_run()
    bob.run()
    assert bob.shows == {"size": 9}
    assert not bob.binding.needs_run()


def test_P7_draft_of_former_page_withholds_nothing() -> None:
    ada, bob, _room = two_pages(form_field("size", KEPT, 2))
    bob.draft(size=7)
    for leftovers in (bob.drafts, bob.shows, bob.sent, bob.state):
        leftovers.clear()  # the tab has not reported it yet
    bob.leave_page()
    ada.draft(size=9)
    ada.submit(KEPT)
    bob.run()
    assert bob.shows == bob.would_submit == {"size": 9}


def test_P7_viewers_form_is_not_shared_and_is_reverted() -> None:
    ada, bob, room = two_pages(form_field("size", CLEARED, 2), form_field("seats", KEPT, 4))
    ada.draft(size=9, seats=6)
    ada.submit(CLEARED)
    ada.submit(KEPT)
    make_viewer(bob.binding)
    bob.run()
    bob.draft(size=1, seats=1)
    bob.submit(CLEARED)
    bob.submit(KEPT)
    assert (room.get("size"), room.get("seats")) == (9, 6)
    assert bob.state == {"size": 9, "seats": 6}
    assert bob.shows == {"size": 2, "seats": 6}


def test_P7_text_draft_merges_with_later_submits() -> None:
    ada, bob, room = two_pages(form_field("notes", KEPT, "one\ntwo\n", "text_area"))
    bob.draft(notes="one\ntwo\nBob\n")
    ada.draft(notes="Ada\none\ntwo\n")
    ada.submit(KEPT)
    bob.run()
    assert bob.shows == {"notes": "one\ntwo\nBob\n"}
    bob.submit(KEPT)
    bob.run()
    assert room.get("notes") == "Ada\none\ntwo\nBob\n"
    assert bob.shows == {"notes": "Ada\none\ntwo\nBob\n"}


def test_P7_submit_of_cleared_form_replaces_former_submit() -> None:
    ada, bob, room = two_pages(form_field("notes", CLEARED, "", "text_area"))
    ada.draft(notes="from Ada")
    bob.draft(notes="from Bob")
    ada.submit(CLEARED)
    bob.submit(CLEARED)
    ada.run()
    assert room.get("notes") in ("from Ada", "from Bob")
    assert ada.state == bob.state == {"notes": room.get("notes")}


def test_P7_submit_of_cleared_form_replaces_even_with_text_rule() -> None:
    room, notes = Replica(), form_field("notes", CLEARED, "", "text_area")
    ada, bob = (FormPage(room, notes, merge={"notes": "text"}) for _ in range(2))
    ada.draft(notes="from Ada")
    ada.submit(CLEARED)
    bob.run()
    with bob.binding.locked() as keys:
        keys.drafts.note_open({"notes": (digest_of(""), 1)})
    bob.draft(notes="from Bob")
    bob.submit(CLEARED)
    assert room.get("notes") == "from Bob"


def test_P7_value_of_widget_outside_forms_is_never_withheld() -> None:
    ada, bob, room = two_pages(form_field("size", None, 2))
    ada.sent["size"] = 9
    ada.act()
    assert room.get("size") == 9
    bob.report_unsubmitted(bob.widgets["size"].element_id)
    bob.run()
    assert bob.shows == {"size": 9}


@pytest.mark.parametrize("seed", range(30))
def test_P7_random_actions_keep_shown_and_submitted_values_equal(seed: int) -> None:
    chance, room = random.Random(seed), Replica()
    widgets = (
        form_field("size", KEPT, 2),
        form_field("seats", CLEARED, 4),
        form_field("notes", KEPT, "", "text_area"),
    )
    pages = [FormPage(room, *widgets) for _ in range(3)]
    for step in range(60):
        page = chance.choice(pages)
        do = chance.randrange(6)
        if do == 0:
            page.draft(size=chance.randrange(100))
        elif do == 1:
            page.draft(seats=chance.randrange(100))
        elif do == 2:
            page.draft(notes=page.shows["notes"] + chance.choice("abc"))
        elif do == 3:
            page.submit(chance.choice([KEPT, CLEARED]))
        elif do == 4:
            page.act()
        else:
            page.run()
        assert page.shows == page.would_submit, (seed, step)
    for page in pages:
        page.submit(KEPT)
        page.submit(CLEARED)
    for page in pages:
        page.run()
        page.act()
        assert page.state == {key: room.get(key) for key in page.state}, seed
        assert page.shows == page.would_submit == {**page.state, "seats": 4}, seed
