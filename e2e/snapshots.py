"""Drivers for the menu of `room.snapshot_menu()`."""

from __future__ import annotations

import re

from playwright.sync_api import FilePayload, Locator, expect

from e2e.tab import Tab


def menu(tab: Tab) -> Locator:
    return tab.page.get_by_test_id("stPopoverBody")


def open_menu(tab: Tab) -> None:
    tab.page.get_by_test_id("stPopover").get_by_role("button").first.click()
    expect(menu(tab).get_by_role("button", name="Download")).to_be_visible()


def close_menu(tab: Tab) -> None:
    tab.page.get_by_test_id("stPopover").get_by_role("button").first.click()
    expect(menu(tab)).to_be_hidden()


def save(tab: Tab, name: str) -> None:
    menu(tab).get_by_label("Save as").fill(name)
    menu(tab).get_by_label("Save as").press("Enter")
    expect(menu(tab).get_by_text(f"Saved {name}")).to_be_visible()
    expect(menu(tab).get_by_label("Save as")).to_have_value("")


def press(tab: Tab, action: str, name: str) -> None:
    """Click the button "Restore" or "delete" of a snapshot."""
    button(tab, action, name).click()


def button(tab: Tab, action: str, name: str) -> Locator:
    named = re.compile(
        rf"^{action}( icon)?$"
    )  # Streamlit 1.67 adds "icon" to the name of a button without text
    return menu(tab).get_by_role("button", name=named).nth(listed(tab).index(name))


def listed(tab: Tab) -> list[str]:
    return menu(tab).get_by_test_id("stText").all_inner_texts()


def upload(tab: Tab, name: str, content: str) -> None:
    file = FilePayload(name=name, mimeType="application/json", buffer=content.encode())
    menu(tab).locator("input[type=file]").set_input_files(file)
