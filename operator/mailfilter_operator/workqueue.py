"""Keys of MailFilters that are to be looked at: de-duplicated, delayed, backed off, one pass per key at a time.

A key that is added while its pass runs is looked at once more afterwards. An error puts the key back with exponential
back-off and jitter; a pass that ends well forgets the errors before it.
"""

import asyncio
import heapq
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import cast

from mailfilter_operator.errors import MailFilterError

Key = tuple[str, str]
"""Namespace and name."""

_FIRST_BACKOFF_SECONDS = 0.5
_LONGEST_BACKOFF_SECONDS = 60.0

log = logging.getLogger(__name__)


class WorkQueue:
    """Runs *work* for every key that is due; *work* returns the seconds until the next look, None for none."""

    def __init__(self, work: Callable[[Key], Awaitable[float | None]]) -> None:
        self._work = work
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, Key]] = []
        self._running: dict[Key, float] = {}
        self._again: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._changed = asyncio.Event()
        self._gate: asyncio.Event | None = None
        self._moved = float("-inf")
        self._idle: set[asyncio.Task[None]] = set()
        self._stopped = False

    def add(self, key: Key, delay: float = 0.0) -> None:
        """Look at *key* in *delay* seconds, or earlier if that was planned."""
        if key in self._running and delay == 0.0:
            self._again.add(key)
        else:
            self._plan(key, delay)

    @property
    def overdue_seconds(self) -> float:
        """How long a key that is due has waited although a worker has nothing to do: then the queue is broken.

        0 while the gate is closed.
        """
        is_busy = bool(self._running) and not self._idle
        if is_busy or self._gate is None or not self._gate.is_set():
            return 0.0
        now = time.monotonic()
        waiting = [now - max(due, self._moved) for key, due in self._due.items() if key not in self._running]
        return max(0.0, max(waiting, default=0.0))

    @property
    def longest_pass_seconds(self) -> float:
        """How long the pass that began first among those that run has been running; 0 if none runs."""
        return max((time.monotonic() - begun for begun in self._running.values()), default=0.0)

    def stop(self) -> None:
        """Begin no pass any more. Workers end at once, or when the pass that they are in has ended."""
        self._stopped = True
        for worker in self._idle:
            worker.cancel()

    async def run(self, gate: asyncio.Event) -> None:
        """Work until stopped, while *gate* is set; start several, each a task, for several workers."""
        self._gate = gate
        while not self._stopped:
            key = await self._take(gate)
            self._moved = self._running[key] = time.monotonic()
            try:
                await self._look_at(key)
            finally:
                del self._running[key]
                self._moved = time.monotonic()
                if key in self._again:
                    self._again.discard(key)
                    self.add(key)

    async def _take(self, gate: asyncio.Event) -> Key:
        worker = cast("asyncio.Task[None]", asyncio.current_task())
        self._idle.add(worker)
        try:
            while True:
                if not gate.is_set():
                    await gate.wait()
                    self._moved = time.monotonic()
                key = await self._next()
                if gate.is_set():
                    return key
                self.add(key)
        finally:
            self._idle.discard(worker)

    async def _look_at(self, key: Key) -> None:
        try:
            delay = await self._work(key)
        except Exception as error:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            delay = backoff_seconds(failures) * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
            known = isinstance(error, MailFilterError)
            log.warning("%s/%s: %s; again in %.1f s", *key, error, delay, exc_info=None if known else error)
        else:
            self._failures.pop(key, None)
        if delay is not None:
            self._plan(key, delay)

    def _plan(self, key: Key, delay: float) -> None:
        due = time.monotonic() + delay
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._heap, (due, key))
            self._changed.set()

    async def _next(self) -> Key:
        while True:
            now = time.monotonic()
            while self._heap and self._heap[0][0] <= now:
                due, key = heapq.heappop(self._heap)
                if self._due.get(key) != due:
                    continue  # planned anew meanwhile
                del self._due[key]
                if key not in self._running:
                    return key
                self._again.add(key)
            timeout = self._heap[0][0] - now if self._heap else None
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), timeout)
            except TimeoutError:
                continue


def backoff_seconds(failures: int) -> float:
    """Seconds to wait after so many failures in a row.

    >>> [backoff_seconds(n) for n in (1, 2, 3, 20)]
    [0.5, 1.0, 2.0, 60.0]
    """
    return min(_FIRST_BACKOFF_SECONDS * 2.0 ** (failures - 1), _LONGEST_BACKOFF_SECONDS)
