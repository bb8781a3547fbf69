"""Pages of the documentation: code blocks, links, headings, commands, variables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]

PAGES: Final = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("benchmarks/*.md"),
        *ROOT.glob("examples/*.md"),
    ]
)
"""All pages, found by glob, so that a new page is tested."""

_FENCE: Final = re.compile(r"^ *```(\w*)[^\n]*\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
_NOT_RUN: Final = re.compile(r"<!-- not run: (\S.*?) -->\s*\Z", re.DOTALL)
_NAMED: Final = re.compile(r"# (?:\w+/)*(\w+\.py)\b")
_NAMED_ABOVE: Final = re.compile(r"`(?:\w+/)*(\w+\.py)`:\s*\Z")
_LINK: Final = re.compile(r"\]\(([^)\s]+)\)")
_HEADING: Final = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
_INDENTED: Final = re.compile(r"^ {4}(\S.*)$", re.MULTILINE)
_SPAN: Final = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block.

    Attributes:
        line: where its code begins in the page, from 1.
        above: the page's text before the block.
    """

    page: Path
    line: int
    language: str
    source: str
    above: str = field(repr=False)

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def not_run(self) -> str:
        """Reason in the comment `<!-- not run: reason -->` above the block, "" without one."""
        marked = _NOT_RUN.search(self.above)
        return marked[1] if marked else ""

    @property
    def file_name(self) -> str:
        """File name from the first line (`# app.py`) or the end of the text above, "" if there is none."""
        named = _NAMED.match(self.source) or _NAMED_ABOVE.search(self.above)
        return named[1] if named else ""


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    text = _text(page)
    for fence in _FENCE.finditer(text):
        line = text.count("\n", 0, fence.start(2)) + 1
        yield Block(page, line, fence[1], fence[2], text[: fence.start()])


def links(page: Path) -> Iterator[str]:
    """Yield the targets of links and pictures, without other sites."""
    for target in _LINK.findall(_without_code(page)):
        if "://" not in target and not target.startswith("mailto:"):
            yield target


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page, as GitHub derives them from headings."""
    found: dict[str, int] = {}
    for heading in _HEADING.findall(_FENCE.sub("", _text(page))):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        found[name] = found.get(name, -1) + 1
    return {
        name if not number else f"{name}-{number}"
        for name, last in found.items()
        for number in range(last + 1)
    }


def commands(page: Path, program: str) -> Iterator[list[str]]:
    """Yield the words of each command line of `program` in blocks, indented lines and code spans."""
    text = _text(page)
    fenced = [line.strip() for fence in _FENCE.finditer(text) for line in fence[2].splitlines()]
    for line in [*fenced, *_INDENTED.findall(text), *_SPAN.findall(_FENCE.sub("", text))]:
        words = re.split(r"\s+#|[;&|]", line.removeprefix("$ "))[0].split()
        while words and "=" in words[0]:
            words.pop(0)  # a variable that is set for this command
        if words and words[0] == program:
            yield words


def source_paths(page: Path) -> set[str]:
    """Return the paths of source files that a page names in code spans, such as `binding/in_flight.py`."""
    spans = _SPAN.findall(_FENCE.sub("", _text(page)))
    return {span for span in spans if re.fullmatch(r"\w[\w.-]*(?:/[\w.-]+)+\.(?:py|ts|mjs|js)", span)}


def variables(page: Path) -> set[str]:
    """Return the STREAMLIT_CRDT_ variables that a page names."""
    return set(re.findall(r"\bSTREAMLIT_CRDT_[A-Z_]*[A-Z]\b", _text(page)))


def _text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def _without_code(page: Path) -> str:
    return _SPAN.sub("", _FENCE.sub("", _text(page)))
