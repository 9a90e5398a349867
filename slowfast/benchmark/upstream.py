"""The layers that upstream's spiking models run on, rebuilt from SpikingJelly 0.0.0.0.14 as a baseline."""

import sys
from pathlib import Path
from types import ModuleType

from torch import Tensor, nn

from slowfast.spiking import LIF, PLIF, TimeStepBatchNorm


def load_old_spikingjelly(path: Path) -> ModuleType:
    """`spikingjelly.activation_based` of the copy under `path`, beside the installed one.

    Raises:
        FileNotFoundError: nothing there.
    """
    if not (path / "spikingjelly").is_dir():
        raise FileNotFoundError(
            f"{path} holds no package spikingjelly. Put one there: "
            f"pip install --no-deps --target {path} spikingjelly==0.0.0.0.14"
        )
    installed = take_modules()
    sys.path.insert(0, str(path))
    try:
        from spikingjelly.activation_based import functional, neuron, surrogate  # noqa: F401

        return sys.modules["spikingjelly.activation_based"]
    finally:
        sys.path.remove(str(path))
        take_modules()
        sys.modules.update(installed)


def take_modules() -> dict[str, ModuleType]:
    """Removes SpikingJelly from the imported modules and returns what was removed."""
    names = [name for name in sys.modules if name.split(".")[0] == "spikingjelly"]
    return {name: sys.modules.pop(name) for name in names}


def old_neuron(old: ModuleType, own: LIF | PLIF, backend: str, step_mode: str = "m") -> nn.Module:
    """The old package's neuron with the settings of `own`."""
    surrogate = getattr(old.surrogate, type(own.surrogate_function).__name__)(alpha=own.surrogate_function.alpha)
    common = dict(
        v_threshold=own.v_threshold,
        v_reset=own.v_reset,
        surrogate_function=surrogate,
        detach_reset=own.detach_reset,
        step_mode=step_mode,
        backend=backend,
    )
    if isinstance(own, LIF):
        return old.neuron.LIFNode(tau=own.tau, decay_input=own.decay_input, **common)
    node = old.neuron.ParametricLIFNode(init_tau=2.0, decay_input=own.decay_input, **common)
    node.w.data.copy_(own.w.data)
    return node


class PermuteCopyNorm(nn.Module):
    """Batch norm of every (time step, channel) by copying [T, B, C, ...] to [B, T * C, ...] and back."""

    def __init__(self, own: TimeStepBatchNorm):
        super().__init__()
        self.norm = nn.BatchNorm2d(own.num_features)
        self.norm.load_state_dict(own.state_dict())

    def forward(self, x: Tensor) -> Tensor:
        features = x.transpose(0, 1).flatten(1, 2).contiguous()
        flat = features.flatten(2).unsqueeze(-1)
        return self.norm(flat).view_as(features).unflatten(1, (x.shape[0], -1)).transpose(0, 1).contiguous()


class NormThenNeuron(nn.Module):
    """Stands in for a neuron that is called with the norm in front of it; at rest before each call."""

    def __init__(self, neuron: nn.Module):
        super().__init__()
        self.neuron = neuron

    def forward(self, x: Tensor, norm: nn.Module | None = None) -> Tensor:
        self.neuron.reset()
        return self.neuron(x if norm is None else norm(x))


def to_upstream(module: nn.Module, old: ModuleType, backend: str = "torch") -> nn.Module:
    """Replaces every neuron and per-step norm within `module` by upstream's."""
    for name, child in module.named_children():
        if isinstance(child, LIF | PLIF):
            setattr(module, name, NormThenNeuron(old_neuron(old, child, backend)))
        elif isinstance(child, TimeStepBatchNorm):
            setattr(module, name, PermuteCopyNorm(child))
        else:
            to_upstream(child, old, backend)
    return module
