"""Which samples make which batch, on every rank: each sample exactly once an epoch, none twice, none padded."""

from collections.abc import Iterator

import numpy as np


class EpochBatchSampler:
    """Batches of (epoch, index) for one rank.

    The epoch's order (shuffled from (seed, epoch), or as it stands) is cut into global batches whose sizes differ
    by at most one, and each of these into the ranks' shares, again by at most one. The global batches are the
    same at any world size.
    """

    def __init__(
        self,
        num_items: int,
        batch_size: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        shuffle: bool,
        seed: int = 0,
    ):
        """`batch_size` is one rank's.

        Raises:
            ValueError: a shuffled (training) epoch would leave a rank without a sample in some step.
        """
        self.num_items, self.rank, self.world_size = num_items, rank, world_size
        self.shuffle, self.seed, self.epoch = shuffle, seed, 0
        self.steps = -(-num_items // (batch_size * world_size))
        if shuffle and num_items // self.steps < world_size:
            raise ValueError(f"{num_items} training videos do not give each of {world_size} processes one a step.")

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.arange(self.num_items)
        if self.shuffle:
            order = np.random.default_rng((self.seed, self.epoch)).permutation(order)
        for batch in np.array_split(order, self.steps):
            share = np.array_split(batch, self.world_size)[self.rank]
            yield [(self.epoch, int(index)) for index in share]

    def global_size(self, step: int) -> int:
        """Samples of all ranks in a step."""
        return self.num_items // self.steps + (step < self.num_items % self.steps)
