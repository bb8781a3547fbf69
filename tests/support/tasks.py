"""Tasks of the proxies and servers in tests."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def run_until_one_ends(*works: Coroutine[Any, Any, None]) -> None:
    """Run coroutines side by side until one of them ends. Then cancel the others and wait for their end."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
