"""Calls into pycrdt that may panic: a panic is a BaseException, and no `except Exception` catches it."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Iterator
from contextlib import contextmanager

from streamlit_crdt.errors import UpdateRefusedError


@contextmanager
def refuse_panics() -> Iterator[None]:
    """Turn whatever a call into Rust raises, panics included, into UpdateRefusedError; let exits pass."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, CancelledError):
        raise
    except BaseException as error:
        raise UpdateRefusedError(f"{type(error).__name__}: {error}") from error
