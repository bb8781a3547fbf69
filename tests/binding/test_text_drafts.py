"""Drafts of text widgets, as the tab reports them and the binding resolves them."""

from __future__ import annotations

import pytest

from streamlit_crdt.binding.text_drafts import TextDrafts, class_of, digest_of
from streamlit_crdt.binding.widgets import Widget
from streamlit_crdt.document.replica import Replica
from tests.support.binding_session import BoundSession, identity


def draft_base(text: str, number: int = 1) -> tuple[str, int]:
    return digest_of(text), number


def test_draft_of_one_widget_does_not_affect_another() -> None:
    drafts = TextDrafts()
    for key in ("a", "b"):
        drafts.note_shown(key, "")
        drafts.note_shown(key, "hello")
    drafts.note_open({"a": draft_base("")})
    assert (drafts.base("a"), drafts.base("b")) == ("", None)


def test_committed_draft_stays_ended_after_a_late_tab_report() -> None:
    drafts = TextDrafts()
    drafts.note_shown("a", "")
    drafts.note_open({"a": draft_base("")})
    assert drafts.base("a") == ""
    drafts.note_edit("a", "mine")
    drafts.note_shown("a", "")
    drafts.note_shown("a", "theirs")
    drafts.note_open({"a": draft_base("")})
    assert drafts.base("a") is None
    drafts.note_open({"a": draft_base("", 2)})
    assert drafts.base("a") == "", "a second draft with the same base"


KEYS_WITH_ONE_CLASS_NAME = [("姓名", "住所"), ("note.1", "note 1")]


@pytest.mark.parametrize("keys", KEYS_WITH_ONE_CLASS_NAME)
def test_draft_of_clashing_class_name_belongs_to_key_with_its_text(
    keys: tuple[str, str],
) -> None:
    drafts, (one, two) = TextDrafts(), keys
    assert class_of(one) == class_of(two)
    for key, text in ((one, "Ada"), (two, "London")):
        drafts.note_shown(key, "")
        drafts.note_shown(key, text)
    drafts.note_open({class_of(one): draft_base("London")})
    assert (drafts.base(one), drafts.base(two)) == (None, "London")
    assert drafts.find_lost(class_of(one), "Paris", digest_of("London")) == (two, "London")
    drafts.note_open({class_of(one): draft_base("", 2)})
    assert (drafts.base(one), drafts.base(two)) == (None, None)
    assert drafts.find_lost(class_of(one), "Paris", digest_of("")) is None


def test_repeated_commit_does_not_end_the_next_draft() -> None:
    drafts = TextDrafts()
    drafts.note_shown("a", "base")
    drafts.note_shown("a", "theirs")
    drafts.note_open({"a": draft_base("theirs", 2)})
    assert drafts.find_lost("a", "mine", digest_of("base")) == ("a", "base")
    drafts.note_commit("a", "mine")
    drafts.note_open({"a": draft_base("theirs", 2)})
    assert drafts.base("a") == "theirs"
    assert drafts.find_lost("a", "mine", digest_of("base")) is None


def test_reported_draft_survives_many_remote_writes() -> None:
    drafts = TextDrafts()
    drafts.note_shown("a", "begun on this")
    for number in range(100):
        drafts.note_shown("a", f"theirs {number}")
        drafts.note_open({"a": draft_base("begun on this")})
    assert drafts.base("a") == "begun on this"
    drafts.note_open({})
    assert drafts.base("a") is None


def test_text_written_before_registration_can_be_a_draft_base() -> None:
    room = Replica()
    room.set("a", "hello")
    area = Widget(
        "a", "$$ID-hash-a", "text_area", True, identity, lambda value: "" if value is None else value
    )
    session = BoundSession(room, area)
    session.run()
    session.run()
    with session.binding.locked() as keys:
        keys.drafts.note_open({"a": draft_base("hello")})
        assert keys.drafts.base("a") == "hello"
