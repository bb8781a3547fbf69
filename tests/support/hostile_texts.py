"""Names that Markdown, HTML, LaTeX, a browser or a terminal would interpret."""

from __future__ import annotations

from typing import Final

HOSTILE_TEXTS: Final = (
    "*a* **b** _c_ ~~d~~ `e` [f](https://example.org) ![g](https://example.org/h.png)",
    "<script>alert(1)</script><img src=x onerror=alert(1)>&lt;",
    "$x^2$ $$y$$ \\\\(z\\\\)",
    ":red[a] :material/delete: :material_delete: :streamlit: :smile: :+1:",
    "https://example.org www.example.org a@example.org",
    "a -> b <- c <-> d -- e >= f <= g ~= h",
    "# heading",
    "> quote",
    "1. item",
    "|a|b|\n|-|-|\n|c|d|",
    "abc\u202edef\u2066ghi\u2028jkl",
    "a\0b\x1b[31mc\x7f\x85\r\nd",
    "__proto__",
    "constructor",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467 \u0645\u0631\u062d\u0628\u0627",
)


def shown(markdown: str) -> str:
    """Return the text of escaped Markdown, without backslashes and word joiners."""
    return markdown.replace("\\\\", "\0").replace("\\", "").replace("\0", "\\").replace("\u2060", "")
