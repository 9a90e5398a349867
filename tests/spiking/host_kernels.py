"""Runs the CUDA kernels' own text on the host: compiled by the host's C++ compiler behind host_cuda.h."""

import ctypes
import hashlib
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from slowfast.spiking.kernels.source import Variant, kernel_source

COMPILER = shutil.which("g++") or shutil.which("clang++")
OPTIONS = ("-std=c++17", "-O0", "-w", "-fPIC", "-ffp-contract=off")
BUILD = tempfile.TemporaryDirectory(prefix="host_kernels_")


@cache
def precompiled_header() -> Path:
    """host_cuda.h, compiled once for all variants."""
    header = Path(BUILD.name) / "host_cuda.h"
    shutil.copy(Path(__file__).with_name("host_cuda.h"), header)
    subprocess.run([COMPILER, *OPTIONS, "-x", "c++-header", header, "-o", f"{header}.gch"], check=True)
    return header


@cache
def library(variant: Variant) -> ctypes.CDLL:
    """The variant's kernels as functions of the host."""
    exports = "\n".join(f"EXPORT({name})" for name in variant.kernels)
    text = f'#include "{precompiled_header()}"\n{kernel_source(variant)}\n{exports}\n'
    target = Path(BUILD.name) / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.so"
    command = [COMPILER, *OPTIONS, "-x", "c++", "-shared", "-Wl,-Bsymbolic", "-o", target, "-"]
    subprocess.run(command, input=text, text=True, check=True)
    return ctypes.CDLL(str(target))


def launch(name: str, variant: Variant, grid: tuple, block: tuple, shared: int, arguments: tuple, on: object) -> None:
    """Stands in for device.launch: same arguments, but pointers of host memory."""
    assert shared <= 48 * 1024
    values = [np.asarray(argument) for argument in arguments]
    pointers = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
    sizes = [(ctypes.c_uint * 2)(*size) for size in (grid, block)]
    library(variant)[f"run_{name}"](*sizes, pointers)
