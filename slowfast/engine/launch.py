"""Starts a run on one or several processes: torchrun's or Slurm's environment, local processes, or shards by hand."""

import os
import re
import signal
import socket
import traceback
from collections.abc import Callable
from contextlib import ExitStack

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from slowfast.engine.cluster import Membership, is_preempted, membership, scontrol, slurm_job
from slowfast.engine.env import check_gpus, make_deterministic, select_device
from slowfast.engine.lock import run_lock
from slowfast.engine.meeting import join_group
from slowfast.engine.room import raise_file_limit
from slowfast.engine.signals import RunInterrupted, exit_status, forwarding_to, listening, requested
from slowfast.utils.distributed import barrier, free_port, gather_objects, is_master, on_master, processes_per_machine
from slowfast.utils.logging import USER_ERRORS, logger, report_error, setup_logging
from slowfast.utils.memory import keep_freed_memory

# How torch's backends say that another rank is gone or silent.
LOST_RANK = re.compile(
    r"Connection (closed|reset|refused)|Broken pipe|[Tt]imed out|[Tt]imeout|NCCL|socket|recvValue failed|peer"
)
GRACE_SECONDS = 10.0


class LostRankError(ConnectionError):
    """Another process of the job died or hangs; names this rank, the operator it waited in, and what torch said."""


def launch(cfg, run: Callable, init_method: str | None = None) -> None:
    """Calls `run(cfg, device)` in every process this machine contributes to the job.

    Under torchrun or srun this process is one rank. Else NUM_GPUS (on the CPU DIST.CPU_PROCESSES) processes are
    started here, of NUM_SHARDS times as many; several shards meet at `init_method`, tcp://HOST:PORT of shard 0.
    Raises:
        SystemExit: a signal has interrupted the run, with the `exit_status` of that; or a process of it has failed.
        ValueError: more GPUs asked for than there are, or shards without a meeting point.
    """
    check_gpus(cfg.NUM_GPUS)
    local = processes_per_machine(cfg)
    place = membership(os.environ)
    if place:
        if place.local_size != local and (cfg.NUM_GPUS or local > 1):
            key = "NUM_GPUS" if cfg.NUM_GPUS else "DIST.CPU_PROCESSES"
            raise ValueError(
                f"{place.source} has {place.local_size} processes on this machine and {key} is {local}. "
                f"Set {key} {place.local_size}: TRAIN.BATCH_SIZE is divided by it."
            )
        status = run_process(place, cfg, run)
    elif cfg.NUM_SHARDS > 1 and init_method is None:
        raise ValueError("NUM_SHARDS > 1 needs a meeting point: give every shard --init_method tcp://HOST:PORT.")
    else:
        where = init_method or f"tcp://localhost:{free_port()}"
        first, world_size = cfg.SHARD_ID * local, local * cfg.NUM_SHARDS
        if local == 1:
            place = Membership(first, 0, world_size, 1, where, "the command line")
            status = run_process(place, cfg, run)
        else:
            status = start_children(cfg, run, first, world_size, where)
    if status is not None:
        raise SystemExit(status)


def start_children(cfg, run: Callable, first_rank: int, world_size: int, init_method: str) -> int | None:
    """This machine's ranks as processes of their own; returns their `exit_status` if a signal has interrupted them."""
    local = processes_per_machine(cfg)
    children = mp.spawn(run_child, (cfg, run, first_rank, world_size, local, init_method), local, join=False)
    with forwarding_to(children.pids()):
        try:
            while not children.join(grace_period=GRACE_SECONDS):
                pass
        except mp.ProcessExitedException as error:
            # The child has said what is wrong, or how to go on.
            raise SystemExit(error.exit_code if error.exit_code > 0 else 1) from None
        return exit_status([requested()]) if requested() else None


def run_child(local_rank: int, cfg, run: Callable, first_rank: int, world_size: int, local: int, where: str) -> None:
    """`run_process` in a process of its own: a mistake of the user ends it with one message, not a traceback."""
    # A child without its parent would go on unseen and hold OUTPUT_DIR.
    mp._prctl_pr_set_pdeathsig(signal.SIGKILL)
    place = Membership(first_rank + local_rank, local_rank, world_size, local, where, "the command line")
    try:
        status = run_process(place, cfg, run)
    except USER_ERRORS as error:
        report_error(error, rank=local_rank)
        raise SystemExit(1) from None
    raise SystemExit(status or 0)


def run_process(place: Membership, cfg, run: Callable) -> int | None:
    """One rank's life: join the group, lock and log, run, leave; returns its `exit_status` if it was interrupted."""
    device = select_device(cfg.NUM_GPUS, place.local_rank)
    lost, status = False, None
    with ExitStack() as stack:
        stack.enter_context(listening())
        try:
            if place.world_size > 1:
                join_group(place, cfg)
            setup_logging(None)
            on_master(open_output, stack, cfg.OUTPUT_DIR)
            raise_file_limit()
            make_deterministic()
            if device.type == "cpu":
                keep_freed_memory()
            if cfg.CPU_THREADS:  # already in the preflight; else `set_threads` chooses behind it
                torch.set_num_threads(cfg.CPU_THREADS)
            announce_ranks(place, str(device), cfg)
            try:
                run(cfg, device)
            except RunInterrupted as interruption:
                signals = gather_objects(requested())
                say_how_to_go_on(interruption, signals)
                status = exit_status(signals)
            barrier()  # ranks leave together: one that goes early can take the others' connections along
        except Exception as error:
            if getattr(error, "on_every_rank", False):
                barrier()
            lost = place.world_size > 1 and isinstance(error, RuntimeError) and LOST_RANK.search(str(error))
            if lost:
                raise LostRankError(describe_loss(error, place, cfg.DIST.TIMEOUT)) from error
            raise
        finally:
            if dist.is_initialized() and not lost:  # a group without one of its ranks cannot be left in order
                dist.destroy_process_group()
    return status


def open_output(stack: ExitStack, output_dir: str) -> None:
    """Locks OUTPUT_DIR for this run and logs there."""
    try:
        stack.enter_context(run_lock(output_dir))
        setup_logging(output_dir)
    except OSError as error:
        raise OSError(
            f"OUTPUT_DIR {output_dir} cannot be written: {error}. Set OUTPUT_DIR to a folder that can."
        ) from None


def announce_ranks(place: Membership, device: str, cfg) -> None:
    """Logs who takes part, as a table, and the batch a weight update sees."""
    world_size = place.world_size
    name = "" if device == "cpu" else f"  {torch.cuda.get_device_name(device)}"
    rows = gather_objects((place.rank, socket.gethostname(), os.getpid(), device + name))
    table = "\n".join(f"  rank {rank}  {host}  process {pid}  {where}" for rank, host, pid, where in rows)
    logger.info("%d process%s, by %s:\n%s", world_size, "es" if world_size > 1 else "", place.source, table)
    if cfg.TRAIN.ENABLE:
        per_process = cfg.TRAIN.BATCH_SIZE // processes_per_machine(cfg)
        steps = accumulation_steps(cfg, world_size)
        logger.info(
            "Effective batch %d clips = %d a process x %d processes x %d accumulated x %d samples a video",
            per_process * world_size * steps * cfg.AUG.NUM_SAMPLE,
            per_process,
            world_size,
            steps,
            cfg.AUG.NUM_SAMPLE,
        )


def say_how_to_go_on(interruption: RunInterrupted, signals: list[signal.Signals | None]) -> None:
    """The last line of an interrupted run, and under Slurm the job queued again: on SIGUSR1 or when preempted."""
    logger.info("Interrupted: %s Start the same command again to go on.", interruption)
    job = slurm_job(os.environ)
    if not (job and is_master()):
        return
    try:
        # SIGUSR1 is what `sbatch --signal` sends; SIGTERM comes with preemption, and when the job is cancelled.
        if signal.SIGUSR1 in signals or (signal.SIGTERM in signals and is_preempted(job)):
            scontrol("requeue", job)
            logger.info("Slurm job %s is queued again.", job)
    except OSError as error:
        logger.error("Slurm job %s is not queued again: %s", job, error)


def describe_loss(error: RuntimeError, place: Membership, timeout: int) -> str:
    """Which rank noticed, where in the program, in which operator of torch.distributed."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if f"{os.sep}slowfast{os.sep}" in frame.filename] or frames
    where = f"{ours[-1].name} ({os.path.basename(ours[-1].filename)}:{ours[-1].lineno})"
    operators = [frame.name for frame in frames if frame.filename.endswith("distributed_c10d.py")]
    operator = operators[-1] if operators else "the exchange of gradients"
    first_line = str(error).strip().splitlines()[0]
    return (
        f"Rank {place.rank} of {place.world_size} on {socket.gethostname()} lost another rank while it waited in "
        f"{operator}, called by {where}: {first_line}. A process of the job has died or hangs; its own message tells "
        f"more. (A process waits at most DIST.TIMEOUT {timeout} s.) Start the same command again to go on from the "
        "last checkpoint."
    )


def accumulation_steps(cfg, world_size: int) -> int:
    """Loader steps per weight update: SOLVER.GRADIENT_ACCUMULATION_STEPS, or what GLOBAL_BATCH_SIZE needs.

    Raises:
        ValueError: GLOBAL_BATCH_SIZE is no multiple of the clips of one loader step.
    """
    if not cfg.GLOBAL_BATCH_SIZE:
        return cfg.SOLVER.GRADIENT_ACCUMULATION_STEPS
    clips = cfg.TRAIN.BATCH_SIZE // processes_per_machine(cfg) * world_size
    if cfg.GLOBAL_BATCH_SIZE % clips:
        raise ValueError(
            f"GLOBAL_BATCH_SIZE {cfg.GLOBAL_BATCH_SIZE} is no multiple of the {clips} clips of one step "
            f"(TRAIN.BATCH_SIZE over {world_size} processes). Set GLOBAL_BATCH_SIZE {clips} or a multiple."
        )
    return cfg.GLOBAL_BATCH_SIZE // clips
