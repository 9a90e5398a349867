"""Files of checkpoints: written aside and renamed, with their SHA-256 beside them; read without executing anything."""

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

from slowfast.utils.pickles import pickle_kind

SAFETENSORS = ".safetensors"
ASIDE, REPLACED = ".tmp", ".replaced"

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
        put_in_place(aside, path)
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


def put_in_place(aside: Path, path: Path) -> None:
    """Gives a complete file or folder its name, and removes what had it and that one's digest.

    A folder cannot be replaced in one step: what had its name waits under another one, to have it back if the new one
    cannot get it, or from `recover` if the process dies in between.
    """
    # In this order a file has its own digest or none, never another's.
    digest_path(path).unlink(missing_ok=True)
    if not (path.is_dir() or (aside.is_dir() and path.exists())):
        os.replace(aside, path)
        return
    replaced = path.with_name(f".{path.name}{REPLACED}")
    remove(replaced)
    os.replace(path, replaced)
    try:
        os.replace(aside, path)
    except OSError:
        os.replace(replaced, path)
        raise
    remove(replaced)


def recover(folder: Path) -> None:
    """Undoes what writes that were cut off left in a folder; only for a run that holds its lock."""
    for replaced in folder.glob(f".*{REPLACED}"):
        path = folder / replaced.name.removeprefix(".").removesuffix(REPLACED)
        if path.exists():
            remove(replaced)
        else:
            os.replace(replaced, path)
    for aside in folder.glob(f".*{ASIDE}"):
        remove(aside)


def remove(path: Path) -> None:
    """Removes a file or folder, which need not be there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):
        path.unlink()


def aside_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}{ASIDE}")


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
    parts = (aside, *aside.iterdir()) if aside.is_dir() else (aside,)
    written = sum(part.stat().st_size for part in parts if part.is_file())
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


def load_file(path: Path) -> dict:
    """The dict in a file (.safetensors: its tensors) on the CPU; code in a pickle is refused, not run.

    If a digest stands beside the file, it must be the file's.

    Raises:
        FileNotFoundError: no such file.
        CheckpointError: empty, truncated, not a checkpoint, one of Caffe2's, or one that would need to run code.
    """
    if not path.is_file():
        raise FileNotFoundError(f"No checkpoint file {path}.")
    check_digest(path)
    kind = pickle_kind(path)
    if kind:
        raise CheckpointError(f"{path} {kind}.")
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
    from safetensors.torch import load_file as load_safetensors

    return load_safetensors(path)


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stored_digest(path: Path) -> str:
    """The SHA-256 beside a file; empty if there is none."""
    beside = digest_path(path)
    words = beside.read_text(errors="replace").split() if beside.is_file() else []
    return words[0] if words else ""


def check_digest(path: Path) -> None:
    """Compares a file with the SHA-256 beside it; a file without one (another project's) passes."""
    beside = digest_path(path)
    if beside.is_file() and stored_digest(path) != sha256(path):
        raise CheckpointError(
            f"{path} is damaged: its SHA-256 is not the one in {beside.name}. Take another checkpoint, or remove "
            f"{beside.name} if the file was replaced on purpose."
        )
