"""One model on many processes: DDP, or FSDP2; and how checkpoints, whole or in shards, come into either."""

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.distributed.tensor import empty as empty_shard
from torch.nn.parallel import DistributedDataParallel

from slowfast.utils.distributed import get_world_size, sharded_like


def shard_blocks(model: nn.Module) -> nn.Module:
    """Shards every block (what stands in a ModuleList) and the rest over all ranks, in place (FSDP2).

    Scalars, such as a PLIF's time constant, cannot be sharded; `average_replicated` keeps them equal.
    """
    # It would matter if something changed a block's output in place; nothing does.
    warnings.filterwarnings("ignore", r"FSDP2-wrapped module \(.*\) returned a view tensor")
    scalars = {parameter for parameter in model.parameters() if parameter.dim() == 0}
    for stage in model.modules():
        if isinstance(stage, nn.ModuleList):
            for block in stage:
                fully_shard(block, ignored_params=scalars)
    return fully_shard(model, ignored_params=scalars)


def is_sharded(model: nn.Module) -> bool:
    return isinstance(model, FSDPModule)


@contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """Within it a sharded model is whole on every rank, so that ranks may run it different numbers of times."""
    shards = [module for module in model.modules() if isinstance(module, FSDPModule)]
    for module in shards:
        module.set_reshard_after_forward(False, recurse=False)
        module.unshard()
    try:
        yield
    finally:
        for module in shards:
            module.set_reshard_after_forward(module is not model, recurse=False)
            module.reshard()


def average_replicated(model: nn.Module) -> None:
    """Averages over all ranks the gradients of what a sharded model does not shard."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None and not isinstance(p.grad, DTensor)]
    if gradients:
        together = torch.stack(gradients)
        dist.all_reduce(together)
        for gradient, total in zip(gradients, together / get_world_size(), strict=True):
            gradient.copy_(total)


def gradient_norm(model: nn.Module) -> float:
    """L2 norm of all gradients, the same on every rank."""
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    parts = [[g for g in gradients if isinstance(g, DTensor) is sharded] for sharded in (False, True)]
    norms = [nn.utils.get_total_norm(part) for part in parts if part]
    norms = [(norm.full_tensor() if isinstance(norm, DTensor) else norm).item() for norm in norms]
    return norms[0] if len(norms) == 1 else math.hypot(*norms)


def data_parallel(model: nn.Module, device: torch.device, *, accumulates: bool) -> nn.Module:
    """The module to call in training: the model, with several ranks in a wrapper that averages gradients (DDP).

    `accumulates`: it is also run within `no_sync`, before whose end DDP cannot learn a static graph.
    """
    if get_world_size() == 1:
        return model
    devices = [device] if device.type == "cuda" else None
    return DistributedDataParallel(
        model, device_ids=devices, gradient_as_bucket_view=True, static_graph=not accumulates
    )


def load_model(model: nn.Module, state: dict) -> None:
    """Loads a state dict, whole or in shards, into a model, sharded or not; every name and shape must fit."""
    own = model.state_dict()
    if own.keys() == state.keys():
        state = {key: sharded_like(value, own[key]) for key, value in state.items()}
    model.load_state_dict(state)


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict) -> None:
    """Loads an optimizer's state, whole or in shards; moments take the placement of their parameters.

    What is set for a group, such as its weight decay, stays as the config has it.
    """
    parameters = parameters_of(optimizer)
    moments = {
        index: {
            name: sharded_like(value, parameters[index])
            if name != "step" and isinstance(value, Tensor) and value.shape == parameters[index].shape
            else value
            for name, value in values.items()
        }
        for index, values in state["state"].items()
        if index < len(parameters)
    }
    own = optimizer.state_dict()["param_groups"]
    groups = [mine | {"params": theirs["params"]} for mine, theirs in zip(own, state["param_groups"], strict=True)]
    optimizer.load_state_dict(state | {"state": moments, "param_groups": groups})


def parameters_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """In the order that numbers them in the optimizer's state."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def shard_maker(model: nn.Module, optimizer: torch.optim.Optimizer) -> Callable[[str, torch.Size, torch.dtype], Tensor]:
    """Makes the tensors that a folder of shards is read into (`load_shards`): as sharded as the model's and moments."""
    likes = {f"model_state/{name}": tensor for name, tensor in model.state_dict().items()}
    parameters = {f"optimizer_state/state/{index}": p for index, p in enumerate(parameters_of(optimizer))}

    def make(name: str, size: torch.Size, dtype: torch.dtype) -> Tensor:
        like = likes.get(name, parameters.get(name.rpartition("/")[0]))
        if isinstance(like, DTensor) and like.shape == size:
            return empty_shard(size, dtype=dtype, device_mesh=like.device_mesh, placements=like.placements)
        return torch.empty(size, dtype=dtype)

    return make
