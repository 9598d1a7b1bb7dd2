"""Requests share batches: whatever waits when the network becomes free is computed together, and only so much may wait."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

__all__ = ["Batcher", "BusyError"]

T = TypeVar("T")
R = TypeVar("R")


class BusyError(Exception):
    """Too much waits already.

    Args:
        waiting: how many items.
        seconds: after which to try again.
    """

    def __init__(self, waiting: int, seconds: int) -> None:
        super().__init__(f"{waiting} wait")
        self.waiting, self.seconds = waiting, seconds


class Batcher(Generic[T, R]):
    """Collects items of many requests and gives them to one function, in a thread of its own.

    A batch is never waited for: the first item of an idle service is computed alone and at once, and batches grow only
    as far as requests come faster than the network is. An item whose request was given up is left out.

    Args:
        work: from items to results, as many and in that order.
        most: items in a batch.
        waiting: items that may wait.
        watch: told of each batch: its size and its seconds.

    Example:
        >>> async def example():
        ...     batcher = Batcher(lambda items: [2 * item for item in items], most=4, waiting=8)
        ...     answers = await asyncio.gather(batcher.submit([1, 2]), batcher.submit([3]))
        ...     await batcher.close()
        ...     return answers
        >>> asyncio.run(example())
        [[2, 4], [6]]
    """

    def __init__(
        self,
        work: Callable[[list[T]], Sequence[R]],
        most: int,
        waiting: int,
        watch: Callable[[int, float], None] = lambda size, seconds: None,
    ) -> None:
        self._work, self._most, self._limit, self._watch = work, most, waiting, watch
        self._queue: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="network")
        self._task: asyncio.Task[None] | None = None
        self._seconds_each = 0.05

    @property
    def waiting(self) -> int:
        """Number of waiting items."""
        return len(self._queue)

    async def submit(self, items: Sequence[T]) -> list[R]:
        """Results of some items.

        Raises:
            BusyError: if they don't fit into the queue.
            ValueError: if they never will.
        """
        if len(items) > self._limit:
            raise ValueError(f"{len(items)} items, and {self._limit} may wait")
        if len(self._queue) + len(items) > self._limit:
            raise BusyError(len(self._queue), max(1, math.ceil(len(self._queue) * self._seconds_each)))
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[R]] = [loop.create_future() for _ in items]
        self._queue.extend(zip(items, futures, strict=True))
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._run())
        try:
            return await asyncio.gather(*futures)
        finally:
            for future in futures:
                future.cancel()

    async def close(self) -> None:
        """Finish what waits."""
        if self._task is not None:
            await self._task
        self._pool.shutdown()

    async def _run(self) -> None:
        while batch := self._next():
            started = time.perf_counter()
            items = [item for item, _ in batch]
            results, failure = await self._computed(items)
            seconds = time.perf_counter() - started
            self._seconds_each = 0.8 * self._seconds_each + 0.2 * seconds / len(batch)
            self._watch(len(batch), seconds)
            for place, (_, future) in enumerate(batch):
                if not future.done() and failure is not None:
                    future.set_exception(failure)
                elif not future.done():
                    future.set_result(results[place])

    async def _computed(self, items: list[T]) -> tuple[Sequence[R], Exception | None]:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._work, items), None
        except Exception as error:
            return [], error

    def _next(self) -> list[tuple[T, asyncio.Future[R]]]:
        batch: list[tuple[T, asyncio.Future[R]]] = []
        while self._queue and len(batch) < self._most:
            item = self._queue.popleft()
            if not item[1].done():
                batch.append(item)
        return batch
