"""Learning rate as a pure function of the exact epoch (epoch + step / steps per epoch)."""

import math
from collections.abc import Callable

from slowfast.config import CfgNode, ConfigError, Key, add_section
from slowfast.config.check import rule
from slowfast.config.valid import listed, number, registered, whole


def cosine(epoch: float, *, base_lr: float, end_lr: float, max_epoch: float, start_epoch: float = 0.0) -> float:
    """Half a cosine from `base_lr` at `start_epoch` to `end_lr` at `max_epoch`; `base_lr` if that is not later."""
    if max_epoch <= start_epoch:
        return base_lr
    progress = (epoch - start_epoch) / (max_epoch - start_epoch)
    return end_lr + (base_lr - end_lr) * (math.cos(math.pi * progress) + 1.0) * 0.5


def steps_with_relative_lrs(epoch: float, *, base_lr: float, steps: list[float], lrs: list[float]) -> float:
    """`base_lr` times the factor of the last of `steps` that is not after `epoch`."""
    index = max(i for i, step in enumerate(steps) if i == 0 or epoch >= step)
    return base_lr * lrs[index]


def _cosine_of(cfg) -> Callable[[float], float]:
    start = cfg.SOLVER.WARMUP_EPOCHS if cfg.SOLVER.COSINE_AFTER_WARMUP else 0.0
    return lambda epoch: cosine(
        epoch,
        base_lr=cfg.SOLVER.BASE_LR,
        end_lr=cfg.SOLVER.COSINE_END_LR,
        max_epoch=cfg.SOLVER.MAX_EPOCH,
        start_epoch=start,
    )


def _steps_of(cfg) -> Callable[[float], float]:
    return lambda epoch: steps_with_relative_lrs(
        epoch, base_lr=cfg.SOLVER.BASE_LR, steps=cfg.SOLVER.STEPS, lrs=cfg.SOLVER.LRS
    )


LR_POLICIES = {"cosine": _cosine_of, "steps_with_relative_lrs": _steps_of}

add_section(
    "SOLVER",
    {
        "BASE_LR": Key(0.1, "Learning rate after the warm-up, for the whole batch.", valid=number(0, 1000)),
        "BASE_LR_SCALE_NUM_SHARDS": Key(False, "Multiply the learning rates by NUM_SHARDS."),
        "LR_POLICY": Key("cosine", "How the learning rate falls.", valid=registered(LR_POLICIES)),
        "COSINE_END_LR": Key(0.0, "Learning rate at the end of the cosine.", valid=number(0, 1000)),
        "COSINE_AFTER_WARMUP": Key(False, "Start the cosine after the warm-up instead of at epoch 0."),
        "STEPS": Key(
            [], "Epochs at which LRS takes its next factor; the first is 0.", "epochs", valid=listed(number(0))
        ),
        "LRS": Key(
            [],
            "Factors of BASE_LR, one for each of STEPS; those beyond them are not used.",
            valid=listed(number(0, 1000)),
        ),
        "MAX_EPOCH": Key(300, "Epochs to train.", "epochs", valid=whole(1)),
        "WARMUP_EPOCHS": Key(0.0, "Length of the linear warm-up, may be a fraction.", "epochs", valid=number(0, 10**6)),
        "WARMUP_START_LR": Key(0.01, "Learning rate at the start of the warm-up.", valid=number(0, 1000)),
    },
)


@rule
def warm_up_ends_before_training(cfg: CfgNode) -> None:
    if cfg.SOLVER.WARMUP_EPOCHS > cfg.SOLVER.MAX_EPOCH:
        cfg.remember("SOLVER.WARMUP_EPOCHS is longer than SOLVER.MAX_EPOCH: training ends within the warm-up.")


@rule
def a_cosine_falls(cfg: CfgNode) -> None:
    if cfg.SOLVER.LR_POLICY == "cosine" and cfg.SOLVER.COSINE_END_LR >= cfg.SOLVER.BASE_LR:
        raise ConfigError(
            f"SOLVER.COSINE_END_LR {cfg.SOLVER.COSINE_END_LR} must be below SOLVER.BASE_LR {cfg.SOLVER.BASE_LR}."
        )


@rule
def steps_have_factors(cfg: CfgNode) -> None:
    if cfg.SOLVER.LR_POLICY != "steps_with_relative_lrs":
        return
    steps, lrs = cfg.SOLVER.STEPS, cfg.SOLVER.LRS
    if not steps or steps[0] != 0 or sorted(steps) != list(steps):
        raise ConfigError(
            f"SOLVER.LR_POLICY steps_with_relative_lrs needs SOLVER.STEPS {steps} ascending from 0, as [0, 20, 40]."
        )
    if len(lrs) < len(steps):
        raise ConfigError(
            f"SOLVER.LRS has {len(lrs)} values and SOLVER.STEPS {len(steps)}. Give each step its factor, such as "
            "[1, 0.1, 0.01] for [0, 20, 40]."
        )
    if len(lrs) > len(steps):
        unused = ", ".join(map(str, lrs[len(steps) :]))
        cfg.remember(f"SOLVER.LRS has {len(lrs)} values and SOLVER.STEPS {len(steps)}: {unused} will not be used.")


def build_lr_schedule(cfg) -> Callable[[float], float]:
    """Exact epoch -> learning rate, with the linear warm-up towards the policy's value at its end."""
    policy = LR_POLICIES[cfg.SOLVER.LR_POLICY](cfg)
    warmup, start_lr = cfg.SOLVER.WARMUP_EPOCHS, cfg.SOLVER.WARMUP_START_LR

    def learning_rate(epoch: float) -> float:
        if epoch >= warmup:
            return policy(epoch)
        return start_lr + (policy(warmup) - start_lr) * epoch / warmup

    return learning_rate
