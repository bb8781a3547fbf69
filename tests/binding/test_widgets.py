"""Values that each kind of widget can show, by Streamlit's own serializers (P2)."""

from __future__ import annotations

from datetime import date, datetime, time
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from streamlit_crdt.binding.widgets import REFUSED, Widget
from streamlit_crdt.session.streamlit_hooks import registry


def _app() -> None:
    from datetime import date, datetime, time
    from enum import Enum

    import streamlit as st

    from streamlit_crdt import crdt_sync

    class Size(Enum):
        SMALL = 1
        LARGE = 2

    class Fruit:
        def __init__(self, name: str) -> None:
            self.name = name

    colors = ["red", "green", "blue"]
    fruits = [Fruit("Apple"), Fruit("Banana")]
    with crdt_sync("widgets"):
        st.checkbox("x", key="checkbox")
        st.toggle("x", key="toggle")
        st.radio("x", colors, key="radio")
        st.selectbox("x", colors, key="selectbox")
        st.selectbox("x", colors, accept_new_options=True, key="selectbox_new")
        st.multiselect("x", colors, max_selections=2, key="multiselect")
        st.pills("x", colors, key="pills")
        st.pills("x", colors, selection_mode="multi", key="pills_multi")
        st.segmented_control("x", colors, key="segmented")
        st.select_slider("x", colors, key="select_slider")
        st.select_slider("x", colors, ("red", "green"), key="select_range")
        st.feedback("stars", key="feedback")
        st.feedback("thumbs", key="thumbs")
        st.slider("x", key="slider")
        st.slider("x", 0.0, 1.0, key="slider_float")
        st.slider("x", 0, 10, (2, 8), key="slider_range")
        st.slider("x", date(2024, 1, 1), date(2024, 1, 31), date(2024, 1, 5), key="slider_date")
        st.slider("x", time(8), time(18), time(9), key="slider_time")
        st.slider(
            "x", datetime(2024, 1, 1), datetime(2024, 2, 1), datetime(2024, 1, 9), key="slider_datetime"
        )
        st.number_input("x", 0, 100, 5, key="number")
        st.number_input("x", value=1.0, key="number_float")
        st.number_input("x", value=None, step=1, key="number_none")
        st.text_input("x", max_chars=5, key="text")
        st.text_area("x", key="area")
        st.date_input(
            "x", date(2024, 5, 1), min_value=date(2024, 1, 1), max_value=date(2024, 12, 31), key="date"
        )
        st.date_input("x", (date(2024, 5, 1), date(2024, 5, 9)), key="date_range")
        st.time_input("x", time(8, 45), key="time")
        st.datetime_input("x", datetime(2024, 5, 1, 8, 45), key="datetime")
        st.color_picker("x", key="color")
        st.pagination(5, key="pagination")
        st.selectbox("x", list(Size), key="enum")
        st.selectbox("x", fruits, format_func=lambda fruit: fruit.name, key="object")
        st.multiselect("x", fruits, format_func=lambda fruit: fruit.name, key="objects")
        st.text_input("x", type="password", key="password")
        st.button("x", key="button")


@pytest.fixture(scope="module")
def widgets() -> dict[str, Widget]:
    app = AppTest.from_function(_app).run()
    assert not app.exception
    session = next(iter(s for s in registry.sessions() if "widgets" in s.room_sessions))
    return session.room_sessions["widgets"].binding.widgets


SHOWN: list[tuple[str, Any]] = [
    ("checkbox", True),
    ("toggle", False),
    ("radio", "green"),
    ("selectbox", "blue"),
    ("selectbox_new", "violet"),
    ("multiselect", ["blue", "red"]),
    ("multiselect", []),
    ("pills", "red"),
    ("pills", None),
    ("pills_multi", ["red", "blue"]),
    ("segmented", "green"),
    ("select_slider", "blue"),
    ("select_range", ("green", "blue")),
    ("feedback", 3),
    ("thumbs", 1),
    ("feedback", None),
    ("slider", 42),
    ("slider_float", 0.5),
    ("slider_range", (1, 9)),
    ("slider_date", date(2024, 1, 20)),
    ("slider_time", time(12, 30)),
    ("slider_datetime", datetime(2024, 1, 20, 5)),
    ("number", 99),
    ("number_float", 2.5),
    ("number_none", None),
    ("number_none", 3),
    ("text", "hello"),
    ("area", "many\nlines 👍"),
    ("date", date(2024, 6, 1)),
    ("date_range", (date(2024, 6, 1), date(2024, 6, 2))),
    ("time", time(9, 15)),
    ("datetime", datetime(2024, 6, 1, 9, 15)),
    ("color", "#ff0000"),
    ("pagination", 4),
]


@pytest.mark.parametrize(("key", "value"), SHOWN, ids=lambda part: str(part))
def test_value_of_its_kind_survives_the_round_trip(widgets: dict[str, Widget], key: str, value: Any) -> None:
    widget = widgets[key]
    assert widget.to_widget_value(widget.to_shared_value(value)) == value
    assert type(widget.to_widget_value(widget.to_shared_value(value))) is type(value)


INVALID: list[tuple[str, Any]] = [
    ("checkbox", "yes"),
    ("checkbox", None),
    ("radio", "violet"),
    ("selectbox", "violet"),
    ("selectbox", 3),
    ("multiselect", ["violet"]),
    ("multiselect", ["red", "green", "blue"]),
    ("multiselect", "red"),
    ("pills", "violet"),
    ("pills_multi", ["red", "violet"]),
    ("select_slider", "violet"),
    ("select_range", ("blue", "red")),
    ("feedback", 9),
    ("thumbs", 2),
    ("slider", 400),
    ("slider", -1),
    ("slider", 2.5),
    ("slider", "7"),
    ("slider", None),
    ("slider_range", 5),
    ("slider_range", [1, 5]),
    ("slider_range", (9, 1)),
    ("slider_range", (1, 50)),
    ("slider_date", date(2025, 1, 1)),
    ("number", 101),
    ("number", "7"),
    ("number", 7.5),
    ("text", "too long"),
    ("text", 7),
    ("area", 7),
    ("date", date(2030, 1, 1)),
    ("date", "2024-05-01"),
    ("color", "red"),
    ("pagination", 6),
]


@pytest.mark.parametrize(("key", "value"), INVALID, ids=lambda part: str(part))
def test_P2_widget_refuses_value_that_it_cannot_show(
    widgets: dict[str, Widget], key: str, value: Any
) -> None:
    assert widgets[key].to_widget_value(value) is REFUSED


def test_option_object_is_shared_as_its_label(widgets: dict[str, Widget]) -> None:
    for key, label in (("object", "Banana"), ("enum", "Size.LARGE")):
        widget = widgets[key]
        option = widget.to_widget_value(label)
        assert option is not REFUSED
        assert widget.to_shared_value(option) == label
    many = widgets["objects"].to_widget_value(["Banana", "Apple"])
    assert [fruit.name for fruit in many] == ["Banana", "Apple"]
    assert widgets["objects"].to_shared_value(many) == ["Banana", "Apple"]
    assert widgets["objects"].to_widget_value(["Pear"]) is REFUSED


def test_P6_triggers_and_passwords_are_not_settable(widgets: dict[str, Widget]) -> None:
    assert not widgets["button"].is_settable
    assert not widgets["password"].is_settable
