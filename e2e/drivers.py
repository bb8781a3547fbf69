"""Drivers of Streamlit's widgets: functions that edit a widget in the browser, and that read its visible value.

Each driver takes the tab and the widget's label, or its index for a widget without a label (`st.feedback`). A driver
returns when the browser has accepted the edit, before the script has run. A test then waits for the value in each tab,
with `Tab.eventually_shows` or `settles_on`.
"""

from __future__ import annotations

import datetime as dt
import re

from playwright.sync_api import Locator, TimeoutError, expect

from e2e.polling import eventually, settles_on
from e2e.tab import Tab

ATTEMPT_MS = 5_000
"""Limit of one attempt. A loaded machine needs seconds until an open list stands still."""


def widget(tab: Tab, kind: str, label: str, *, nth: int = 0) -> Locator:
    """Return the widget with exactly that label. `kind` is its test id, for example "stSlider"."""
    exactly = re.compile(rf"^\s*{re.escape(label)}\s*$")
    labelled = tab.page.get_by_test_id("stWidgetLabel").filter(has_text=exactly)
    return tab.page.get_by_test_id(kind).filter(has=labelled).nth(nth)


# --- buttons ------------------------------------------------------------------------------------------------


def click(tab: Tab, label: str) -> None:
    """Click a button or a form's submit button."""
    tab.page.get_by_role("button", name=label, exact=True).first.click()


# --- checkboxes ----------------------------------------------------------------------------------------------


def set_checkbox(tab: Tab, label: str, checked: bool) -> None:
    """Set a checkbox or a toggle."""
    box = widget(tab, "stCheckbox", label)
    if box.locator("input").is_checked() != checked:
        box.locator("label").first.click()
    expect(box.locator("input")).to_be_checked(checked=checked)


def shown_checkbox(tab: Tab, label: str) -> bool:
    return widget(tab, "stCheckbox", label).locator("input").is_checked()


# --- sliders ------------------------------------------------------------------------------------------------


def set_slider(tab: Tab, label: str, steps: int, *, thumb: int = 0) -> None:
    """Move a thumb of a slider or select slider by the given steps with the keyboard, to the left if negative."""
    handle = widget(tab, "stSlider", label).get_by_role("slider").nth(thumb)
    handle.focus()
    for _ in range(abs(steps)):
        handle.press("ArrowRight" if steps > 0 else "ArrowLeft")


def shown_slider(tab: Tab, label: str) -> list[str]:
    """Return the text above each thumb."""
    return widget(tab, "stSlider", label).get_by_test_id("stSliderThumbValue").all_inner_texts()


# --- text and numbers ---------------------------------------------------------------------------------------


def _field(tab: Tab, label: str) -> Locator:
    """Return the input element of a text input, text area or number input."""
    return tab.page.get_by_label(label, exact=True).and_(tab.page.locator("input, textarea")).first


def _fill(tab: Tab, label: str, text: str) -> None:
    """Replace the text of a field. Repeated if a remote value arrives between the selection and the insertion."""

    def attempt() -> bool:
        _field(tab, label).fill(text)
        return _field(tab, label).input_value() == text

    eventually(attempt, why=f"{label!r} shows {text!r}")


def set_text(tab: Tab, label: str, text: str) -> None:
    """Replace the text of a text input, and commit it."""
    _fill(tab, label, text)
    _field(tab, label).press("Enter")


def set_number(tab: Tab, label: str, number: float) -> None:
    set_text(tab, label, str(number))


def set_text_area(tab: Tab, label: str, text: str) -> None:
    """Replace the text of a text area, and commit it."""
    _fill(tab, label, text)
    _field(tab, label).press("Control+Enter")


def write(tab: Tab, label: str, text: str) -> None:
    """Replace the text of a form field, and blur it. Enter would submit the form."""
    _fill(tab, label, text)
    _field(tab, label).blur()


def type_draft(tab: Tab, label: str, text: str) -> None:
    """Type at the end of a field without committing."""
    field = _field(tab, label)
    field.focus()
    field.press("Control+End")
    field.press_sequentially(text)


def commit_draft(tab: Tab, label: str) -> None:
    """Blur the field, which commits the draft."""
    _field(tab, label).blur()


def shown_text(tab: Tab, label: str) -> str:
    return _field(tab, label).input_value()


# --- choices ------------------------------------------------------------------------------------------------


def choose(tab: Tab, label: str, option: str) -> None:
    """Select an option of a selectbox."""
    _pick(tab, widget(tab, "stSelectbox", label), option)


def shown_choice(tab: Tab, label: str) -> str:
    return widget(tab, "stSelectbox", label).get_by_role("combobox").input_value()


def choose_also(tab: Tab, label: str, option: str) -> None:
    """Add an option to a multiselect. Repeated until the option is selected, because an open list may close."""
    box = widget(tab, "stMultiSelect", label)

    def attempt() -> bool:
        _pick(tab, box, option)
        tab.page.keyboard.press("Escape")
        try:
            box.get_by_text(option, exact=True).first.wait_for(state="visible", timeout=ATTEMPT_MS)
        except TimeoutError:
            return False
        return True

    eventually(attempt, why=f"{option!r} is selected")


def drop_choice(tab: Tab, label: str, option: str) -> None:
    """Remove an option from a multiselect."""
    widget(tab, "stMultiSelect", label).get_by_role(
        "button", name=re.compile(rf"\b{re.escape(option)}\b")
    ).click()


def shown_choices(tab: Tab, label: str) -> list[str]:
    return widget(tab, "stMultiSelect", label).locator("[data-tag], [data-baseweb='tag']").all_inner_texts()


def _pick(tab: Tab, box: Locator, option: str) -> None:
    """Open a list and select an option. Repeated, because the list may close while the page is rendering."""
    listed = tab.page.get_by_role("listbox").get_by_role("option", name=option, exact=True).first

    def attempt() -> bool:
        if not listed.is_visible():
            box.get_by_role("combobox").press("ArrowDown")
        try:
            listed.click(timeout=ATTEMPT_MS)
        except TimeoutError:
            return False
        return True

    eventually(attempt, why=f"the list offers {option!r}")


def choose_radio(tab: Tab, label: str, option: str) -> None:
    exactly = re.compile(rf"^\s*{re.escape(option)}\s*$")
    widget(tab, "stRadio", label).get_by_role("radiogroup").locator("label").filter(has_text=exactly).click()


def shown_radio(tab: Tab, label: str) -> str:
    options = widget(tab, "stRadio", label).get_by_role("radiogroup").locator("label")
    return options.filter(has=tab.page.locator("input:checked")).inner_text().strip()


def press_option(tab: Tab, label: str, option: str) -> None:
    """Toggle one of the pills or segments.

    Repeated until the option has changed, because an edit of another tab may move the page under the pointer.
    """
    before = option in shown_options(tab, label)

    def attempt() -> bool:
        widget(tab, "stButtonGroup", label).get_by_text(option, exact=True).click()
        try:
            settles_on(lambda: option in shown_options(tab, label), not before, deadline_s=2)
        except AssertionError:
            return False
        return True

    eventually(attempt, why=f"{option!r} is pressed")


def go_to_page(tab: Tab, number: int) -> None:
    """Select a page of a pagination widget."""
    button = tab.page.get_by_test_id("stPagination").get_by_role("button", name=f"Page {number}", exact=True)

    def attempt() -> bool:
        button.click()
        return button.get_attribute("aria-current") == "page"

    eventually(attempt, why=f"page {number} is selected")


def shown_options(tab: Tab, label: str) -> list[str]:
    """Return the selected pills or segments."""
    pressed = "[aria-checked='true'], [aria-pressed='true'], [kind$='Active']"
    return [
        text.strip()
        for text in widget(tab, "stButtonGroup", label).locator(f"button:is({pressed})").all_inner_texts()
    ]


def rate(tab: Tab, rating: int, *, nth: int = 0) -> None:
    """Set the rating of the `nth` feedback widget, counted from 0 as in the script."""
    _feedback_buttons(tab, nth).nth(rating).click()


def shown_rating(tab: Tab, *, nth: int = 0) -> int | None:
    states = _feedback_buttons(tab, nth).evaluate_all("all => all.map(b => b.getAttribute('aria-checked'))")
    return states.index("true") if "true" in states else None


def _feedback_buttons(tab: Tab, nth: int) -> Locator:
    return tab.page.get_by_test_id("stFeedback").nth(nth).get_by_role("radio")


# --- dates, times, colors ----------------------------------------------------------------------------------


def set_date(tab: Tab, label: str, day: dt.date) -> None:
    _type_segments(widget(tab, "stDateInput", label), _date_parts(day))


def set_dates(tab: Tab, label: str, first: dt.date, last: dt.date) -> None:
    """Set a date range. The start is never after the end while it is typed, because the widget would swap them."""
    box = widget(tab, "stDateInput", label)
    ends = {"start": first, "end": last}
    shown_start = dt.date(*shown_segments(tab, "stDateInput", label)[:3])
    for end in ("end", "start") if last >= shown_start else ("start", "end"):
        _type_segments(
            box, {f"{end} {part}": text for part, text in _date_parts(ends[end]).items()}, commit=False
        )
    _blur(box)


def set_time(tab: Tab, label: str, moment: dt.time) -> None:
    _type_segments(widget(tab, "stTimeInput", label), _time_parts(moment))


def set_datetime(tab: Tab, label: str, moment: dt.datetime) -> None:
    _type_segments(widget(tab, "stDateTimeInput", label), _date_parts(moment) | _time_parts(moment.time()))


def _date_parts(day: dt.date) -> dict[str, str]:
    return {"year": f"{day.year:04}", "month": f"{day.month:02}", "day": f"{day.day:02}"}


def _time_parts(moment: dt.time) -> dict[str, str]:
    return {"hour": f"{moment.hour:02}", "minute": f"{moment.minute:02}"}


def _type_segments(box: Locator, parts: dict[str, str], *, commit: bool = True) -> None:
    """Type each part of a date or time into its segment, and commit once at the end."""
    for name, text in parts.items():
        end, _, part = name.rpartition(" ")
        segments = box.get_by_role("spinbutton", name=re.compile(rf"^{part},"))
        (segments.last if end == "end" else segments.first).focus()
        box.page.keyboard.type(text)
    if commit:
        _blur(box)


def _blur(box: Locator) -> None:
    """Move the focus out of the widget, which commits the value. Enter does not commit a date."""
    while box.evaluate("box => box.contains(document.activeElement)"):
        box.page.keyboard.press("Tab")


def shown_segments(tab: Tab, kind: str, label: str) -> list[int]:
    """Return the numbers that a date or time widget shows, in the order year, month, day, hour, minute."""
    segments = widget(tab, kind, label).get_by_role("spinbutton")
    return [
        int(value) for value in segments.evaluate_all("all => all.map(s => s.getAttribute('aria-valuenow'))")
    ]


def set_color(tab: Tab, label: str, color: str) -> None:
    """Pick a color, for example "#ff0000"."""
    widget(tab, "stColorPicker", label).get_by_role("button").click()
    field = tab.page.get_by_test_id("stColorPickerPopover").get_by_role("textbox").first
    field.fill(color)
    field.press("Enter")
    tab.page.keyboard.press("Escape")
