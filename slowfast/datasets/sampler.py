"""Which samples make which batch, on every rank: each sample exactly once an epoch, none twice, none padded."""

from collections.abc import Iterator

import numpy as np


class EpochBatchSampler:
    """Batches of (epoch, index) for one rank.

    Shuffled (training): the epoch's order, drawn from (seed, epoch), is cut into global batches whose sizes differ
    by at most one, and each of these into the ranks' shares, again by at most one. The global batches are the same
    at any world size. Not shuffled (val, test): a rank has one piece of the list, cut into batches; ranks may have
    different numbers of them, or none.
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
        self.num_items, self.batch_size = num_items, batch_size
        self.rank, self.world_size = rank, world_size
        self.shuffle, self.seed, self.epoch = shuffle, seed, 0
        if shuffle:
            self.steps = -(-num_items // (batch_size * world_size))
            if num_items // self.steps < world_size:
                raise ValueError(
                    f"{num_items} training videos in {self.steps} steps do not give each of {world_size} processes one "
                    "a step. Use fewer processes (NUM_GPUS), list more videos or raise TRAIN.BATCH_SIZE."
                )
        else:
            self.first, self.last = (-(-num_items * part // world_size) for part in (rank, rank + 1))
            self.steps = -(-(self.last - self.first) // batch_size)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for share in self.shuffled_shares() if self.shuffle else self.shares_in_order():
            yield [(self.epoch, int(index)) for index in share]

    def shuffled_shares(self) -> Iterator[np.ndarray]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.num_items)
        for batch in np.array_split(order, self.steps):
            yield np.array_split(batch, self.world_size)[self.rank]

    def shares_in_order(self) -> Iterator[range]:
        for start in range(self.first, self.last, self.batch_size):
            yield range(start, min(start + self.batch_size, self.last))

    def global_size(self, step: int) -> int:
        """Samples of all ranks in a training step."""
        return self.num_items // self.steps + (step < self.num_items % self.steps)
