"""Checkpoints of sharded models: folders to which each rank adds its part, by torch.distributed.checkpoint.

A folder holds a .safetensors file of each rank, its part, and `rest.pyth`: all that is no tensor, the parts that belong
to it with their SHA-256, and the shape of each tensor. The SHA-256 of every file stands beside it too. torch's default
format is not used because its metadata is a pickle, which may hold code.
"""

import math
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.utils._pytree import tree_flatten_with_path, tree_map, tree_map_with_path

from slowfast.utils.files import (
    ASIDE,
    CheckpointError,
    check_digest,
    digest_path,
    load_file,
    put_in_place,
    remove,
    save_atomically,
    sha256,
    stored_digest,
    sync_directory,
    write_digest,
    write_problem,
)
from slowfast.utils.finite import NAMED, name_of
from slowfast.utils.logging import logger
from slowfast.utils.wording import first_of

REST = "rest.pyth"
TENSORS = ("model_state/", "optimizer_state/state/")  # where a run's state holds tensors only


def aside_folder(path: Path) -> Path:
    """Where all ranks write to what becomes `path`."""
    return path.with_name(f".{path.name}{ASIDE}")


class ShardWriter(dcp.HuggingFaceStorageWriter):
    """Writes a folder aside; the master gives it its name when the parts of all ranks are on the disk."""

    def __init__(self, path: Path, rest: dict):
        """`rest`: what the master writes besides the tensors and the list of parts."""
        super().__init__(str(aside_folder(path)), save_distributed=True)
        self.per_thread_copy_ahead = 0  # tensors are on the CPU; copying ahead would use the first GPU on every rank
        self.target, self.rest = path, rest

    def write_data(self, plan, planner):
        """This rank's tensors and their digest; torch.distributed.checkpoint calls it on all ranks."""
        written = super().write_data(plan, planner)
        for name in files_of(written.value()):
            write_digest(self.aside / name, sha256(self.aside / name))
        return written

    def finish(self, metadata, results) -> None:
        """The rest; called on the master once all ranks have written. `results`: what each has written."""
        names = sorted(name for written in results for name in files_of(written))
        files = {name: stored_digest(self.aside / name) for name in names}
        missing = [name for name, digest in files.items() if not (digest and (self.aside / name).is_file())]
        if missing:
            raise CheckpointError(
                f"Could not write {self.target}: {', '.join(missing)} of other machines cannot be seen here. "
                "DIST.STRATEGY fsdp needs an OUTPUT_DIR on a file system that all machines share."
            )
        save_atomically(self.rest | {"files": files}, self.aside / REST)
        put_in_place(self.aside, self.target)
        sync_directory(self.target.parent)

    @property
    def aside(self) -> Path:
        return Path(self.path)


def files_of(written: list) -> set[str]:
    return {result.storage_data.relative_path for result in written}


def begin_save(state: dict, path: Path, group: dist.ProcessGroup) -> Callable[[], Path]:
    """Copies this rank's part of `state` and begins to write it; all ranks call it, and then what it returns.

    That waits until the checkpoint of all ranks is at `path`, and raises CheckpointError on all if it cannot be
    written by one. `group`: all ranks, on a backend of the CPU; used by a thread beside the run.
    """
    tensors = {name_of(place): leaf for place, leaf in tree_flatten_with_path(state)[0] if isinstance(leaf, Tensor)}
    rest = {
        "state": tree_map(lambda leaf: None if isinstance(leaf, Tensor) else leaf, state),
        "shapes": {name: tuple(tensor.shape) for name, tensor in tensors.items()},
    }
    # What is not sharded is the master's, as DDP has it: the running statistics of norms may differ.
    planner = dcp.DefaultSavePlanner(dedup_save_to_lowest_rank=True)
    writing = dcp.async_save(tensors, storage_writer=ShardWriter(path, rest), planner=planner, process_group=group)

    def complete() -> Path:
        try:
            writing.result()
        except CheckpointException as error:
            raise describe_failure(error, path) from error
        finally:
            if dist.get_rank() == 0:
                remove(aside_folder(path))
        return path

    return complete


def describe_failure(error: CheckpointException, path: Path) -> Exception:
    """The error of the first rank that failed to write: as CheckpointError, unless it was no fault of the disk."""
    cause, _ = next(iter(error.failures.values()))
    if not isinstance(cause, OSError):
        return cause
    # The numbers are the master's, who removes the folder meanwhile.
    return CheckpointError(write_problem(path, aside_folder(path), cause) if dist.get_rank() == 0 else str(cause))


def load_shards(folder: Path, empty: Callable[[str, torch.Size, torch.dtype], Tensor] | None = None) -> dict:
    """The state in a folder that `check_shards` has found whole, written by any number of ranks.

    A rank reads what it needs and waits for no other. `empty(name, size, dtype)` makes the tensor into which one is
    read, whole or this rank's shard; whole on the CPU by default.

    Raises:
        CheckpointError: it cannot be read.
    """
    make = empty or (lambda name, size, dtype: torch.empty(size, dtype=dtype))
    try:
        rest = load_file(folder / REST)["state"]
        reader = dcp.HuggingFaceStorageReader(str(folder))
        stored = reader.read_metadata().state_dict_metadata
        tensors = {name: make(name, tensor.size, tensor.properties.dtype) for name, tensor in stored.items()}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled")  # `no_dist`, as it should be
            dcp.load(tensors, storage_reader=reader, no_dist=True)
    except (CheckpointException, SafetensorError, OSError) as error:
        raise CheckpointError(f"{folder} cannot be read: {error}") from error
    return tree_map_with_path(lambda place, leaf: tensors.get(name_of(place), leaf), rest)


def check_shards(folder: Path) -> dict:
    """The state in a folder with None for its tensors, of which it is found to hold every part that was written.

    Older folders name their parts without SHA-256: of one from another checkpoint, with its own beside it, they cannot
    tell, and the log says so.

    Raises:
        CheckpointError: a part is missing, damaged, of another checkpoint or not listed, or a tensor is not whole.
    """
    rest = load_file(require(folder / REST))
    try:
        state, files = rest["state"], rest["files"]
    except KeyError as error:
        raise CheckpointError(f"{folder} is damaged or no checkpoint: {REST} has no {error}.") from error
    if not (isinstance(files, dict | list) and files and all(isinstance(name, str) for name in files)):
        raise CheckpointError(f"{folder} is damaged or no checkpoint: {REST} lists no parts.")
    shapes = rest.get("shapes")
    if not isinstance(state, dict) or (isinstance(files, dict) and not are_lists(files, shapes)):
        raise CheckpointError(f"{folder} is damaged or no checkpoint: {REST} is not as a run writes it.")
    for name in files:
        check_part(folder / name, files[name] if isinstance(files, dict) else None)
    unlisted = sorted({path.name for path in folder.glob("*.safetensors")} - set(files))
    if unlisted:
        raise CheckpointError(f"{folder} is damaged: {REST} does not list {', '.join(unlisted)}, which is there.")
    if isinstance(files, list):
        logger.warning("%s is of an older version, which does not tell a part of another checkpoint.", folder)
    check_tensors(folder, state, shapes)
    return state


def are_lists(files: dict, shapes: object) -> bool:
    """Whether parts have a SHA-256 each, and tensors a shape each."""
    if not (isinstance(shapes, dict) and shapes and all(isinstance(digest, str) for digest in files.values())):
        return False
    return all(isinstance(shape, tuple) and all(type(size) is int for size in shape) for shape in shapes.values())


def check_part(path: Path, digest: str | None) -> None:
    """Raises CheckpointError unless a part is what was written; `digest`: its SHA-256, None in an older folder."""
    require(digest_path(require(path)))
    check_digest(path)
    if digest not in (None, stored_digest(path)):
        raise CheckpointError(
            f"{path.parent} is damaged: {path.name} is of another checkpoint, its SHA-256 is not the one in {REST}."
        )


def check_tensors(folder: Path, state: dict, shapes: dict[str, tuple[int, ...]] | None) -> None:
    """Raises CheckpointError unless the parts hold every tensor whole; `shapes`: if the folder lists them."""
    try:
        stored = dcp.HuggingFaceStorageReader(str(folder)).read_metadata().state_dict_metadata
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{folder} cannot be read: {error}") from error
    if shapes is None:
        places = [name_of(place) for place, leaf in tree_flatten_with_path(state)[0] if leaf is None]
        shapes = {name: stored[name].size if name in stored else () for name in places if name.startswith(TENSORS)}
    torn = [name for name, shape in shapes.items() if name not in stored or not is_whole(stored[name], shape)]
    if torn:
        names = first_of(torn, NAMED)
        raise CheckpointError(f"{folder} is damaged: of {len(shapes)} tensors its parts do not hold all of {names}.")


def is_whole(stored: TensorStorageMetadata, shape: tuple[int, ...]) -> bool:
    held = sum(chunk.sizes.numel() for chunk in stored.chunks)
    return tuple(stored.size) == tuple(shape) and held == math.prod(shape)


def read_parts(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """The name and values of every part of a tensor in a folder, one at a time: all of it would not fit one process.

    Raises:
        CheckpointError: one cannot be read.
    """
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 (it is no dict)
                    yield name, file.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path} cannot be read: {error}") from error


def require(part: Path) -> Path:
    if not part.is_file():
        raise CheckpointError(f"{part.parent} is damaged or no checkpoint: {part.name} is missing.")
    return part
