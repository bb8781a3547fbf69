"""Which Streamlit this is made for."""

from __future__ import annotations

from typing import Final

import streamlit

from streamlit_crdt.errors import StreamlitTooOldError

MIN_STREAMLIT: Final[tuple[int, int]] = (1, 65)


def require_streamlit(minimum: tuple[int, int] = MIN_STREAMLIT) -> None:
    """Raise `StreamlitTooOldError` below `minimum`, by default the floor that pyproject.toml names."""
    found = tuple(int(part) for part in streamlit.__version__.split(".")[:2] if part.isdigit())
    if len(found) == 2 and found < minimum:
        raise StreamlitTooOldError(streamlit.__version__, ".".join(map(str, minimum)))
