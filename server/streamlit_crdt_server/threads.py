"""Asking a hub from a thread that is not its loop's, as Streamlit's scripts do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, TypeVar

from streamlit_crdt_server.errors import AnswerTimeoutError, HubNotRunningError, WrongThreadError

T = TypeVar("T")


def begin(loop: asyncio.AbstractEventLoop | None, work: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
    """Have `work` done in the loop.

    Raises:
        HubNotRunningError: There is no loop, or it is closed.
        WrongThreadError: This is the loop's thread, which would wait for itself.
    """
    if loop is None or loop.is_closed():
        raise HubNotRunningError()
    if running_loop() is loop:
        raise WrongThreadError()
    return asyncio.run_coroutine_threadsafe(work(), loop)


def wait(
    loop: asyncio.AbstractEventLoop | None,
    work: Callable[[], Coroutine[Any, Any, T]],
    timeout_s: float,
    *,
    may_stop: bool = True,
) -> T:
    """Have `work` done in the loop and return what it returns; raises what it raises, and as `begin` does.

    Args:
        may_stop: Whether it is told to stop when it takes too long. What writes is not: half done, it would leave
            memory and disk apart.

    Raises:
        AnswerTimeoutError: It took longer.
    """
    working = begin(loop, work)
    try:
        return working.result(timeout_s)
    except FutureTimeoutError as error:
        if may_stop:
            working.cancel()
        raise AnswerTimeoutError(timeout_s) from error


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The loop of this thread; None in a thread without one, and under trio."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
