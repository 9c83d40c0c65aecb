"""Asking a ledger from an event loop: one on a server from threads, so that its answers hold up no call in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from evoembedding.schemas.teacher import Ledger

P = ParamSpec("P")
T = TypeVar("T")
THREADS = 4  # a teacher, each with a connection of its own: a server has a hundred for all drivers


class OffLoop:
    """Calls a ledger's methods: at once where it is a file, which answers within microseconds."""

    def __init__(self, ledger: Ledger) -> None:
        self._threads = ThreadPoolExecutor(THREADS) if ledger.remote else None

    async def __call__(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of `work`."""
        if self._threads is None:
            return work(*args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: work(*args, **kwargs))
