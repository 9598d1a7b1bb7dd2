"""Requests share batches, in order, and only so many wait."""

import asyncio
import threading

import pytest

from bonaface.service.batching import Batcher, BusyError


def test_what_comes_while_the_network_works_is_computed_together():
    sizes, gate = [], threading.Event()

    def work(items):
        sizes.append(len(items))
        gate.wait(5)
        return [item * 10 for item in items]

    async def main():
        batcher = Batcher(work, most=4, waiting=16)
        first = asyncio.create_task(batcher.submit([0]))
        await asyncio.sleep(0.05)
        others = [asyncio.create_task(batcher.submit([2 * n, 2 * n + 1])) for n in range(1, 4)]
        await asyncio.sleep(0.05)
        gate.set()
        said = await asyncio.gather(first, *others)
        await batcher.close()
        return said

    assert asyncio.run(main()) == [[0], [20, 30], [40, 50], [60, 70]]
    assert sizes == [1, 4, 2]


def test_a_full_queue_refuses_and_goes_on():
    gate = threading.Event()

    async def main():
        batcher = Batcher(lambda items: gate.wait(5) and items, most=2, waiting=3)
        running = asyncio.create_task(batcher.submit([1]))
        await asyncio.sleep(0.05)
        waiting = asyncio.create_task(batcher.submit([2, 3]))
        await asyncio.sleep(0.01)
        with pytest.raises(BusyError) as refused:
            await batcher.submit([4, 5])
        assert (refused.value.waiting, refused.value.seconds >= 1) == (2, True)
        gate.set()
        assert await running == [1]
        assert await waiting == [2, 3]
        assert await batcher.submit([4, 5]) == [4, 5]
        await batcher.close()

    asyncio.run(main())


def test_a_failure_is_that_batchs_own():
    def work(items):
        if 0 in items:
            raise ZeroDivisionError
        return items

    async def main():
        batcher = Batcher(work, most=4, waiting=8)
        with pytest.raises(ZeroDivisionError):
            await batcher.submit([0, 1])
        assert await batcher.submit([2]) == [2]
        await batcher.close()

    asyncio.run(main())


def test_what_was_given_up_is_not_computed():
    seen, gate = [], threading.Event()

    def work(items):
        seen.extend(items)
        gate.wait(5)
        return items

    async def main():
        batcher = Batcher(work, most=1, waiting=8)
        running = asyncio.create_task(batcher.submit([1]))
        await asyncio.sleep(0.05)
        given_up = asyncio.create_task(batcher.submit([2]))
        await asyncio.sleep(0.01)
        given_up.cancel()
        gate.set()
        await running
        assert await batcher.submit([3]) == [3]
        await batcher.close()

    asyncio.run(main())
    assert seen == [1, 3]
