"""Starts a run on one or several processes: torchrun's environment, local GPUs, or shards by hand."""

import os
import socket
from collections.abc import Callable

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from slowfast.engine.env import check_gpus, make_deterministic, select_device
from slowfast.utils.distributed import barrier, free_port, gather_objects
from slowfast.utils.logging import USER_ERRORS, logger, report_error, setup_logging
from slowfast.utils.memory import keep_freed_memory


def launch(cfg, run: Callable, init_method: str | None = None) -> None:
    """Calls `run(cfg, device)` in every process this machine contributes to the job.

    Under torchrun this process is one rank. Else NUM_GPUS processes are started here (one for NUM_GPUS 0),
    of NUM_SHARDS times as many; several shards meet at `init_method`, tcp://HOST:PORT of shard 0.

    Raises:
        ValueError: more GPUs asked for than there are, or shards without a meeting point.
    """
    check_gpus(cfg.NUM_GPUS)
    if {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys():
        local_rank = int(os.environ.get("LOCAL_RANK", 0))
        first_rank, world_size = int(os.environ["RANK"]) - local_rank, int(os.environ["WORLD_SIZE"])
        run_process(local_rank, cfg, run, first_rank, world_size, "env://")
        return
    local = max(cfg.NUM_GPUS, 1)
    if cfg.NUM_SHARDS > 1 and init_method is None:
        raise ValueError("NUM_SHARDS > 1 needs a meeting point: give every shard --init_method tcp://HOST:PORT.")
    where = init_method or f"tcp://localhost:{free_port()}"
    args = (cfg, run, cfg.SHARD_ID * local, local * cfg.NUM_SHARDS, where)
    if local == 1:
        run_process(0, *args)
        return
    try:
        mp.spawn(run_child, args=args, nprocs=local)
    except mp.ProcessExitedException as error:
        # The child has said what is wrong.
        raise SystemExit(error.exit_code) from None


def run_child(local_rank: int, *args) -> None:
    """`run_process` in a process of its own: a mistake of the user ends it with one message, not a traceback."""
    try:
        run_process(local_rank, *args)
    except USER_ERRORS as error:
        report_error(error, rank=local_rank)
        raise SystemExit(1) from None


def run_process(local_rank: int, cfg, run: Callable, first_rank: int, world_size: int, init_method: str) -> None:
    """One rank's life: join the group, set up logging and determinism, run, leave."""
    rank = first_rank + local_rank
    device = select_device(cfg.NUM_GPUS, local_rank)
    if world_size > 1:
        backend = cfg.DIST_BACKEND if cfg.NUM_GPUS else "gloo"
        dist.init_process_group(backend, init_method=init_method, world_size=world_size, rank=rank)
    try:
        setup_logging(cfg.OUTPUT_DIR)
        make_deterministic()
        if device.type == "cpu":
            keep_freed_memory()
        if cfg.CPU_THREADS:
            torch.set_num_threads(cfg.CPU_THREADS)
        announce_ranks(rank, world_size, str(device), cfg)
        run(cfg, device)
        barrier()  # ranks leave together: one that goes early can take the others' connections along
    except Exception as error:
        if getattr(error, "on_every_rank", False):
            barrier()
        raise
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def announce_ranks(rank: int, world_size: int, device: str, cfg) -> None:
    """Logs who takes part and the batch a weight update sees."""
    threads = f", {torch.get_num_threads()} threads" if device == "cpu" else ""
    hosts = gather_objects(f"rank {rank} on {socket.gethostname()} {device}{threads}")
    logger.info("%d process%s: %s", world_size, "es" if world_size > 1 else "", "; ".join(hosts))
    if cfg.TRAIN.ENABLE:
        per_process = cfg.TRAIN.BATCH_SIZE // max(cfg.NUM_GPUS, 1)
        steps = accumulation_steps(cfg, world_size)
        logger.info(
            "Effective batch %d clips = %d a process x %d processes x %d accumulated x %d samples a video",
            per_process * world_size * steps * cfg.AUG.NUM_SAMPLE,
            per_process,
            world_size,
            steps,
            cfg.AUG.NUM_SAMPLE,
        )


def accumulation_steps(cfg, world_size: int) -> int:
    """Loader steps per weight update: SOLVER.GRADIENT_ACCUMULATION_STEPS, or what GLOBAL_BATCH_SIZE needs.

    Raises:
        ValueError: GLOBAL_BATCH_SIZE is no multiple of the clips of one loader step.
    """
    if not cfg.GLOBAL_BATCH_SIZE:
        return cfg.SOLVER.GRADIENT_ACCUMULATION_STEPS
    clips = cfg.TRAIN.BATCH_SIZE // max(cfg.NUM_GPUS, 1) * world_size
    if cfg.GLOBAL_BATCH_SIZE % clips:
        raise ValueError(
            f"GLOBAL_BATCH_SIZE {cfg.GLOBAL_BATCH_SIZE} is no multiple of the {clips} clips of one step "
            f"(TRAIN.BATCH_SIZE over {world_size} processes). Set GLOBAL_BATCH_SIZE {clips} or a multiple."
        )
    return cfg.GLOBAL_BATCH_SIZE // clips
