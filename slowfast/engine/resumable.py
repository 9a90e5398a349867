"""Whether a run can go on from a checkpoint: its shapes, its optimizer, and the settings it was trained with."""

from collections.abc import Iterator

import torch
import yaml
from torch import Tensor, nn

from slowfast.config.node import flatten
from slowfast.engine.entries import VERSIONS, described
from slowfast.engine.parallel import parameters_of
from slowfast.engine.weights import other_shapes, settings_of
from slowfast.models.pretrained import other_settings, recognise
from slowfast.utils.files import CheckpointError
from slowfast.utils.logging import logger

# Keys that may change between an interruption and the resume without changing the weights that come out.
FREE_SECTIONS = ("TEST", "TENSORBOARD", "BENCHMARK", "DEMO", "DATA_LOADER", "DIST")
FREE_KEYS = {
    *(
        "OUTPUT_DIR",
        "NUM_GPUS",
        "NUM_SHARDS",
        "SHARD_ID",
        "DIST_BACKEND",
        "LOG_PERIOD",
        "LOG_MODEL_INFO",
        "CPU_THREADS",
    ),
    *("TRAIN.ENABLE", "TRAIN.AUTO_RESUME", "TRAIN.EVAL_PERIOD", "TRAIN.CHECKPOINT_PERIOD"),
    *("TRAIN.CHECKPOINT_EVERY_STEPS", "TRAIN.CHECKPOINT_EVERY_MINUTES", "TRAIN.KEEP_CHECKPOINTS"),
    *("TRAIN.MAX_NONFINITE_STEPS",),
    *("TRAIN.CHECKPOINT_FILE_PATH", "TRAIN.RESUME_CHANGED", "DATA.PATH_TO_DATA_DIR", "DATA.PATH_PREFIX"),
    *("DATA.CHECK_VIDEOS", "DATA.VAL_VIEW", "DATA.TEST_CROP_SIZE", "DATA.ENSEMBLE_METHOD"),
    *("DATA.MAX_BAD_VIDEOS", "DATA.DECODE_CACHE", "DATA.DECODE_CACHE_GB"),
}
# What an optimizer keeps of each parameter that it has changed; of another one nothing is known.
ADAM = {"step", "exp_avg", "exp_avg_sq"}
HYPERPARAMETERS = {"lr", "betas", "eps", "momentum", "dampening", "nesterov", "weight_decay"}
KIND_FLAGS = {"amsgrad", "maximize", "decoupled_weight_decay"}
MOMENTS = {"SGD": {"momentum_buffer"}, "Adam": ADAM, "AdamW": ADAM}

WEIGHTS_ONLY = (
    "To start from its weights only, set TRAIN.CHECKPOINT_FILE_PATH to it, TRAIN.CHECKPOINT_EPOCH_RESET True and a new "
    "OUTPUT_DIR."
)


def refuse_misfit(cfg, model: nn.Module, optimizer: torch.optim.Optimizer, state: dict, path: str) -> None:
    """Compares names and shapes with this run's model and optimizer; `state`: with its tensors, whole or sharded.

    Raises:
        CheckpointError: something does not fit, with the settings that make it so, or the first entry.
    """
    own, theirs = model.state_dict(), state["model_state"]
    wrong = next(misfits(own, theirs), None)
    if wrong:
        tensors = {name: value for name, value in theirs.items() if isinstance(value, Tensor)}
        told = other_settings(tensors, own, recognise(tensors, getattr(model, "layouts", ())))
        settings = other_shapes(cfg, state.get("cfg")) or told
        advice = (
            f"it was trained with {settings}. Set it so to go on from it." if settings else f"{wrong}. {WEIGHTS_ONLY}"
        )
        raise CheckpointError(f"{path} does not fit this model and optimizer: {advice}")
    wrong = next(optimizer_misfits(optimizer, state["optimizer_state"]), None)
    if wrong:
        raise CheckpointError(f"{path} does not fit this model and optimizer: {wrong}. {WEIGHTS_ONLY}")


def misfits(own: dict[str, Tensor], theirs: dict) -> Iterator[str]:
    yield from (f"it has no model_state/{name}" for name in own if name not in theirs)
    yield from (f"its model_state/{name} has no place" for name in theirs if name not in own)
    yield from (line for name in own if (line := misshapen(f"model_state/{name}", theirs[name], own[name])))


def optimizer_misfits(optimizer: torch.optim.Optimizer, theirs: dict) -> Iterator[str]:
    sizes = [[len(group["params"]) for group in groups] for groups in (theirs["param_groups"], optimizer.param_groups)]
    if sizes[0] != sizes[1]:
        yield f"its optimizer_state/param_groups hold {sizes[0]} parameters and must hold {sizes[1]}"
    for number, (group, own) in enumerate(zip(theirs["param_groups"], optimizer.param_groups, strict=True)):
        yield from group_misfits(f"optimizer_state/param_groups/{number}", group, own)
    parameters, kind = parameters_of(optimizer), type(optimizer).__name__
    moments = MOMENTS.get(kind, set())
    for index, values in theirs["state"].items():
        place = f"optimizer_state/state/{index}"
        if index not in range(len(parameters)):
            yield f"its {place} has no parameter"
        yield from (f"it has no {place}/{name}, which {kind} needs" for name in moments - values.keys())
        if "step" in moments and not is_step(values["step"]):
            yield f"its {place}/step is {described(values['step'])} and must be a count of steps"
        for name in moments - {"step"}:
            if kind == "SGD" and values[name] is None:  # without momentum older versions of torch write so
                continue
            if wrong := misshapen(f"{place}/{name}", values[name], parameters[index]):
                yield wrong


def group_misfits(place: str, group: dict, own: dict) -> Iterator[str]:
    """Where a group is another optimizer's: torch would take over what it has, and miss what it has not."""
    yield from (f"it has no {place}/{name}" for name in sorted(HYPERPARAMETERS & own.keys() - group.keys()))
    for name in sorted(HYPERPARAMETERS & own.keys()):
        if not is_like(group[name], own[name]):
            yield f"its {place}/{name} is {described(group[name])} and must be like {own[name]}"
    for name in sorted(KIND_FLAGS & own.keys() & group.keys()):
        if group[name] != own[name]:
            yield f"its {place}/{name} is {described(group[name])}, which is another optimizer's"


def is_step(value: object) -> bool:
    """Whether it is how often a parameter has changed, which torch counts in a tensor, older versions in a number."""
    if isinstance(value, Tensor):
        value = value.item() if value.numel() == 1 and not value.is_complex() else None
    return type(value) in (int, float) and 1 <= value < 1e15


def is_like(value: object, own: float | tuple[float, ...]) -> bool:
    """Whether a hyperparameter is a number, or as many of them as the optimizer's own."""
    if isinstance(own, tuple):
        return isinstance(value, tuple | list) and len(value) == len(own) and all(map(is_like, value, own))
    return isinstance(value, int | float | Tensor)


def misshapen(name: str, value: object, like: Tensor) -> str:
    """How a value of a checkpoint differs from the shape of the tensor it is for; empty: it does not."""
    if not isinstance(value, Tensor):
        return f"its {name} is {described(value)} and no tensor"
    return f"its {name} is {tuple(value.shape)} and must be {tuple(like.shape)}" if value.shape != like.shape else ""


def check_config(cfg, state: dict, path: str, train_list: str) -> None:
    """Refuses to go on with other settings than the checkpoint's, unless TRAIN.RESUME_CHANGED allows it."""
    for package, version in (state.get("versions") or {}).items():
        if version != VERSIONS.get(package, version):
            logger.warning(
                "%s was saved by %s %s and %s continues: the weights may differ from an uninterrupted run's.",
                *(path, package, version, VERSIONS[package]),
            )
    changed = changes(cfg, state, train_list)
    if not changed:
        return
    if not cfg.TRAIN.RESUME_CHANGED:
        raise CheckpointError(
            f"OUTPUT_DIR {cfg.OUTPUT_DIR} holds a run with other settings ({path}):\n{changed}\n"
            "Set OUTPUT_DIR to a new folder, or TRAIN.RESUME_CHANGED True to go on with the new ones."
        )
    logger.warning("Going on with changed settings (TRAIN.RESUME_CHANGED):\n%s", changed)


def warn_changes(cfg, state: dict, path: str, train_list: str) -> None:
    """Says what is other than in the run whose checkpoint a new run goes on from."""
    changed = changes(cfg, state, train_list)
    if changed:
        logger.warning("Going on from %s with other settings than its run had:\n%s", path, changed)


def changes(cfg, state: dict, train_list: str) -> str:
    """A line for each thing that decides the weights and is not as in a checkpoint's run; empty: there is none."""
    then = settings_of(state.get("cfg"))
    lines = [f"{key}: {old!r} then, {new!r} now" for key, (old, new) in changed_keys(then, cfg).items()]
    if not then:
        lines.append("cfg: the checkpoint has none that can be read, so nothing tells its settings")
    list_then = state.get("train_list") or train_list
    if list_then != train_list:
        lines.append(f"the training list, by SHA-256: {list_then[:12]!r} then, {train_list[:12]!r} now")
    return "\n".join(f"  {line}" for line in lines)


def changed_keys(then: dict[str, object], cfg) -> dict[str, tuple]:
    """Keys of both configs whose values differ and decide training: key -> (then, now)."""
    now = flatten(yaml.safe_load(cfg.dump()))
    return {
        key: (then[key], now[key])
        for key in sorted(then.keys() & now.keys())
        if then[key] != now[key] and key not in FREE_KEYS and key.split(".")[0] not in FREE_SECTIONS
    }
