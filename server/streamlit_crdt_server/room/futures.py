"""Futures of the updates of local peers."""

from __future__ import annotations

from concurrent.futures import Future


def settle(done: Future[None], error: Exception | None = None) -> None:
    """Complete a future, or fail it with `error`. Does nothing if it is done or cancelled."""
    if done.done() or not done.set_running_or_notify_cancel():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
