"""Checkpoints written beside training: a step waits for the copy to memory, not for the disk."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from torch import Tensor
from torch.utils._pytree import tree_map

from slowfast.utils.checkpoint import CheckpointError, save_atomically
from slowfast.utils.logging import logger


def copy_to_memory(state: dict) -> dict:
    """The state with every tensor copied to the CPU, so that training may go on changing the originals."""
    return tree_map(lambda x: x.detach().to("cpu", copy=True) if isinstance(x, Tensor) else x, state)


class BackgroundSaver:
    """Writes one checkpoint at a time on a thread; a write that fails is logged and leaves what is there."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self.writing: Future | None = None

    @property
    def busy(self) -> bool:
        return self.writing is not None and not self.writing.done()

    def save(self, state: dict, name: str, then: Callable[[], None]) -> None:
        """Copies `state` and begins to write it; `then` is called once it is on disk. Waits for the write before."""
        self.wait()
        self.writing = self.thread.submit(self.write, copy_to_memory(state), name, then)

    def write(self, state: dict, name: str, then: Callable[[], None]) -> None:
        started = time.perf_counter()
        if not self.folder.is_dir():
            logger.warning("%s has been removed under the run; it is made again.", self.folder)
        try:
            path = save_atomically(state, self.folder / name)
        except CheckpointError as error:
            logger.error("%s The run goes on; older checkpoints are as they were.", error)
            return
        logger.info("Saved %s (%.1f s, beside the run)", path, time.perf_counter() - started)
        then()

    def wait(self) -> None:
        """Until nothing is being written. A write's own mistakes are raised here, a full disk was logged."""
        if self.writing is not None:
            self.writing.result()
            self.writing = None
