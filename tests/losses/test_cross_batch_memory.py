"""The memory of earlier batches: what it holds, what it is compared with, and that it goes with a checkpoint."""

import pytest
import torch

from bonaface.errors import ConfigError
from bonaface.losses.cross_batch_memory import CrossBatchMemory
from bonaface.losses.triplet import soft_triplet, triplet


def batches(count, n=4):
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randn(n, 3, generator=generator), torch.randint(0, 3, (n,), generator=generator)) for _ in range(count)
    ]


@pytest.mark.parametrize("size", [1, 3, 4, 6, 100])
def test_a_batch_is_compared_with_the_last_images_before_it(size):
    memory, loss = CrossBatchMemory(triplet(), size, 3), triplet()
    before, named = torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)
    for vectors, labels in batches(6):
        value, active = memory(vectors, labels)
        expected = loss(vectors, labels, (before[-size:], named[-size:]))
        torch.testing.assert_close((value, active), tuple(expected))
        before, named = torch.cat([before, vectors]), torch.cat([named, labels])


def test_judging_remembers_nothing():
    memory = CrossBatchMemory(triplet(), 8, 3).eval()
    memory(*batches(1)[0])
    assert memory.seen == 0


def test_it_goes_on_from_a_checkpoint():
    first, second = CrossBatchMemory(soft_triplet(), 6, 3), CrossBatchMemory(soft_triplet(), 6, 3)
    *begun, last = batches(3)
    for batch in begun:
        first(*batch)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(*last).value, second(*last).value)


def test_the_memory_takes_no_gradient_and_its_steps_are_apart():
    memory = CrossBatchMemory(triplet(), 8, 3)
    for vectors, labels in batches(3):
        vectors.requires_grad_()
        memory(vectors, labels).value.backward()
        assert vectors.grad.isfinite().all()
    assert not memory.vectors.requires_grad


def test_a_memory_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="memory: expected at least 1 image, got 0"):
        CrossBatchMemory(triplet(), 0, 3)
