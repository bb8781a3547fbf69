"""Generator of docs/two-windows.png, the picture of the README: `python -m tools.picture [FILE]`.

It starts the demo app, makes different edits in two browser windows, waits until both show the same values, and
combines the two screenshots. So the picture shows the real behavior of the app.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import sync_playwright

from e2e import browser, drivers
from e2e.harness import Deployment, make_app
from e2e.polling import eventually, settles_on
from e2e.tab import Tab

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "streamlit_crdt" / "deploy" / "demo" / "app.py"
PICTURE = ROOT / "docs" / "two-windows.png"

WINDOW_SIZE = (1120, 880)
"""Size of a window in CSS pixels, wide enough for the whole page, and high enough for the counter."""

SCALE = 0.8
"""Scale of the screenshots, because the README is narrower than two windows."""

BAR_HEIGHT, MARGIN, GAP, RADIUS = 40, 28, 28, 10
NO_TOOLBAR = {"STREAMLIT_CLIENT_TOOLBAR_MODE": "minimal"}

BACKGROUND, BAR, LINE, INK = "#dfe3ea", "#f6f7f9", "#c3c9d4", "#4a5264"
LIGHTS = ("#ff5f57", "#febc2e", "#28c840")

NOTE = "The drop at the end is none: the last week has three days only.\nShall we look at the North next?"


def main(target: Path = PICTURE) -> None:
    """Write the picture to `target`."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        app = make_app(Deployment.EMBEDDED, DEMO, Path(folder), NO_TOOLBAR)
        chromium = browser.launch(playwright)
        try:
            app.start()
            with Tab(chromium, app.url, name="Ada") as ada, Tab(chromium, app.url, name="Ben") as ben:
                for tab in (ada, ben):
                    tab.page.set_viewport_size({"width": WINDOW_SIZE[0], "height": WINDOW_SIZE[1]})
                    tab.open()
                work_together(ada, ben)
                shots = [take_stable_screenshot(ada), take_stable_screenshot(ben)]
        finally:
            chromium.close()
            app.stop()
    compose(shots, ["Ada", "Ben"]).save(target, optimize=True)
    print(f"{target}: {target.stat().st_size // 1024} kB")


def work_together(ada: Tab, ben: Tab) -> None:
    """Make different edits in both windows, and wait until both show all edits."""
    drivers.drop_choice(ada, "Regions", "North")
    drivers.choose_radio(ben, "Show", "Cups")
    drivers.set_text_area(ada, "Notes", NOTE)
    for count in (1, 2, 3):
        drivers.click(ben, "☕ One more cup")
        settles_on(lambda: cups(ben), str(count))
    for tab in (ada, ben):
        wait_for_all_edits(tab)


def wait_for_all_edits(tab: Tab) -> None:
    """Wait until the window shows the edits of both."""
    settles_on(lambda: cups(tab), "3")
    settles_on(lambda: drivers.shown_text(tab, "Notes"), NOTE)
    settles_on(lambda: drivers.shown_radio(tab, "Show"), "Cups")
    eventually(lambda: "North" not in drivers.shown_choices(tab, "Regions"), why="North is deselected")
    tab.wait_idle()


def cups(tab: Tab) -> str:
    """Return the value of the counter."""
    return tab.page.get_by_test_id("stMetric").last.get_by_test_id("stMetricValue").inner_text().strip()


def take_stable_screenshot(tab: Tab) -> Image.Image:
    """Return a screenshot without animations and without the focus ring of the last field."""
    if errors := tab.exceptions():
        raise AssertionError(f"{tab.name}'s page shows an error: {errors[0]}")
    tab.page.evaluate("document.activeElement?.blur()")
    tab.page.mouse.move(0, 0)
    settles_on(lambda: is_still(tab), True)
    shot = screenshot(tab)
    return shot.resize((int(shot.width * SCALE), int(shot.height * SCALE)), Image.Resampling.LANCZOS)


def is_still(tab: Tab) -> bool:
    """Return True if two screenshots are equal. Charts and menus are faded in and out."""
    return screenshot(tab).tobytes() == screenshot(tab).tobytes()


def screenshot(tab: Tab) -> Image.Image:
    return Image.open(io.BytesIO(tab.page.screenshot(caret="hide"))).convert("RGB")


def compose(shots: list[Image.Image], names: list[str]) -> Image.Image:
    """Combine the windows side by side on a plain background."""
    width, height = shots[0].width, shots[0].height + BAR_HEIGHT
    columns = len(shots)
    picture = Image.new(
        "RGB", (2 * MARGIN + columns * width + (columns - 1) * GAP, 2 * MARGIN + height), BACKGROUND
    )
    for column, (shot, name) in enumerate(zip(shots, names, strict=True)):
        picture.paste(window(shot, name), (MARGIN + column * (width + GAP), MARGIN))
    return picture


def window(shot: Image.Image, name: str) -> Image.Image:
    """Return a screenshot in a window frame with `name` in its title bar."""
    framed = Image.new("RGB", (shot.width, shot.height + BAR_HEIGHT), BAR)
    framed.paste(shot, (0, BAR_HEIGHT))
    draw = ImageDraw.Draw(framed)
    middle = BAR_HEIGHT // 2
    for index, color in enumerate(LIGHTS):
        draw.circle((22 + 20 * index, middle), 6, fill=color)
    draw.text((shot.width // 2, middle), name, fill=INK, anchor="mm", font=ImageFont.load_default(17))
    draw.line((0, BAR_HEIGHT - 1, shot.width, BAR_HEIGHT - 1), fill=LINE)
    return rounded(framed)


def rounded(framed: Image.Image) -> Image.Image:
    """Return the image with rounded corners and a border."""
    size = (framed.width - 1, framed.height - 1)
    mask = Image.new("L", framed.size, 0)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, *size), RADIUS, fill=255)
    background = Image.new("RGB", framed.size, BACKGROUND)
    background.paste(framed, mask=mask)
    ImageDraw.Draw(background).rounded_rectangle((0, 0, *size), RADIUS, outline=LINE)
    return background


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
