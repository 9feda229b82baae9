"""A queue of jobs for the models: one runs, the others wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TypeVar

from genmods.core.errors import UserError

T = TypeVar("T")


class Busy(UserError):
    """Too many jobs are waiting."""


class Worker:
    """Runs jobs in a thread, one after the other, in the order of their arrival.

    Args:
        limit: The largest number of jobs that run or wait.

    Attributes:
        jobs: Number of jobs that run or wait.
    """

    def __init__(self, limit: int = 32) -> None:
        self._limit, self.jobs = limit, 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="models")
        self._stopped = Event()

    async def run(self, job: Callable[[], T]) -> T:
        """The result of a job, once all earlier ones are done. Raises Busy if too many are waiting."""
        if self.jobs >= self._limit:
            raise Busy(f"{self.jobs} requests are waiting; try again")
        self.jobs += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, job)
        finally:
            self.jobs -= 1

    def progress(self, done: int, total: int) -> None:
        """A `Progress` callback for jobs, by which `stop` ends the one that runs."""
        if self._stopped.is_set():
            raise UserError("the playground was stopped")

    def stop(self) -> None:
        """Drop the jobs that wait, and end the one that runs at its next step."""
        self._stopped.set()
        self._thread.shutdown(wait=False, cancel_futures=True)
