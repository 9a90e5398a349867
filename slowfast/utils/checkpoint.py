"""Checkpoint files: written aside and renamed, read without executing anything, found by their epoch."""

import argparse
import os
import pickle
import re
from pathlib import Path

import torch

NAME = "checkpoint_epoch_{:05d}.pyth"
BEST_NAME = "best_Valtop1Err_checkpoint.pyth"  # the name test scripts of SVFormer's users ask for
SAFETENSORS = ".safetensors"
# What upstream's training scripts keep beside the weights; none of it runs code when it is read.
PLAIN_CLASSES = [argparse.Namespace]
_EPOCH = re.compile(r"checkpoint_epoch_(\d+)\.pyth$")


class CheckpointError(ValueError):
    """A checkpoint that cannot be read or does not fit; the message says which and what to do."""


def checkpoint_dir(output_dir: str | Path) -> Path:
    return Path(output_dir) / "checkpoints"


def save_atomically(state: dict, path: str | Path) -> Path:
    """Leaves either the old file or the whole new one, whenever the process dies.

    As `torch.save` writes it, or, for a path that ends with .safetensors, a flat dict of tensors in that format.
    """
    path = Path(path)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(aside, "wb") as file:
            if path.suffix == SAFETENSORS:
                from safetensors.torch import save

                file.write(save({name: tensor.contiguous() for name, tensor in state.items()}))
            else:
                torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
        sync_directory(path.parent)
    except OSError as error:
        raise CheckpointError(f"Could not write {path}: {error}. Free space or set OUTPUT_DIR elsewhere.") from error
    finally:
        if aside.exists():
            aside.unlink()
    return path


def sync_directory(folder: Path) -> None:
    """Makes a rename in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load_checkpoint(path: str | Path) -> dict:
    """The dict in a checkpoint file (.safetensors: its tensors) on the CPU; code in a pickle is refused, not run.

    Raises:
        FileNotFoundError: no such file.
        CheckpointError: empty, truncated, not a checkpoint, or one that would need to run code.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No checkpoint file {path}.")
    try:
        if path.suffix == SAFETENSORS:
            from safetensors.torch import load_file

            return load_file(path)
        with torch.serialization.safe_globals(PLAIN_CLASSES):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        code = re.search(r"GLOBAL (\S+)", str(error))
        why = f"loading it would run code ({code[1]})" if code else "it is damaged or no checkpoint"
        raise CheckpointError(f"{path} is not loaded: {why}. Only files of plain tensors and numbers are.") from error
    except Exception as error:  # whatever the unpickler trips over in bytes that are no checkpoint
        raise CheckpointError(f"{path} is damaged or no checkpoint: {error}") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} holds a {type(state).__name__}, not a dict of weights.")
    return state


def epoch_checkpoints(output_dir: str | Path) -> list[Path]:
    """The run's epoch checkpoints, the newest first (by number, not by spelling)."""
    found = {int(m[1]): path for path in checkpoint_dir(output_dir).glob("*") if (m := _EPOCH.match(path.name))}
    return [found[epoch] for epoch in sorted(found, reverse=True)]


def last_good_checkpoint(output_dir: str | Path) -> tuple[Path, dict, list[str]] | None:
    """The newest readable epoch checkpoint, its content, and what was wrong with newer ones; None if there is none.

    Raises:
        CheckpointError: there are checkpoints and none of them can be read.
    """
    problems = []
    for path in epoch_checkpoints(output_dir):
        try:
            return path, load_checkpoint(path), problems
        except CheckpointError as error:
            problems.append(str(error))
    if problems:
        raise CheckpointError(
            "No checkpoint of this run can be read: " + "; ".join(problems) + ". Remove them to start over."
        )
    return None
