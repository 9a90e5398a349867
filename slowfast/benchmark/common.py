"""What every benchmark shares: alternated timing, ratios against a named baseline, a table and JSON."""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import torch
from tabulate import tabulate

from slowfast.utils.machine import machine, versions

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def add_model_arguments(parser: argparse.ArgumentParser, cpu_batch: int) -> None:
    """Where and in what precision layers and models run, and where upstream's SpikingJelly is."""
    on_gpu = torch.cuda.is_available()
    parser.add_argument("--device", default="cuda" if on_gpu else "cpu")
    parser.add_argument("--dtype", choices=DTYPES, default="bf16" if on_gpu else "fp32")
    parser.add_argument("--batch", type=int, default=8 if on_gpu else cpu_batch)
    parser.add_argument("--old-spikingjelly", type=Path, help="folder with SpikingJelly 0.0.0.0.14, a baseline more")


@dataclass
class Results:
    """Rows of one table, each a dict of column -> value with the same keys; `note` says how they were taken."""

    title: str
    note: str
    rows: list[dict] = field(default_factory=list)
    trees: dict[str, str] = field(default_factory=dict)  # which checkouts were compared, if any

    def print(self) -> None:
        print(f"\n{self.title}\n{tabulate(self.rows, headers='keys', floatfmt='.3g')}\n{self.note}")

    def write(self, path: Path) -> None:
        contents = {"title": self.title, "note": self.note, "machine": surroundings(), "rows": self.rows}
        contents |= {"trees": self.trees} if self.trees else {}
        path.write_text(json.dumps(contents, indent=1) + "\n")


def alternate(
    candidates: dict[str, Callable[[], object]],
    runs: int,
    device: str = "cpu",
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of every run of every candidate, one after the other in turns, so that a busy machine hits all alike.

    Each candidate runs once unmeasured first. On a CUDA device a run ends when the device has finished.
    `clock`: `time.process_time` for CPU time.
    """
    for candidate in candidates.values():
        candidate()
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(runs):
        for name, candidate in candidates.items():
            synchronize(device)
            start = clock()
            candidate()
            synchronize(device)
            seconds[name].append(clock() - start)
    return seconds


def ratios(seconds: dict[str, list[float]], baseline: str) -> dict[str, float]:
    """How many times faster than `baseline` each candidate is: the median over the turns of their ratios."""
    return {
        name: median(base / own for base, own in zip(seconds[baseline], times, strict=True))
        for name, times in seconds.items()
    }


def synchronize(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def peak_memory(run: Callable[[], object], device: str) -> float | None:
    """Bytes allocated at most during `run` beyond those before it; None on the CPU."""
    if not device.startswith("cuda"):
        return None
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    run()
    return torch.cuda.max_memory_allocated() - before


def surroundings() -> dict[str, object]:
    """What the figures were taken with."""
    return versions() | machine(on_gpu=torch.cuda.is_available())
