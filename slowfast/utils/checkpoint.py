"""A run's checkpoints: their names, which of them is the last good one, and which are no longer needed."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from slowfast.utils.files import CheckpointError, aside_path, digest_path, load_file, remove
from slowfast.utils.finite import named_values

NAME = "checkpoint_epoch_{:05d}.pyth"
STEP_NAME = "checkpoint_epoch_{:05d}_step_{:06d}.pyth"  # in the midst of that epoch
BEST_NAME = "best_Valtop1Err_checkpoint.pyth"  # the name test scripts of SVFormer's users ask for
_RUN_NAME = re.compile(r"checkpoint_epoch_(\d+)(?:_step_(\d+))?\.pyth$")
RUN_KEYS = {"epoch", "model_state", "optimizer_state"}
ENTERING = ("model_state", "optimizer_state", "scaler_state", "scaler")


def checkpoint_dir(output_dir: str | Path) -> Path:
    return Path(output_dir) / "checkpoints"


def checkpoint_name(epochs: int, steps: int = 0) -> str:
    """The file of a run that has finished `epochs` epochs and `steps` steps of the next one."""
    return STEP_NAME.format(epochs + 1, steps) if steps else NAME.format(epochs)


def sharding() -> ModuleType:
    """`slowfast.utils.shards`, which takes a second to import and a newer torch than everything else.

    Raises:
        CheckpointError: this torch cannot write or read the checkpoints of sharded models.
    """
    if torch.__version__ < (2, 9):
        raise CheckpointError(
            f"Checkpoints of sharded models (DIST.STRATEGY fsdp) need torch 2.9 or newer, and this is "
            f"{torch.__version__}. Update it, or set DIST.STRATEGY ddp."
        )
    from slowfast.utils import shards

    return shards


def load_checkpoint(path: str | Path) -> dict:
    """The dict in a checkpoint, with whole tensors on the CPU: a file (`files.load_file`) or a sharded run's folder.

    Raises:
        FileNotFoundError: no such file or folder.
        CheckpointError: damaged, incomplete, not a checkpoint, or one that would need to run code.
    """
    path = Path(path)
    if not path.is_dir():
        return load_file(path)
    sharding().check_shards(path)
    return sharding().load_shards(path)


def load_outline(path: str | Path) -> dict:
    """A checkpoint found to be whole, as `load_checkpoint` gives it, but the tensors of a folder are not read.

    Raises:
        As `load_checkpoint`.
    """
    path = Path(path)
    return sharding().check_shards(path) if path.is_dir() else load_file(path)


def values_of(path: str | Path, outline: dict) -> Iterator[tuple[str, Tensor | float]]:
    """What of a checkpoint enters model, optimizer and scaler, by its place (`named_values`); a folder's part by part.

    `outline`: as `load_outline` gives it, or with this rank's shards of a folder's tensors, which are not looked at.
    """
    values = named_values({key: outline[key] for key in ENTERING if key in outline})
    if not Path(path).is_dir():
        yield from values
        return
    yield from ((name, value) for name, value in values if not isinstance(value, Tensor))
    yield from sharding().read_parts(Path(path))


def run_checkpoints(output_dir: str | Path) -> list[Path]:
    """The run's checkpoints of finished epochs and of steps in between, those furthest in training first."""
    found = {place: path for path in checkpoint_dir(output_dir).glob("*") if (place := place_of(path))}
    return [found[place] for place in sorted(found, reverse=True)]


def place_of(path: Path) -> tuple[int, int] | None:
    """(Finished epochs, finished steps of the next) from a checkpoint's name; None for other files."""
    match = _RUN_NAME.match(path.name)
    if not match:
        return None
    return (int(match[1]) - 1, int(match[2])) if match[2] else (int(match[1]), 0)


def epoch_checkpoints(output_dir: str | Path) -> list[Path]:
    """The run's epoch checkpoints, the newest first (by number, not by spelling)."""
    return [path for path in run_checkpoints(output_dir) if not place_of(path)[1]]


def last_good_checkpoint(
    output_dir: str | Path, check: Callable[[Path, dict], None] = lambda path, outline: None
) -> tuple[Path, dict, list[str]] | None:
    """The newest usable checkpoint of a run, its outline, and what was wrong with newer ones; None if there is none.

    `check(path, outline)` raises CheckpointError where a checkpoint can be read and is of no use.

    Raises:
        CheckpointError: there are checkpoints and none of them can be used.
    """
    problems = []
    for path in run_checkpoints(output_dir):
        try:
            state = load_outline(path)
            require_run_keys(path, state)
            check(path, state)
        except CheckpointError as error:
            problems.append(str(error))
            continue
        return path, state, problems
    if problems:
        raise CheckpointError(
            "No checkpoint of this run can be used: "
            + " ".join(problems)
            + f" Set another OUTPUT_DIR, or remove the checkpoints of {output_dir} to start over."
        )
    return None


def require_run_keys(path: Path, state: dict) -> None:
    missing = RUN_KEYS - state.keys()
    if missing:
        raise CheckpointError(f"{path} is no checkpoint of a run: it holds no {', '.join(sorted(missing))}.")


def remove_surplus(output_dir: str | Path, keep: int) -> None:
    """Removes old checkpoints: all epochs' but the newest `keep` (0: none), steps' unless among the two newest."""
    newest = run_checkpoints(output_dir)
    steps = [path for path in newest[2:] if place_of(path)[1]]
    epochs = epoch_checkpoints(output_dir)[keep:] if keep else []
    for path in (*steps, *epochs):
        remove_checkpoint(path)


def remove_checkpoint(path: Path) -> None:
    """A folder loses its name first: what a death in the midst of this leaves must not look like a checkpoint."""
    digest = digest_path(path)
    if path.is_dir():
        aside = aside_path(path)
        os.replace(path, aside)
        path = aside
    remove(path)
    remove(digest)
