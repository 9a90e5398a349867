"""The entries of a run's checkpoint: what Ledger writes and upstream wrote, and which of them are not like that."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from slowfast.engine.weights import settings_of
from slowfast.utils.checkpoint import RUN_KEYS, place_of, require_run_keys
from slowfast.utils.files import CheckpointError
from slowfast.utils.logging import logger
from slowfast.version import __version__

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
METER = {"sums": dict, "samples": int, "lr": int | float, "recent": dict}
BEST = {"top1_err": int | float, "top5_err": int | float, "epoch": int}
# Entries of this project's checkpoints; the first two are in no other project's.
OWN = ("position", "train_list")
ALWAYS = (*OWN, "best", "versions", "world_size", "scaler_state", "cfg")
SETTINGS = ("MODEL.MODEL_NAME", "SOLVER.BASE_LR", "SOLVER.MAX_EPOCH", "TRAIN.BATCH_SIZE", "RNG_SEED")
OPTIMIZER = {"state": dict, "param_groups": list}
SCALER = ("scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker")
WORDS = {object: "text", int: "a whole number", str: "text", dict: "a dict", list: "a list", int | float: "a number"}


def refuse_odd_entries(path: Path, state: dict) -> None:
    """Looks at a checkpoint by itself, or at its outline; entries that no version knows are told in the log.

    Raises:
        CheckpointError: it is no checkpoint of a run, or an entry is not what a run writes; with its name.
    """
    require_run_keys(path, state)
    odd = next(odd_entries(path, state), None)
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
    keeps_moments = any(group.get("momentum", 1) for group in optimizer["param_groups"])
    if "moments" not in state and keeps_moments and len(optimizer["state"]) < parameters:
        logger.warning(
            "%s has moments (optimizer_state/state) of %d parameters of %d; those of the others begin anew.",
            *(path, len(optimizer["state"]), parameters),
        )


def odd_entries(path: Path, state: dict) -> Iterator[str]:
    """What in a checkpoint's entries is not as a run writes it; each line needs those before it to be right."""
    yield from wrong_kinds(
        {name: value for name, value in state.items() if value is not None or name in RUN_KEYS}, KINDS
    )
    epoch, steps = place_of(path) or (0, 0)
    if steps and not state.get("position"):
        yield "it has no position, which tells how much of its epoch is done"
    yield from missing_entries(state)
    yield from odd_position(state["epoch"], state.get("position"), state.get("world_size"))
    if steps and (state["position"]["epoch"], state["position"]["steps"]) != (epoch, steps):
        yield f"its position is {state['position']['steps']} steps into epoch {state['position']['epoch'] + 1}"
    yield from wrong_kinds(state.get("best") or {}, BEST, "best/")
    last = settings_of(state.get("cfg")).get("SOLVER.MAX_EPOCH")
    if state["epoch"] < -1 or (isinstance(last, int) and state["epoch"] >= last):
        yield f"its epoch is {state['epoch']}, of a run of SOLVER.MAX_EPOCH {last}"
    for name in ("scaler_state", "scaler"):
        scaler = state.get(name) or {}
        yield from (f"it has no {name}/{key}" for key in SCALER if scaler and key not in scaler)
    yield from odd_moments(state["optimizer_state"], state.get("moments"))


def missing_entries(state: dict) -> Iterator[str]:
    """What a checkpoint has lost; other projects' have few of these entries, and need none of them."""
    if all(state.get(name) is None for name in OWN):
        return
    yield from (f"it has no {name}" for name in ALWAYS if is_nothing(state.get(name)))
    yield from (f"it has no best/{name}" for name in BEST if name not in state["best"])
    yield from (f"it has no versions/{name}" for name in VERSIONS if name not in state["versions"])
    settings = settings_of(state["cfg"])
    if not settings:
        yield "its cfg cannot be read"
    yield from (f"its cfg has no {key}" for key in SETTINGS if key not in settings)


def is_nothing(value: object) -> bool:
    return value is None or (isinstance(value, str | int) and not value)


def odd_position(epoch: int, position: dict | None, processes: int | None) -> Iterator[str]:
    """`processes`: that the run had; None: nothing tells."""
    if position is None:
        return
    yield from (f"its position/{name} is not known here" for name in position if name not in PLACE)
    yield from (
        f"it has no position/{name}" for name in ("epoch", "steps", "samples", "meters") if name not in position
    )
    yield from wrong_kinds(position, PLACE, "position/")
    yield from (f"its position/{name} is {position[name]}" for name in ("steps", "samples") if position[name] < 0)
    if (position["steps"] == 0) != (position["samples"] == 0):
        yield f"its position/steps is {position['steps']} and its position/samples {position['samples']}"
    if position["steps"] and len(position["meters"]) != (processes or len(position["meters"])):
        yield f"its position/meters are of {len(position['meters'])} processes, and its world_size is {processes}"
    for rank, meter in enumerate(position["meters"]):
        place = f"position/meters/{rank}"
        yield from wrong_kinds({place: meter}, {place: dict})
        yield from (f"it has no {place}/{name}" for name in METER if name not in meter)
        yield from wrong_kinds(meter, METER, f"{place}/")
    if position.get("epoch") != epoch + 1:
        yield f"its epoch is {epoch} and its position/epoch {position.get('epoch')}, which must be one more"


def odd_moments(optimizer: dict, count: int | None) -> Iterator[str]:
    """Where an optimizer's state is torn: the moments that are there say which there must be.

    `count`: of how many parameters there were moments; None: nothing tells.
    """
    yield from (f"it has no optimizer_state/{name}" for name in OPTIMIZER if name not in optimizer)
    yield from wrong_kinds(optimizer, OPTIMIZER, "optimizer_state/")
    for number, group in enumerate(optimizer["param_groups"]):
        if not (isinstance(group, dict) and isinstance(group.get("params"), list)):
            yield f"its optimizer_state/param_groups/{number} has no params"
    order = [index for group in optimizer["param_groups"] for index in group["params"]]
    if order != list(range(len(order))):
        yield "the params of its optimizer_state/param_groups are not the numbers of all parameters in order"
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
