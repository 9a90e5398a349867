"""Batches from loader processes: started once, ahead of the model, and able to lose one to a video."""

import gc
import multiprocessing
import os
import re
import signal
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate, get_worker_info

from slowfast.datasets.base import Sample, Unread, VideoDataset
from slowfast.datasets.sampler import EpochBatchSampler
from slowfast.utils.logging import logger
from slowfast.utils.memory import keep_freed_memory

# Signals by which a decoder takes its process along; others (out of memory, a person) are not the video's doing.
CRASHES = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL}


class LoaderError(ValueError):
    """A loader process ended, and not because of the video it was reading."""


class Batch(NamedTuple):
    """clips uint8 [B, C, T, H, W]; labels, video (row of the list), view int64 [B]; valid bool [B]."""

    clips: Tensor
    labels: Tensor
    video: Tensor
    view: Tensor
    valid: Tensor
    unread: tuple[Unread, ...] = ()

    def pin_memory(self) -> "Batch":
        *columns, unread = self
        return Batch(*(column.pin_memory() for column in columns), unread)


def collate(samples: list[list[Sample]]) -> Batch:
    """Samples of several videos, each a list of its copies, as one batch."""
    clips, *columns, unread = zip(*(sample for copies in samples for sample in copies), strict=True)
    once = tuple(dict.fromkeys(failure for failures in unread for failure in failures))
    # In a loader process it writes the clips into shared memory at once.
    return Batch(default_collate(clips), *(torch.tensor(column) for column in columns), once)


class Loader:
    """The batches of a data set, one pass of its `batch_sampler` an iteration.

    A video that kills the loader process decoding it is logged and unreadable from then on; the pass goes on with
    the batch that was lost. As a context it leaves no processes behind an error.
    """

    def __init__(
        self, dataset: VideoDataset, batch_sampler: EpochBatchSampler, *, workers: int, seed: int, pin_memory: bool
    ):
        self.dataset, self.batch_sampler, self.workers, self.seed = dataset, batch_sampler, workers, seed
        self.remaining, self.pin_memory = Remaining(batch_sampler), pin_memory
        # What each process reads, for the case that it dies of it: (pid, row of the list or -1).
        self.reading = torch.full((max(workers, 1), 2), -1).share_memory_()
        self.loader = self.start()

    def start(self) -> DataLoader:
        """The processes begin to run with the first iteration, and stay.

        Nothing in it refers to this object: in a cycle, processes would be ended late and slowly.
        """
        return DataLoader(
            self.dataset,
            batch_sampler=self.remaining,
            collate_fn=collate,
            num_workers=self.workers,
            worker_init_fn=partial(begin_process, self.reading),
            # Its own, so that an iteration draws nothing from the run's: samples are seeded one by one.
            generator=torch.Generator().manual_seed(self.seed),
            persistent_workers=self.workers > 0,
            pin_memory=self.pin_memory,
        )

    def __enter__(self) -> "Loader":
        self.others = multiprocessing.active_children()
        return self

    def __exit__(self, *exception) -> None:
        """Ends the processes if there was an error, whose traceback holds what would end them else.

        At exit multiprocessing would wait for them: it asks them by SIGTERM, to which they do not listen in a run.
        """
        if exception[0] is not None:
            for process in multiprocessing.active_children():
                if process not in self.others:
                    process.kill()

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[Batch]:
        self.remaining.skipped = 0
        while True:
            # PyTorch would raise the death of a process wherever the program is just then, in the midst of a step.
            handler = signal.getsignal(signal.SIGCHLD)
            batches = iter(self.loader)
            if signal.getsignal(signal.SIGCHLD) is not handler:
                signal.signal(signal.SIGCHLD, handler)
            processes = {process.pid: process for process in multiprocessing.active_children()}
            try:
                for batch in batches:
                    self.remaining.skipped += 1
                    yield batch
                return
            except RuntimeError as error:
                dead = [processes[int(pid)] for pid in re.findall(r"\d+", str(error)) if int(pid) in processes]
                if not dead or "DataLoader worker" not in str(error):
                    raise
                for process in dead:
                    self.lay_to_video(process, error)
            self.loader = self.start()

    def lay_to_video(self, process, error: RuntimeError) -> None:
        """Marks the video that a dead process was reading as unreadable.

        Raises:
            LoaderError: the process was not reading, or was ended by another signal than a crash.
        """
        rows = dict(self.reading.tolist())
        row = rows.get(process.pid, -1)
        ended = signal.Signals(-process.exitcode).name if process.exitcode < 0 else f"exit code {process.exitcode}"
        if row < 0 or -process.exitcode not in CRASHES:
            at = f" while it read {self.dataset.entries[row].path}" if row >= 0 else ""
            raise LoaderError(
                f"A loader process ended with {ended}{at}. SIGKILL usually means that the machine ran out of memory: "
                "lower DATA_LOADER.NUM_WORKERS."
            ) from error
        entry = self.dataset.entries[row]
        logger.error("%s:%d: %s ended its loader process (%s).", self.dataset.list_path, entry.line, entry.path, ended)
        self.dataset.crashed[row] = ended


def begin_process(reading: Tensor, worker_id: int) -> None:
    gc.freeze()  # garbage of the parent may belong to threads of its own, and freeing it here would wait for them
    keep_freed_memory()
    torch.set_num_threads(1)  # loader processes fill the cores by their number
    reading[worker_id] = torch.tensor([os.getpid(), -1])
    get_worker_info().dataset.reading = reading[worker_id, 1:]


class Remaining:
    """A sampler's batches without the first `skipped`."""

    def __init__(self, batch_sampler: EpochBatchSampler):
        self.batch_sampler, self.skipped = batch_sampler, 0

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return islice(iter(self.batch_sampler), self.skipped, None)

    def __len__(self) -> int:
        return len(self.batch_sampler)


def prefetch(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """The batches with their clips on the device; on CUDA the next one's are copied beside the step of this one.

    The copy overlaps only from pinned memory (DATA_LOADER.PIN_MEMORY).
    """
    if device.type != "cuda":
        yield from batches
        return
    stream, ready = torch.cuda.Stream(device), None
    for batch in batches:
        with torch.cuda.stream(stream):
            copied = batch._replace(clips=batch.clips.to(device, non_blocking=True)), stream.record_event()
        if ready:
            yield arrived(*ready)
        ready = copied
    if ready:
        yield arrived(*ready)


def arrived(batch: Batch, event: torch.cuda.Event) -> Batch:
    """Lets the current stream wait for the copy, and the copy's memory live until that stream has used it."""
    stream = torch.cuda.current_stream(batch.clips.device)
    stream.wait_event(event)
    batch.clips.record_stream(stream)
    return batch
