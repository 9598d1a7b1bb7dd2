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

__all__ = ["ALONE", "Ranks"]


@dataclass(frozen=True)
class Ranks:
    """Which of the processes this one is.

    Args:
        rank: its number, from 0; number 0 leads: it writes the run's folder and says how far the training is.
        world_size: how many there are, on all machines.
        local_world_size: how many there are on this machine.
    """

    rank: int = 0
    world_size: int = 1
    local_world_size: int = 1

    @classmethod
    def of_launch(cls) -> Ranks:
        """As torchrun says; one process alone where this one was started otherwise."""
        if "TORCHELASTIC_RUN_ID" not in os.environ:
            return cls()
        return cls(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")))

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    @property
    def machines(self) -> int:
        """How many machines take part."""
        return self.world_size // self.local_world_size

    def seed(self, seed: int) -> int:
        """A seed of this process's own, so that no two flip or drop out alike; the leader's is the run's.

        Example:
            >>> Ranks(0, 2, 2).seed(7), Ranks(1, 2, 2).seed(7) != 7
            (7, True)
        """
        return seed if self.leads else int(np.random.SeedSequence([seed, self.rank]).generate_state(1)[0])

    def share(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """This process's part of some rows, as long as any other's: the last ones repeat the first rows to fill up.

        Example:
            >>> [Ranks(rank, 2, 2).share(np.array([5, 6, 7])).tolist() for rank in (0, 1)]
            [[5, 6], [7, 5]]
        """
        length = -(-len(rows) // self.world_size)
        return np.resize(rows, length * self.world_size)[self.rank * length :][:length]


ALONE = Ranks()
"""One process by itself."""
