"""The processes that torchrun started to train one model together.

A step's batch is the batches of all processes put together: each draws ``n_labels`` x ``n_instances`` of its own, no two of them
the same people, and the losses see all. So with N processes a step is as large as one process's with N times the labels, and an
epoch has an Nth of the steps.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ALONE", "Distributed"]


@dataclass(frozen=True)
class Distributed:
    """This process among those that train together.

    Args:
        rank: its number, from 0; the main process, number 0, writes the run's folder and shows progress.
        world_size: processes on all machines.
        local_world_size: processes on this machine.
    """

    rank: int = 0
    world_size: int = 1
    local_world_size: int = 1

    @classmethod
    def from_environment(cls) -> Distributed:
        """As torchrun says; one process alone where this one was started otherwise."""
        if "TORCHELASTIC_RUN_ID" not in os.environ:
            return cls()
        return cls(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")))

    @property
    def is_main(self) -> bool:
        """True for the main process, or the only one."""
        return self.rank == 0

    @property
    def nodes(self) -> int:
        """Number of machines."""
        return self.world_size // self.local_world_size

    def seed(self, seed: int) -> int:
        """A seed of this process's own, so that no two augment or drop out alike; the main process has the run's.

        Example:
            >>> Distributed(0, 2, 2).seed(7), Distributed(1, 2, 2).seed(7) != 7
            (7, True)
        """
        return seed if self.is_main else int(np.random.SeedSequence([seed, self.rank]).generate_state(1)[0])

    def share(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """This process's part of some rows, as long as any other's: the last ones repeat the first rows to fill up.

        Example:
            >>> [Distributed(rank, 2, 2).share(np.array([5, 6, 7])).tolist() for rank in (0, 1)]
            [[5, 6], [7, 5]]
        """
        length = -(-len(rows) // self.world_size)
        return np.resize(rows, length * self.world_size)[self.rank * length :][:length]


ALONE = Distributed()
"""One process by itself."""
