"""neuron.cu on the CPU: compiled by the machine's C++ compiler, run by as many threads as torch uses.

Torch's own operators would read and write memory once for every operation of every time step; the kernel does once
for all. Without a compiler (or with CXX set to nothing), or where its work cannot be kept or loaded, `eager` computes
the same from torch's operators.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from slowfast.spiking.kernels.cache import load_or_build
from slowfast.spiking.kernels.layout import Layout
from slowfast.spiking.kernels.source import Variant, kernel_source
from slowfast.utils.logging import logger
from slowfast.utils.machine import cpu_info

HEADER = Path(__file__).with_name("cpu.h")
# Contraction would round a * b + c otherwise than a GPU does; no operation here depends on errno or traps.
OPTIONS = "-std=c++17 -O3 -march=native -ffp-contract=off -fopenmp-simd -fno-math-errno -fno-trapping-math".split()
OPTIONS += ["-w", "-fPIC", "-shared"]
BLOCKS = 16  # whatever the number of threads, so that sums do not depend on it
_given_up = threading.Event()  # by this process, after it could not compile or load


class NotCompiledError(RuntimeError):
    """This process cannot use compiled kernels, as it has logged; `available` is false from now on."""


def available() -> bool:
    """Whether there is a compiler, and nothing has gone wrong with it yet."""
    return compiler() is not None and not _given_up.is_set()


@cache
def compiler() -> str | None:
    """The C++ compiler: what CXX names, else g++ or clang++."""
    names = [os.environ["CXX"]] if "CXX" in os.environ else ["g++", "clang++"]
    found = next((found for name in names if name and (found := shutil.which(name))), None)
    if found is None and os.environ.get("CXX"):
        say_slower(f"CXX {os.environ['CXX']} is no program")
    return found


def say_slower(why: str) -> None:
    logger.warning(
        "Spiking layers are computed on the CPU by torch's operators, with the same results but slower: %s. Set "
        "XDG_CACHE_HOME to a folder of yours that can be written and executed from, CXX to a compiler that works, or "
        "CXX to nothing (CXX= python ...) to do without.",
        why,
    )


class CpuEngine:
    """Runs a block as one thread; blocks are shared out among torch's number of threads."""

    threads = 1

    def vector(self, kernel: str, dynamics, layout: Layout, affine: bool, stored: list[Tensor]) -> int:
        """Long runs of memory, which the compiler turns into the machine's vectors, yet what fits in its cache."""
        longest = 64 if layout.channels_last else 128
        return next(length for length in range(longest, 0, -1) if layout.run % length == 0)

    def blocks(self, where: torch.device) -> int:
        return BLOCKS

    def launch(
        self, kernel: str, variant: Variant, grid: tuple, block: tuple, shared: int, values: tuple, where
    ) -> None:
        values = [np.asarray(value) for value in values]
        pointers = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
        sizes = (ctypes.c_uint * 2)(*grid)
        function = library(variant)[f"run_{kernel}"]
        workers = min(torch.get_num_threads(), grid[0] * grid[1])
        if workers == 1:
            function(sizes, 0, grid[0] * grid[1], pointers)
            return
        ends = [grid[0] * grid[1] * part // workers for part in range(workers + 1)]
        jobs = [pool().submit(function, sizes, *ends[i : i + 2], pointers) for i in range(1, workers)]
        function(sizes, *ends[:2], pointers)
        for job in jobs:
            job.result()


@cache
def pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), "spiking")


os.register_at_fork(after_in_child=pool.cache_clear)  # threads do not survive a fork


@cache
def library(variant: Variant) -> ctypes.CDLL:
    """The variant's kernels as functions (grid, first block, end, arguments); compiled text is kept on disk.

    Raises:
        NotCompiledError: the compiler fails, or its work cannot be kept or loaded. It is logged.
    """
    exports = "\n".join(f"EXPORT({name})" for name in variant.kernels)
    text = f"{HEADER.read_text()}\n{kernel_source(variant)}\n{exports}\n"
    flags = cpu_info("flags")  # what -march=native depends on: a home folder may be shared by machines
    name = hashlib.sha256("\n".join([compiler(), *OPTIONS, flags, text]).encode()).hexdigest()[:24]
    try:
        return load_or_build(name, partial(compile_text, text))
    except OSError as error:
        _given_up.set()
        say_slower(str(error))
        raise NotCompiledError(str(error)) from error


def compile_text(text: str, target: Path) -> None:
    """Raises OSError with the compiler's first words if it fails."""
    logger.debug("Compiling %s for the CPU.", target)
    job = subprocess.run(
        [compiler(), *OPTIONS, "-x", "c++", "-", "-o", target],
        input=text,
        text=True,
        capture_output=True,
        env=os.environ | {"TMPDIR": str(target.parent)},  # the usual one may be full
    )
    if job.returncode:
        words = next((line.strip() for line in job.stderr.splitlines() if line.strip()), f"status {job.returncode}")
        raise OSError(f"{compiler()} could not compile the spiking kernels ({words[:300]})")
