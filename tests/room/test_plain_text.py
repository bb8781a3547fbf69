"""Foreign texts in Markdown: nothing in them is interpreted."""

from __future__ import annotations

import re

import pytest
from streamlit.testing.v1 import AppTest

from streamlit_crdt.room.plain_text import escape, printable
from tests.room.test_entering_and_leaving import form
from tests.support.hostile_texts import HOSTILE_TEXTS, shown

_ESCAPED = re.compile(r"\\[!-/:-@\[-`{-~]")
_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")

_REPLACED_AFTER_PARSING = (
    r"https?://|www(?=\.)[-.\w]",  # links, by mdast-util-gfm-autolink-literal
    r"[-.\w+]+@[-\w]+",
    r":material[_/]\w+:|:streamlit:|:[\w+-]+:",  # icons, by Streamlit and remark-emoji
    r"(^|\s)(<->|->|<-|--|>=|<=|~=)(\s|$)",  # arrows, by Streamlit
)


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_A4_foreign_text_is_not_interpreted_as_markdown(text: str) -> None:
    markdown = escape(text)
    assert shown(markdown) == printable(text)
    assert not _PUNCTUATION.search(_ESCAPED.sub("", markdown))
    parsed = re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", markdown)
    assert not [pattern for pattern in _REPLACED_AFTER_PARSING if re.search(pattern, parsed, re.IGNORECASE)]


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_A4_foreign_text_is_one_line_without_control_characters(text: str) -> None:
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", printable(text))


@pytest.mark.parametrize("text", HOSTILE_TEXTS[:12])
def test_A4_room_of_the_address_is_shown_as_plain_text(text: str) -> None:
    app = AppTest.from_function(form)
    app.query_params["room"] = text
    app.run()
    assert not app.exception
    assert shown(app.error[0].value).startswith("Room name ")
    assert not _PUNCTUATION.search(_ESCAPED.sub("", app.error[0].value))
