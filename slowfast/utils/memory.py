"""How much memory there is, and how the C library deals with freed memory."""

import ctypes
import os
import resource
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h


def keep_freed_memory() -> bool:
    """Lets glibc keep the memory that arrays free for the next ones; returns whether it is glibc and did.

    By default it maps every large array anew, and the system clears its pages one fault at a time: a quarter of the
    time of a training step on the CPU whose activations take hundreds of megabytes, and two thirds of that of turning
    a clip. The process stays at its peak.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, -1))


def peak_memory() -> int:
    """The most bytes of memory that this process has had so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def machine_memory() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
