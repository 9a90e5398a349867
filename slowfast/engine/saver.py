"""Checkpoints written beside training: a step waits for the copy to memory, not for the disk."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

from torch import Tensor
from torch.utils._pytree import tree_map

from slowfast.utils.distributed import is_master
from slowfast.utils.files import CheckpointError, save_atomically
from slowfast.utils.logging import logger


def begin_save(state: dict, path: Path) -> Callable[[], Path]:
    """Copies the state to the CPU, so that training may go on changing it; returns what writes it."""
    copy = tree_map(lambda x: x.detach().to("cpu", copy=True) if isinstance(x, Tensor) else x, state)
    return partial(save_atomically, copy, path)


class BackgroundSaver:
    """Writes one checkpoint at a time on a thread; a write that fails is logged and leaves what is there.

    As a context it does not end in the midst of a write.
    """

    def __init__(self, folder: Path, begin: Callable[[dict, Path], Callable[[], Path]] = begin_save):
        """`begin(state, path)` takes a copy and returns what completes the write, raising CheckpointError."""
        self.folder, self.begin = folder, begin
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self.writing: Future | None = None

    @property
    def busy(self) -> bool:
        return self.writing is not None and not self.writing.done()

    def save(self, state: dict, name: str, then: Callable[[], None]) -> None:
        """Copies `state` and begins to write it; `then` is called once it is on disk. Waits for the write before."""
        self.wait()
        if is_master() and not self.folder.is_dir():
            logger.warning("%s has been removed under the run; it is made again.", self.folder)
        self.writing = self.thread.submit(self.complete, self.begin(state, self.folder / name), then)

    def complete(self, write: Callable[[], Path], then: Callable[[], None]) -> None:
        started = time.perf_counter()
        try:
            path = write()
        except CheckpointError as error:
            if is_master():
                logger.error("%s The run goes on; older checkpoints are as they were.", error)
            return
        logger.info("Saved %s (%.1f s, beside the run)", path, time.perf_counter() - started)
        then()

    def wait(self) -> None:
        """Until nothing is being written. A write's own mistakes are raised here, a full disk was logged."""
        if self.writing is not None:
            self.writing.result()
            self.writing = None

    def __enter__(self) -> "BackgroundSaver":
        return self

    def __exit__(self, *exception) -> None:
        """Waits; what went wrong in the write is raised unless something else did, which tells more."""
        try:
            self.wait()
        except Exception:
            if exception[0] is None:
                raise
