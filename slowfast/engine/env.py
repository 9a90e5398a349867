"""The process a run lives in: its device, its random numbers, its determinism."""

import os

import numpy as np
import torch


def select_device(num_gpus: int, local_rank: int = 0) -> torch.device:
    """The CPU for `num_gpus` 0, else GPU `local_rank`, made current."""
    if num_gpus == 0:
        return torch.device("cpu")
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device


def check_gpus(num_gpus: int) -> None:
    """Refuses more GPUs than this machine has, before anything is started.

    Raises:
        ValueError: names NUM_GPUS and what to set.
    """
    available = torch.cuda.device_count()
    if num_gpus > available:
        have = f"{available} GPU{'s' * (available != 1)}" if available else "no GPU that torch can use"
        raise ValueError(f"NUM_GPUS {num_gpus}, but this machine has {have}. Set NUM_GPUS {available}.")


def make_deterministic() -> None:
    """Same seed, same numbers: no autotuned or atomic kernels where torch has others."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    # torch would also fill all fresh memory with NaN, to expose code that reads what it has not written. No result
    # depends on it, and it takes a tenth of a training step on the CPU.
    torch.utils.deterministic.fill_uninitialized_memory = False


def seed_all(*entropy: int) -> None:
    """Seeds torch (CPU and GPU) from a tuple such as (RNG_SEED, rank, step).

    A training step draws its random numbers from (seed, rank, step) alone, so a resumed run continues exactly
    without any generator state in the checkpoint.
    """
    torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1))
