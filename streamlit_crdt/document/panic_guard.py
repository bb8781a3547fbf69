"""Guard around calls into pycrdt that may panic. A panic is a BaseException; `except Exception` does not catch it."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Iterator
from contextlib import contextmanager

from streamlit_crdt.errors import UpdateRefusedError


@contextmanager
def refuse_panics() -> Iterator[None]:
    """Convert every exception of the block, panics included, to UpdateRefusedError.

    KeyboardInterrupt, SystemExit, GeneratorExit and CancelledError pass.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, CancelledError):
        raise
    except BaseException as error:
        raise UpdateRefusedError(f"{type(error).__name__}: {error}") from error
