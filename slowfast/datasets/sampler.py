"""Which samples make which batch, on every rank: each sample exactly once an epoch, none twice, none padded."""

from collections.abc import Iterator

import numpy as np


class EpochBatchSampler:
    """Batches of (epoch, index) for one rank.

    Shuffled (training): the epoch's order, drawn from (seed, epoch), is cut into global batches whose sizes differ
    by at most one, and each of these into the ranks' shares, again by at most one. The global batches are the same
    at any world size. An epoch may begin after its first `consumed` samples; its rest is cut in the same way, which
    gives the batches that were left if the global batch is the same, and covers the rest once if it is not.

    Not shuffled (val, test): the list is cut into batches, the same at any world size because a sample's logits
    depend in their last bits on the batch they were computed in; a rank has some of them in a row, or none.
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
        self.shuffle, self.seed = shuffle, seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int, consumed: int = 0) -> None:
        """Chooses the epoch, without its first `consumed` samples (of all ranks) in training.

        Raises:
            ValueError: as the constructor.
        """
        self.epoch, self.consumed = epoch, consumed
        self.left = self.num_items - consumed
        if not self.shuffle:
            batches = -(-self.num_items // self.batch_size)
            self.first, self.last = (-(-batches * part // self.world_size) for part in (self.rank, self.rank + 1))
            self.steps = self.last - self.first
            return
        self.steps = -(-self.left // (self.batch_size * self.world_size))
        if self.steps and self.left // self.steps < self.world_size:
            raise ValueError(
                f"{self.left} training videos in {self.steps} steps do not give each of {self.world_size} processes "
                "one a step. Use fewer processes (NUM_GPUS), list more videos or raise TRAIN.BATCH_SIZE."
            )

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for share in self.shuffled_shares() if self.shuffle else self.batches_in_order():
            yield [(self.epoch, int(index)) for index in share]

    def shuffled_shares(self) -> Iterator[np.ndarray]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.num_items)[self.consumed :]
        for batch in np.array_split(order, self.steps) if self.steps else ():
            yield np.array_split(batch, self.world_size)[self.rank]

    def batches_in_order(self) -> Iterator[range]:
        for batch in range(self.first, self.last):
            yield range(batch * self.batch_size, min((batch + 1) * self.batch_size, self.num_items))

    def global_size(self, step: int) -> int:
        """Samples of all ranks in a training step, counted from where the epoch began."""
        return self.left // self.steps + (step < self.left % self.steps)
