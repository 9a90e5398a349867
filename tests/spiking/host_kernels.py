"""Runs the CUDA kernels' text with real blocks of threads on the host, as coroutines (coroutines.h)."""

import ctypes
import hashlib
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from slowfast.spiking.kernels.cpu import HEADER, compiler
from slowfast.spiking.kernels.cuda import CudaEngine
from slowfast.spiking.kernels.source import Variant, kernel_source

SEQUENCES = {"forward": (0, 5), "backward": (0, 2, 8), "moments": (0,), "combine": (0, 1, 5)}  # among the arguments
OPTIONS = ("-std=c++17", "-O0", "-w", "-fPIC", "-ffp-contract=off", f"-I{HEADER.parent}")
BUILD = tempfile.TemporaryDirectory(prefix="host_kernels_")


class HostedCudaEngine(CudaEngine):
    """The CUDA engine's choices, on a device of one small processor made of coroutines."""

    threads = 32

    def blocks(self, where) -> int:
        return 4

    def launch(
        self, kernel: str, variant: Variant, grid: tuple, block: tuple, shared: int, values: tuple, where
    ) -> None:
        assert shared <= 48 * 1024
        for index in SEQUENCES[kernel]:  # a GPU faults where a host would not
            assert int(values[index]) % (variant.vector * variant.dtype.itemsize) == 0
        values = [np.asarray(value) for value in values]
        pointers = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
        sizes = [(ctypes.c_uint * 2)(*size) for size in (grid, block)]
        library(variant)[f"run_{kernel}"](*sizes, pointers)


@cache
def precompiled_header() -> Path:
    """coroutines.h, compiled once for all variants."""
    header = Path(BUILD.name) / "coroutines.h"
    shutil.copy(Path(__file__).with_name("coroutines.h"), header)
    subprocess.run([compiler(), *OPTIONS, "-x", "c++-header", header, "-o", f"{header}.gch"], check=True)
    return header


@cache
def library(variant: Variant) -> ctypes.CDLL:
    """The variant's kernels as functions of the host."""
    exports = "\n".join(f"EXPORT({name})" for name in variant.kernels)
    text = f'#include "{precompiled_header()}"\n{kernel_source(variant)}\n{exports}\n'
    target = Path(BUILD.name) / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.so"
    command = [compiler(), *OPTIONS, "-x", "c++", "-shared", "-Wl,-Bsymbolic", "-o", target, "-"]
    subprocess.run(command, input=text, text=True, check=True)
    return ctypes.CDLL(str(target))
