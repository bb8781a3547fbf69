"""What the fields of forms do to a session and its room, without Streamlit (P7)."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from streamlit_crdt.binding import StateBinding
from streamlit_crdt.binding.text_drafts import digest_of
from streamlit_crdt.binding.widgets import ClientState, FormInfo, Widget
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.merge import MergePolicy, MergeRule

KEPT, CLEARED = FormInfo("kept"), FormInfo("cleared", clears=True)


def field(key: str, form: FormInfo | None, default: Any, kind: str = "number_input") -> Widget:
    def deserialize(value: Any) -> Any:
        return default if value is None else value

    return Widget(key, f"$$ID-hash-{key}", kind, True, lambda value: value, deserialize, form=form)


class Page:
    """A session and its page, run by hand.

    Attributes:
        sent: what the page says of each field in every message.
        drafts: what it will send with the form.
        shows: what stands in each field.
    """

    def __init__(self, room: Replica, *widgets: Widget, merge: Mapping[str, MergeRule] | None = None) -> None:
        self.room = room
        self.replica = Replica()
        self.replica.apply(room.diff())
        self.mirror = StateBinding(self.replica, lambda _key: True, MergePolicy(merge or {}).rule)
        self.widgets = {widget.key: widget for widget in widgets}
        self.state: dict[str, Any] = {}
        self.sent: dict[str, Any] = {}
        self.drafts: dict[str, Any] = {}
        self.shows: dict[str, Any] = {}
        self.last: dict[str, bytes] = {}
        self.run()

    @property
    def would_submit(self) -> dict[str, Any]:
        return {key: self.drafts.get(key, self.sent[key]) for key in self.widgets}

    def draft(self, **values: Any) -> None:
        """Fill in fields; the tab tells the session of it."""
        self.drafts.update(values)
        self.shows.update(values)
        self.tell()

    def tell(self) -> None:
        kept = (key for key in self.drafts if self.widgets[key].form == KEPT)
        self.mirror.note_unsubmitted([self.widgets[key].element_id for key in kept])

    def submit(self, form: FormInfo) -> None:
        """Submit a form as Streamlit's page does; a cleared one then holds its defaults as drafts."""
        keys = [key for key, widget in self.widgets.items() if widget.form == form]
        for key in keys:
            if key in self.drafts:
                self.sent[key] = self.drafts.pop(key)
        self.act(form.id)
        if form.clears:
            self.draft(**{key: self.widgets[key].deserialize(None) for key in keys})
        self.tell()

    def act(self, *submitted: str) -> None:
        """Send a message, with what was clicked."""
        elements = {self.widgets[key].element_id: key for key in self.sent}
        states = {element: repr(self.sent[key]).encode() for element, key in elements.items()}
        message = ClientState(states, frozenset(submitted), self.last)
        self.last = states
        outdated = self.mirror.receive(states, frozenset(submitted))
        self.state.update(
            {key: self.sent[key] for element, key in elements.items() if element not in outdated}
        )
        self.run(message)

    def run(self, message: ClientState | None = None, **assigned: Any) -> None:
        self.state.update(assigned)
        self.mirror.push(self.state, message, synced=True, at_top=True, assigned=set(assigned))
        self.mirror.begin_run()
        self.replica.apply(self.room.diff())
        before, new = dict(self.state), set(assigned)
        for write in self.mirror.plan(before):
            self.state[write.key] = write.value
            self.mirror.wrote(write, before)
            new.add(write.key)
        for key, widget in self.widgets.items():
            self.draw(key, widget, is_new=key in new)
        self.mirror.check_drawn(self.state)
        self.mirror.push(self.state, message, synced=True)
        self.mirror.end_run(complete=True, remote=False)
        self.room.apply(self.replica.diff())

    def draw(self, key: str, widget: Widget, *, is_new: bool) -> None:
        value = self.state.setdefault(key, widget.deserialize(None))
        tells = is_new and not self.mirror.withholds(widget, value, assigned=True)
        self.mirror.drew(widget, value, assigned=is_new)
        self.sent.setdefault(key, widget.deserialize(None))
        self.shows.setdefault(key, widget.deserialize(None))
        if tells:
            self.sent[key] = self.shows[key] = (
                value  # over a draft, too, which the page then submits all the same
            )


def two_pages(*widgets: Widget) -> tuple[Page, Page, Replica]:
    room = Replica()
    return Page(room, *widgets), Page(room, *widgets), room


@pytest.mark.parametrize("form", [KEPT, CLEARED], ids=["kept", "cleared"])
def test_P7_what_is_submitted_reaches_every_script(form: FormInfo) -> None:
    ada, bob, room = two_pages(field("size", form, 2))
    ada.draft(size=9)
    ada.act()
    assert room.keys() == []
    ada.submit(form)
    bob.run()
    assert (room.get("size"), ada.state["size"], bob.state["size"]) == (9, 9, 9)


def test_P7_a_kept_form_without_a_draft_shows_what_was_submitted() -> None:
    ada, bob, room = two_pages(field("size", KEPT, 2))
    ada.draft(size=9)
    ada.submit(KEPT)
    bob.run()
    assert bob.shows == {"size": 9}
    bob.submit(KEPT)
    assert room.get("size") == 9


def test_P7_a_value_is_withheld_from_a_field_with_a_draft_and_from_no_other() -> None:
    ada, bob, room = two_pages(field("size", KEPT, 2), field("seats", KEPT, 4))
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


def test_P7_a_cleared_form_shows_everybody_what_they_would_submit() -> None:
    ada, bob, room = two_pages(field("size", CLEARED, 2))
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


def test_R1_submitting_what_the_room_has_is_no_edit() -> None:
    ada, bob, room = two_pages(field("size", CLEARED, 2))
    ada.draft(size=9)
    ada.submit(CLEARED)
    for page in (bob, ada):
        page.run()
        version = page.replica.version
        page.draft(size=9)
        page.submit(CLEARED)
        assert page.replica.version == version
    assert room.get("size") == 9


def test_P7_a_draft_that_the_page_sends_early_is_no_edit() -> None:
    ada, bob, room = two_pages(field("size", KEPT, 2))
    ada.draft(size=9)
    ada.sent["size"] = 9  # as Streamlit's page does where the field is mounted anew
    ada.act()
    assert room.keys() == []
    ada.submit(KEPT)
    bob.run()
    assert bob.shows == {"size": 9}


def test_P7_a_submit_whose_run_was_overtaken_is_an_edit_in_the_next_one() -> None:
    ada, bob, room = two_pages(field("size", CLEARED, 2))
    ada.draft(size=9)
    bob.submit(CLEARED)
    ada.sent["size"] = ada.drafts.pop("size")
    ada.mirror.receive({}, frozenset({CLEARED.id}))
    ada.state["size"] = 9  # and the run ends here
    ada.act()
    assert room.get("size") == 9


def test_P7_what_code_assigns_is_shared_and_shown_where_it_was_assigned() -> None:
    ada, bob, room = two_pages(field("size", CLEARED, 2))
    ada.run(size=9)
    bob.run()
    assert (ada.shows, bob.shows) == ({"size": 9}, {"size": 2})
    assert (room.get("size"), bob.state["size"]) == (9, 9)


def test_P7_what_was_withheld_is_shown_once_its_draft_is_gone_without_a_submit() -> None:
    ada, bob, _room = two_pages(field("size", KEPT, 2))
    bob.draft(size=7)
    ada.draft(size=9)
    ada.submit(KEPT)
    bob.run()
    assert not bob.mirror.needs_run()
    bob.drafts.clear()
    bob.shows["size"] = 2
    bob.tell()
    assert bob.mirror.needs_run()
    bob.run()
    assert bob.shows == {"size": 9}
    assert not bob.mirror.needs_run()


def test_P7_a_draft_that_went_with_its_page_keeps_nothing_from_the_field_when_it_comes_back() -> None:
    ada, bob, _room = two_pages(field("size", KEPT, 2))
    bob.draft(size=7)
    for leftovers in (bob.drafts, bob.shows, bob.sent, bob.state):
        leftovers.clear()  # and the tab has not told yet
    bob.mirror.page_changed()
    ada.draft(size=9)
    ada.submit(KEPT)
    bob.run()
    assert bob.shows == bob.would_submit == {"size": 9}


def test_P7_a_viewers_form_shares_nothing_and_is_put_back() -> None:
    ada, bob, room = two_pages(field("size", CLEARED, 2), field("seats", KEPT, 4))
    ada.draft(size=9, seats=6)
    ada.submit(CLEARED)
    ada.submit(KEPT)
    bob.mirror.is_read_only = True
    bob.run()
    bob.draft(size=1, seats=1)
    bob.submit(CLEARED)
    bob.submit(KEPT)
    assert (room.get("size"), room.get("seats")) == (9, 6)
    assert bob.state == {"size": 9, "seats": 6}
    assert bob.shows == {"size": 2, "seats": 6}


def test_P7_the_draft_of_a_text_merges_with_what_was_submitted_since_it_was_begun() -> None:
    ada, bob, room = two_pages(field("notes", KEPT, "one\ntwo\n", "text_area"))
    bob.draft(notes="one\ntwo\nBob\n")
    ada.draft(notes="Ada\none\ntwo\n")
    ada.submit(KEPT)
    bob.run()
    assert bob.shows == {"notes": "one\ntwo\nBob\n"}
    bob.submit(KEPT)
    bob.run()
    assert room.get("notes") == "Ada\none\ntwo\nBob\n"
    assert bob.shows == {"notes": "Ada\none\ntwo\nBob\n"}


def test_P7_what_is_sent_with_a_cleared_form_takes_the_place_of_what_was_sent_before() -> None:
    ada, bob, room = two_pages(field("notes", CLEARED, "", "text_area"))
    ada.draft(notes="from Ada")
    bob.draft(notes="from Bob")
    ada.submit(CLEARED)
    bob.submit(CLEARED)
    ada.run()
    assert room.get("notes") in ("from Ada", "from Bob")
    assert ada.state == bob.state == {"notes": room.get("notes")}


def test_P7_nor_is_it_merged_with_that_where_the_author_asks_for_merging() -> None:
    room, notes = Replica(), field("notes", CLEARED, "", "text_area")
    ada, bob = (Page(room, notes, merge={"notes": "text"}) for _ in range(2))
    ada.draft(notes="from Ada")
    ada.submit(CLEARED)
    bob.run()
    bob.mirror.note_drafts({"notes": (digest_of(""), 1)})
    bob.draft(notes="from Bob")
    bob.submit(CLEARED)
    assert room.get("notes") == "from Bob"


def test_a_widget_outside_of_forms_is_never_withheld() -> None:
    ada, bob, room = two_pages(field("size", None, 2))
    ada.sent["size"] = 9
    ada.act()
    assert room.get("size") == 9
    bob.mirror.note_unsubmitted([replace(bob.widgets["size"]).element_id])
    bob.run()
    assert bob.shows == {"size": 9}


@pytest.mark.parametrize("seed", range(30))
def test_P7_whatever_people_do_each_page_shows_what_it_would_submit(seed: int) -> None:
    chance, room = random.Random(seed), Replica()
    widgets = field("size", KEPT, 2), field("seats", CLEARED, 4), field("notes", KEPT, "", "text_area")
    pages = [Page(room, *widgets) for _ in range(3)]
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
