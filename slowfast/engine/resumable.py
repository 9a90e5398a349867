"""Whether a run can go on from a checkpoint: its entries, its shapes, and the settings it was trained with."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
import yaml
from torch import Tensor, nn

from slowfast.config.node import flatten
from slowfast.engine.parallel import parameters_of
from slowfast.engine.weights import other_shapes, settings_of
from slowfast.models.pretrained import other_settings, recognise
from slowfast.utils.checkpoint import RUN_KEYS, require_run_keys
from slowfast.utils.files import CheckpointError
from slowfast.utils.logging import logger
from slowfast.version import __version__

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
VERSIONS = {"slowfast": __version__, "torch": str(torch.__version__)}


class Position(NamedTuple):
    """How far training has come: finished epochs, and finished steps and samples of the epoch under way.

    `meters`: what each rank has measured of that epoch (`TrainMeter.state`).
    """

    epoch: int = 0
    steps: int = 0
    samples: int = 0
    meters: tuple[dict, ...] = ()


# Entries of a checkpoint, and of its `position`, as Ledger writes them or upstream does.
KINDS = {
    **{"epoch": int, "world_size": int, "threads": int, "moments": int, "train_list": str, "cfg": object},
    **dict.fromkeys(("position", "model_state", "optimizer_state", "scaler_state", "scaler", "best", "versions"), dict),
    "Valtop1Err": int | float,
}
PLACE = {"epoch": int, "steps": int, "samples": int, "meters": list}
OPTIMIZER = {"state": dict, "param_groups": list}
SCALER = ("scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker")
WORDS = {int: "a whole number", str: "text", dict: "a dict", list: "a list", int | float: "a number"}
# What an optimizer keeps of each parameter that it has changed.
ADAM = {"step", "exp_avg", "exp_avg_sq"}
MOMENTS = {"SGD": {"momentum_buffer"}, "Adam": ADAM, "AdamW": ADAM}

WEIGHTS_ONLY = (
    "To start from its weights only, set TRAIN.CHECKPOINT_FILE_PATH to it, TRAIN.CHECKPOINT_EPOCH_RESET True and a new "
    "OUTPUT_DIR."
)


def refuse_odd_entries(path: Path, state: dict) -> None:
    """Looks at a checkpoint by itself, or at its outline; entries that no version knows are told in the log.

    Raises:
        CheckpointError: it is no checkpoint of a run, or an entry is not what a run writes; with its name.
    """
    require_run_keys(path, state)
    odd = next(odd_entries(state), None)
    if odd:
        raise CheckpointError(f"{path} cannot be gone on from: {odd}.")
    versions = state.get("versions") or {}
    unknown = {
        *map(str, state.keys() - KINDS.keys()),
        *(f"versions/{name}" for name in versions.keys() - VERSIONS.keys()),
    }
    if unknown:
        logger.warning("%s has entries that are not known here and not used: %s.", path, ", ".join(sorted(unknown)))
    optimizer = state["optimizer_state"]
    parameters = sum(len(group["params"]) for group in optimizer["param_groups"])
    if "moments" not in state and len(optimizer["state"]) < parameters:
        logger.warning(
            "%s has moments (optimizer_state/state) of %d parameters of %d; those of the others begin anew.",
            *(path, len(optimizer["state"]), parameters),
        )


def odd_entries(state: dict) -> Iterator[str]:
    """What in a checkpoint's entries is not as a run writes it; each line needs those before it to be right."""
    yield from wrong_kinds(
        {name: value for name, value in state.items() if value is not None or name in RUN_KEYS}, KINDS
    )
    yield from odd_position(state["epoch"], state.get("position"))
    last = settings_of(state.get("cfg")).get("SOLVER.MAX_EPOCH")
    if state["epoch"] < -1 or (isinstance(last, int) and state["epoch"] >= last):
        yield f"its epoch is {state['epoch']}, of a run of SOLVER.MAX_EPOCH {last}"
    for name in ("scaler_state", "scaler"):
        scaler = state.get(name) or {}
        yield from (f"it has no {name}/{key}" for key in SCALER if scaler and key not in scaler)
    yield from odd_moments(state["optimizer_state"], state.get("moments"))


def odd_position(epoch: int, position: dict | None) -> Iterator[str]:
    if position is None:
        return
    yield from (f"its position/{name} is not known here" for name in position if name not in PLACE)
    yield from wrong_kinds(position, PLACE, "position/")
    if position.get("epoch") != epoch + 1:
        yield f"its epoch is {epoch} and its position/epoch {position.get('epoch')}, which must be one more"
    yield from (
        f"its position/{name} is {position[name]}" for name in ("steps", "samples") if position.get(name, 0) < 0
    )


def odd_moments(optimizer: dict, count: int | None) -> Iterator[str]:
    """Where an optimizer's state is torn: the moments that are there say which there must be.

    `count`: of how many parameters there were moments; None: nothing tells.
    """
    yield from (f"it has no optimizer_state/{name}" for name in OPTIMIZER if name not in optimizer)
    yield from wrong_kinds(optimizer, OPTIMIZER, "optimizer_state/")
    for number, group in enumerate(optimizer["param_groups"]):
        if not (isinstance(group, dict) and isinstance(group.get("params"), list)):
            yield f"its optimizer_state/param_groups/{number} has no params"
    moments = optimizer["state"]
    yield from wrong_kinds(moments, dict.fromkeys(moments, dict), "optimizer_state/state/")
    if count is not None and len(moments) != count:
        yield f"its optimizer_state/state has moments of {len(moments)} parameters, and there were {count}"
    names = {name for values in moments.values() for name in values}
    for index, values in moments.items():
        yield from (f"it has no optimizer_state/state/{index}/{name}" for name in sorted(names - values.keys()))


def wrong_kinds(values: dict, kinds: dict, where: str = "") -> Iterator[str]:
    for name in [name for name in kinds if name in values]:
        value, kind = values[name], kinds[name]
        if not isinstance(value, kind) or isinstance(value, bool):
            yield f"its {where}{name} is {described(value)} and must be {WORDS[kind]}"


def described(value: object) -> str:
    return (
        repr(value) if isinstance(value, bool | int | float | str) and len(repr(value)) < 40 else type(value).__name__
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
    parameters, kind = parameters_of(optimizer), type(optimizer).__name__
    for index, values in theirs["state"].items():
        place = f"optimizer_state/state/{index}"
        if index not in range(len(parameters)):
            yield f"its {place} has no parameter"
        yield from (f"it has no {place}/{name}, which {kind} needs" for name in MOMENTS[kind] - values.keys())
        for name in MOMENTS[kind] - {"step"}:
            if wrong := misshapen(f"{place}/{name}", values[name], parameters[index]):
                yield wrong


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
    then = settings_of(state.get("cfg"))
    lines = [f"{key}: {old!r} then, {new!r} now" for key, (old, new) in changed_keys(then, cfg).items()]
    if not then:
        lines.append("cfg: the checkpoint has none that can be read, so nothing tells its settings")
    list_then = state.get("train_list") or train_list
    if list_then != train_list:
        lines.append(f"the training list, by SHA-256: {list_then[:12]!r} then, {train_list[:12]!r} now")
    if not lines:
        return
    changed = "\n".join(f"  {line}" for line in lines)
    if not cfg.TRAIN.RESUME_CHANGED:
        raise CheckpointError(
            f"OUTPUT_DIR {cfg.OUTPUT_DIR} holds a run with other settings ({path}):\n{changed}\n"
            "Set OUTPUT_DIR to a new folder, or TRAIN.RESUME_CHANGED True to go on with the new ones."
        )
    logger.warning("Going on with changed settings (TRAIN.RESUME_CHANGED):\n%s", changed)


def changed_keys(then: dict[str, object], cfg) -> dict[str, tuple]:
    """Keys of both configs whose values differ and decide training: key -> (then, now)."""
    now = flatten(yaml.safe_load(cfg.dump()))
    return {
        key: (then[key], now[key])
        for key in sorted(then.keys() & now.keys())
        if then[key] != now[key] and key not in FREE_KEYS and key.split(".")[0] not in FREE_SECTIONS
    }
