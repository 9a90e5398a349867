"""Checkpoint files: written aside and renamed, with their SHA-256 beside them; read without executing anything."""

import argparse
import errno
import hashlib
import os
import pickle
import re
import shutil
from contextlib import suppress
from pathlib import Path, PosixPath

import numpy as np
import torch

NAME = "checkpoint_epoch_{:05d}.pyth"
STEP_NAME = "checkpoint_epoch_{:05d}_step_{:06d}.pyth"  # in the midst of that epoch
BEST_NAME = "best_Valtop1Err_checkpoint.pyth"  # the name test scripts of SVFormer's users ask for
SAFETENSORS = ".safetensors"
_RUN_NAME = re.compile(r"checkpoint_epoch_(\d+)(?:_step_(\d+))?\.pyth$")
RUN_KEYS = {"epoch", "model_state", "optimizer_state"}

# Plain values that other projects' checkpoints hold besides tensors; building them runs no code of the file.
NUMPY_BUILDERS = {"scalar": np.float64(0).__reduce__()[0], "_reconstruct": np.zeros(1).__reduce__()[0]}
PLAIN_TYPES = [
    *(argparse.Namespace, PosixPath, np.ndarray, np.dtype),
    *(type(np.dtype(kind)) for kind in ("float64", "float32", "int64", "int32", "bool", "U", "S")),
    # By both names that NumPy 1 and 2 write.
    *((f, f"numpy.{core}.multiarray.{name}") for name, f in NUMPY_BUILDERS.items() for core in ("core", "_core")),
]


class CheckpointError(ValueError):
    """A checkpoint that cannot be read or does not fit; the message says which and what to do."""


def checkpoint_dir(output_dir: str | Path) -> Path:
    return Path(output_dir) / "checkpoints"


def checkpoint_name(epochs: int, steps: int = 0) -> str:
    """The file of a run that has finished `epochs` epochs and `steps` steps of the next one."""
    return STEP_NAME.format(epochs + 1, steps) if steps else NAME.format(epochs)


def digest_path(path: Path) -> Path:
    """Where a file's SHA-256 stands, in the form that `sha256sum --check` reads."""
    return path.with_name(f"{path.name}.sha256")


class HashingFile:
    """A file for `torch.save` that computes the SHA-256 of what goes through it."""

    def __init__(self, file):
        self.file, self.sha256 = file, hashlib.sha256()

    def write(self, data) -> int:
        self.sha256.update(data)
        return self.file.write(data)

    def flush(self) -> None:
        self.file.flush()


def save_atomically(state: dict, path: str | Path) -> Path:
    """Leaves either the old file or the whole new one, whenever the process dies.

    As `torch.save` writes it, or, for a path that ends with .safetensors, a flat dict of tensors in that format.

    Raises:
        CheckpointError: it could not be written; a full disk with what there is and what was needed.
    """
    path = Path(path)
    aside = aside_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(aside, "wb") as file:
            hashing = HashingFile(file)
            if path.suffix == SAFETENSORS:
                from safetensors.torch import save

                hashing.write(save({name: tensor.contiguous() for name, tensor in state.items()}))
            else:
                torch.save(state, hashing)
            sync_file(file)
        # In this order a file has its own digest or none, never another's.
        digest_path(path).unlink(missing_ok=True)
        os.replace(aside, path)
        write_digest(path, hashing.sha256.hexdigest())
        sync_directory(path.parent)
    except (OSError, RuntimeError) as error:  # torch's writer turns what `write` raises into a RuntimeError
        cause = error if isinstance(error, OSError) else error.__context__ or error.__cause__
        if not isinstance(cause, OSError):
            raise
        raise CheckpointError(write_problem(path, aside, cause)) from error
    finally:
        remove(aside)
    return path


def remove(path: Path) -> None:
    """Removes a file that may not be there, nor its folder."""
    with suppress(OSError):
        path.unlink()


def aside_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def write_digest(path: Path, digest: str) -> None:
    aside = aside_path(digest_path(path))
    with open(aside, "w") as file:
        file.write(f"{digest}  {path.name}\n")
        sync_file(file)
    os.replace(aside, digest_path(path))


def write_problem(path: Path, aside: Path, error: OSError) -> str:
    """What stood in the way of a write, with the numbers if it was space."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return f"Could not write {path}: {error}. Set OUTPUT_DIR to a folder that can be written."
    written = aside.stat().st_size if aside.exists() else 0
    free = shutil.disk_usage(path.parent).free
    return (
        f"Could not write {path}: the disk is full ({written / 1e6:.1f} MB of it fitted, {free / 1e6:.1f} MB were free "
        "besides). Free space, or set TRAIN.KEEP_CHECKPOINTS or another OUTPUT_DIR."
    )


def sync_file(file) -> None:
    file.flush()
    os.fsync(file.fileno())


def sync_directory(folder: Path) -> None:
    """Makes a rename in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load_checkpoint(path: str | Path) -> dict:
    """The dict in a checkpoint file (.safetensors: its tensors) on the CPU; code in a pickle is refused, not run.

    If a digest stands beside the file, it must be the file's.

    Raises:
        FileNotFoundError: no such file.
        CheckpointError: empty, truncated, not a checkpoint, or one that would need to run code.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No checkpoint file {path}.")
    check_digest(path)
    try:
        state = read_safetensors(path) if path.suffix == SAFETENSORS else read_pickle(path)
    except pickle.UnpicklingError as error:
        code = re.search(r"GLOBAL (\S+)", str(error))
        why = f"loading it would run code ({code[1]})" if code else "it is damaged or no checkpoint"
        raise CheckpointError(f"{path} is not loaded: {why}. Only files of plain tensors and numbers are.") from error
    except Exception as error:  # whatever the reader trips over in bytes that are no checkpoint
        raise CheckpointError(f"{path} is damaged or no checkpoint: {error}") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} holds a {type(state).__name__}, not a dict of weights.")
    return state


def read_pickle(path: Path) -> dict:
    with torch.serialization.safe_globals(PLAIN_TYPES):
        return torch.load(path, map_location="cpu", weights_only=True)


def read_safetensors(path: Path) -> dict:
    from safetensors.torch import load_file

    return load_file(path)


def check_digest(path: Path) -> None:
    """Compares a file with the SHA-256 beside it; a file without one (another project's) passes."""
    beside = digest_path(path)
    if not beside.is_file():
        return
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    words = beside.read_text(errors="replace").split()
    if not words or words[0] != found:
        raise CheckpointError(
            f"{path} is damaged: its SHA-256 is not the one in {beside.name}. Take another checkpoint, or remove "
            f"{beside.name} if the file was replaced on purpose."
        )


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


def last_good_checkpoint(output_dir: str | Path) -> tuple[Path, dict, list[str]] | None:
    """The newest readable checkpoint of a run, its content, and what was wrong with newer ones; None if there is none.

    Raises:
        CheckpointError: there are checkpoints and none of them can be read.
    """
    problems = []
    for path in run_checkpoints(output_dir):
        try:
            state = load_checkpoint(path)
        except CheckpointError as error:
            problems.append(str(error))
            continue
        missing = RUN_KEYS - state.keys()
        if not missing:
            return path, state, problems
        problems.append(f"{path} is no checkpoint of a run: it holds no {', '.join(sorted(missing))}.")
    if problems:
        raise CheckpointError(
            "No checkpoint of this run can be read: " + " ".join(problems) + " Remove them to start over."
        )
    return None


def remove_surplus(output_dir: str | Path, keep: int) -> None:
    """Removes old checkpoints: all epochs' but the newest `keep` (0: none), steps' unless among the two newest."""
    newest = run_checkpoints(output_dir)
    steps = [path for path in newest[2:] if place_of(path)[1]]
    epochs = epoch_checkpoints(output_dir)[keep:] if keep else []
    for path in (*steps, *epochs):
        remove_checkpoint(path)


def remove_checkpoint(path: Path) -> None:
    remove(path)
    remove(digest_path(path))


def remove_leftovers(output_dir: str | Path) -> None:
    """Removes what writes that were cut off left; only for a run that holds the folder's lock."""
    for path in checkpoint_dir(output_dir).glob(".*.tmp"):
        remove(path)
