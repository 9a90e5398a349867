"""The process group as the rest of the package sees it: works alike with and without one."""

import socket
from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor, nn


def free_port() -> int:
    """A TCP port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def is_distributed() -> bool:
    return dist.is_available() and dist.is_initialized()


def get_rank() -> int:
    return dist.get_rank() if is_distributed() else 0


def get_world_size() -> int:
    return dist.get_world_size() if is_distributed() else 1


def is_master() -> bool:
    return get_rank() == 0


def processes_per_machine(cfg) -> int:
    """Processes that share a machine's batch: one a GPU, or DIST.CPU_PROCESSES."""
    return cfg.NUM_GPUS or cfg.DIST.CPU_PROCESSES


def barrier() -> None:
    """Waits for every rank; returns at once in a single process."""
    if is_distributed():
        dist.barrier()


def all_reduce_sum(values: list[float], device: torch.device) -> list[float]:
    """Sums a short list of numbers over all ranks, in float64."""
    if not is_distributed():
        return values
    total = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(total)
    return total.tolist()


def any_rank(flags: list[bool], device: torch.device) -> list[bool]:
    """For each flag, whether it is set on any rank: the same answer on all of them."""
    return [total > 0 for total in all_reduce_sum([float(flag) for flag in flags], device)]


def all_gather(value: Tensor) -> Tensor:
    """`value` [...] of every rank, in rank order, on every rank: [ranks, ...]."""
    gathered = value.new_empty(get_world_size() * value.numel())
    # torch 2.14 has renamed it, and warns of the older name.
    gather = dist.all_gather_single if hasattr(dist, "all_gather_single") else dist.all_gather_into_tensor
    gather(gathered, value.flatten())
    return gathered.view(-1, *value.shape)


def gather_objects(value: object) -> list:
    """Picklable `value` of every rank, in rank order, on every rank."""
    if not is_distributed():
        return [value]
    gathered: list = [None] * get_world_size()
    dist.all_gather_object(gathered, value)
    return gathered


def broadcast_object(value: object) -> object:
    """The master's `value`, on every rank."""
    if not is_distributed():
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def on_master(function: Callable, *args) -> object:
    """The result of `function(*args)`, called on the master alone; what a user can cause there is raised everywhere.

    Such an error (ValueError, OSError, KeyError) has `on_every_rank` set, so that it is reported once.
    """
    result = error = None
    if is_master():
        try:
            result = function(*args)
        except (ValueError, OSError, KeyError) as caught:
            caught.on_every_rank = True
            error = caught
    result, failed = broadcast_object((result, error))
    if failed is not None:
        raise error or failed
    return result


@torch.no_grad()
def broadcast_buffers(model: nn.Module) -> None:
    """Gives every rank the master's buffers, such as the running statistics of norms."""
    if is_distributed():
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


def sharded_like(value: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, the same on every rank, as this rank's shard if `like` is one; else, and a shard, as it is."""
    if not hasattr(like, "device_mesh") or hasattr(value, "device_mesh"):
        return value
    from torch.distributed.tensor import distribute_tensor  # half a second, for sharded models only

    return distribute_tensor(value.to(like.device, like.dtype), like.device_mesh, like.placements)
