"""Optimizers and their parameter groups."""

import torch
from torch import nn

# Every batch norm of torch and ours derives from this one.
from torch.nn.modules.batchnorm import _NormBase

from slowfast.config import CfgNode, ConfigError, Key, add_section
from slowfast.config.check import rule
from slowfast.config.valid import RATE, SHARE, listed, number, registered, whole


def parameter_groups(model: nn.Module, cfg) -> list[dict]:
    """Three groups: norms (BN.WEIGHT_DECAY), decayed weights, and those without decay.

    Never decayed: neurons' scalar parameters (decay would pull a PLIF's time constant towards 2) and what the
    model's `no_weight_decay()` names. With SOLVER.ZERO_WD_1D_PARAM also vectors and biases.
    SOLVER.LEGACY_PARAM_GROUPS decays scalars and ignores `no_weight_decay()`, as upstream.
    """
    legacy = cfg.SOLVER.LEGACY_PARAM_GROUPS
    exempt = set() if legacy else set(getattr(model, "no_weight_decay", set)())
    norms, decayed, undecayed = [], [], []
    for module_name, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad:
                continue
            full_name = f"{module_name}.{name}" if module_name else name
            scalar = parameter.dim() == 0 and not legacy
            vector = cfg.SOLVER.ZERO_WD_1D_PARAM and (parameter.dim() == 1 or name == "bias")
            if isinstance(module, _NormBase):
                norms.append(parameter)
            elif scalar or vector or full_name in exempt:
                undecayed.append(parameter)
            else:
                decayed.append(parameter)
    groups = [
        {"name": "norms", "params": norms, "weight_decay": cfg.BN.WEIGHT_DECAY},
        {"name": "decayed", "params": decayed, "weight_decay": cfg.SOLVER.WEIGHT_DECAY},
        {"name": "undecayed", "params": undecayed, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def describe_groups(optimizer: torch.optim.Optimizer) -> str:
    """One line: how many tensors and parameters each group has, and its weight decay."""
    parts = []
    for group in optimizer.param_groups:
        count = sum(parameter.numel() for parameter in group["params"])
        name = group.get("name", "group")
        parts.append(f"{name} {len(group['params'])} tensors / {count:,} (weight decay {group['weight_decay']:g})")
    return "; ".join(parts)


def _sgd(groups, cfg):
    return torch.optim.SGD(
        groups,
        lr=cfg.SOLVER.BASE_LR,
        momentum=cfg.SOLVER.MOMENTUM,
        dampening=cfg.SOLVER.DAMPENING,
        nesterov=cfg.SOLVER.NESTEROV,
    )


def _adam(groups, cfg):
    return torch.optim.Adam(groups, lr=cfg.SOLVER.BASE_LR, betas=tuple(map(float, cfg.SOLVER.BETAS)))


def _adamw(groups, cfg):
    return torch.optim.AdamW(groups, lr=cfg.SOLVER.BASE_LR, betas=tuple(map(float, cfg.SOLVER.BETAS)))


OPTIMIZERS = {"sgd": _sgd, "adam": _adam, "adamw": _adamw}

add_section(
    "SOLVER",
    {
        "OPTIMIZING_METHOD": Key("sgd", "The optimizer.", valid=registered(OPTIMIZERS)),
        "MOMENTUM": Key(0.9, "Momentum of SGD.", valid=RATE),
        "DAMPENING": Key(0.0, "Dampening of SGD's momentum.", valid=RATE),
        "NESTEROV": Key(True, "Nesterov momentum."),
        "BETAS": Key([0.9, 0.999], "Decay rates of Adam's moments.", valid=listed(RATE, 2)),
        "WEIGHT_DECAY": Key(0.0001, "Weight decay of the weights.", valid=SHARE),
        "ZERO_WD_1D_PARAM": Key(False, "No weight decay for vectors and biases."),
        "LEGACY_PARAM_GROUPS": Key(False, "Upstream's groups: weight decay also for the scalar w of a PLIF."),
        "CLIP_GRAD_L2NORM": Key(
            None, "Clip the gradient's L2 norm at this value; 0: off. None: as published, else off.", valid=number(0)
        ),
        "CLIP_GRAD_VAL": Key(None, "Clip every entry of the gradient at this value; None or 0: off.", valid=number(0)),
        "GRADIENT_ACCUMULATION_STEPS": Key(
            1, "Steps whose gradients are averaged for one update.", "steps", valid=whole(1)
        ),
    },
)


@rule
def nesterov_has_a_momentum(cfg: CfgNode) -> None:
    is_nesterov = cfg.SOLVER.OPTIMIZING_METHOD == "sgd" and cfg.SOLVER.NESTEROV
    if is_nesterov and (cfg.SOLVER.MOMENTUM == 0 or cfg.SOLVER.DAMPENING != 0):
        raise ConfigError(
            f"SOLVER.NESTEROV needs SOLVER.MOMENTUM above 0, now {cfg.SOLVER.MOMENTUM}, and SOLVER.DAMPENING 0, now "
            f"{cfg.SOLVER.DAMPENING}. Set them so, or SOLVER.NESTEROV False."
        )


def build_optimizer(model: nn.Module, cfg) -> torch.optim.Optimizer:
    """The optimizer SOLVER.OPTIMIZING_METHOD names over the model's parameter groups."""
    return OPTIMIZERS[cfg.SOLVER.OPTIMIZING_METHOD](parameter_groups(model, cfg), cfg)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr
