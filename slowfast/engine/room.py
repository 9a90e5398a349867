"""Whether a run has room for what it makes: memory for model and clips, disk for checkpoints, places for its files."""

import math
import os
import resource
import shutil
from contextlib import suppress
from pathlib import Path

from torch import nn

from slowfast.engine.weights import shapes_of
from slowfast.evaluation.complexity import count_parameters
from slowfast.utils.distributed import processes_per_machine
from slowfast.utils.memory import machine_memory

KEPT = {"sgd": 1}  # tensors that an optimizer keeps of each parameter; all others keep two

# Open files of a process: its own and those of libraries that come later; of each loader process its pipes and, a file
# each, the tensors of the batches under way.
OWN_FILES, FILES_OF_A_LOADER = 20, 14
USUAL_FILES = 4096


class PreflightError(ValueError):
    """The run cannot end well as it is configured; the message says why and what to set."""


def check_memory(cfg) -> None:
    """Refuses sizes that no step of this machine could hold, before anything of them is made.

    Counted is what is there at the least: weights, gradients and moments; a step's clips as bytes and as floats. (What
    the layers keep for backward depends on the model, and is not.)

    Raises:
        PreflightError: the keys with their values, what they need and what the machine has.
    """
    parameters = sum(math.prod(shape) for shape in shapes_of(cfg).values())
    copies = 2 + KEPT.get(cfg.SOLVER.OPTIMIZING_METHOD, 2) if cfg.TRAIN.ENABLE else 1
    model = 4 * copies * parameters * processes_per_machine(cfg)
    needs = {f"The model (MODEL.MODEL_NAME {cfg.MODEL.MODEL_NAME} and its section)": model}
    if cfg.TRAIN.ENABLE:
        clips = cfg.TRAIN.BATCH_SIZE * cfg.AUG.NUM_SAMPLE
        what = f"A training step (TRAIN.BATCH_SIZE {cfg.TRAIN.BATCH_SIZE}, AUG.NUM_SAMPLE {cfg.AUG.NUM_SAMPLE}, "
        needs[what + described_clip(cfg, "TRAIN_CROP_SIZE")] = 5 * clips * values_of_clip(cfg, cfg.DATA.TRAIN_CROP_SIZE)
    if cfg.TEST.ENABLE:
        views = max(cfg.TEST.NUM_ENSEMBLE_VIEWS, 1) * cfg.TEST.NUM_SPATIAL_CROPS
        what = f"A test video (TEST.NUM_ENSEMBLE_VIEWS {cfg.TEST.NUM_ENSEMBLE_VIEWS}, "
        needs[what + described_clip(cfg, "TEST_CROP_SIZE")] = views * values_of_clip(cfg, cfg.DATA.TEST_CROP_SIZE)
    what, most = max(needs.items(), key=lambda need: need[1])
    there = machine_memory()
    if most > there:
        raise PreflightError(
            f"{what} needs at least {most / 1e9:,.0f} GB of memory, and this machine has {there / 1e9:.0f} GB. Set "
            "smaller values."
        )


def values_of_clip(cfg, side: int) -> int:
    return cfg.DATA.INPUT_CHANNEL_NUM[0] * cfg.DATA.NUM_FRAMES * side**2


def described_clip(cfg, key: str) -> str:
    return f"DATA.NUM_FRAMES {cfg.DATA.NUM_FRAMES}, DATA.{key} {cfg.DATA[key]})"


def raise_file_limit() -> None:
    """Lets this process open as many files as runs do, if it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY:
        wanted = USUAL_FILES if hard == resource.RLIM_INFINITY else min(hard, USUAL_FILES)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def check_open_files(cfg) -> None:
    """Refuses more loader processes than this one can open files for: it would wait for batches that cannot be sent.

    Raises:
        PreflightError: the limit, what is needed and what to set.
    """
    loaders = cfg.DATA_LOADER.NUM_WORKERS * (2 * cfg.TRAIN.ENABLE + cfg.TEST.ENABLE)
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = sum(map(is_open, range(USUAL_FILES))) + OWN_FILES + FILES_OF_A_LOADER * loaders
    if loaders and limit != resource.RLIM_INFINITY and needed > limit:
        raise PreflightError(
            f"A process may open {limit} files here, and DATA_LOADER.NUM_WORKERS {cfg.DATA_LOADER.NUM_WORKERS} needs "
            f"about {needed}. Raise the limit (ulimit -n {needed}), or set DATA_LOADER.NUM_WORKERS 0."
        )


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def check_disk(cfg, model: nn.Module) -> None:
    """Free space for the checkpoints this run will write: weights and, for Adam, two moments each."""
    size = 4 * count_parameters(model) * (1 + KEPT.get(cfg.SOLVER.OPTIMIZING_METHOD, 2))
    epochs = -(-cfg.SOLVER.MAX_EPOCH // cfg.TRAIN.CHECKPOINT_PERIOD)
    # Besides: the best, one being written, and two of steps.
    count = min(epochs, cfg.TRAIN.KEEP_CHECKPOINTS or epochs) + 4
    free = shutil.disk_usage(cfg.OUTPUT_DIR).free
    if size * count > free:
        raise PreflightError(
            f"OUTPUT_DIR {cfg.OUTPUT_DIR} has {free / 1e9:.1f} GB free and {count} checkpoints of {size / 1e9:.2f} GB "
            f"need {size * count / 1e9:.1f} GB. Set TRAIN.KEEP_CHECKPOINTS, raise TRAIN.CHECKPOINT_PERIOD or set "
            "OUTPUT_DIR to a larger disk."
        )


def check_places(cfg) -> None:
    """Refuses folders and files that a key names and that cannot be written, before hours of work lead there.

    Raises:
        PreflightError: the key, the path and why.
    """
    output = Path(cfg.OUTPUT_DIR)
    folders = {"DATA.DECODE_CACHE": cfg.DATA.DECODE_CACHE}
    if cfg.TENSORBOARD.ENABLE:
        folders["TENSORBOARD.LOG_DIR"] = cfg.TENSORBOARD.LOG_DIR and output / cfg.TENSORBOARD.LOG_DIR
    for key, folder in folders.items():
        if folder:
            check_folder(key, Path(folder))
    if cfg.TEST.ENABLE and cfg.TEST.SAVE_RESULTS_PATH:
        file = output / cfg.TEST.SAVE_RESULTS_PATH
        if file.exists() and not file.is_file():
            raise PreflightError(f"TEST.SAVE_RESULTS_PATH {file} is no file that can be written. Set the name of one.")
        check_folder("TEST.SAVE_RESULTS_PATH", file.parent)


def check_folder(key: str, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable, why = os.access(folder, os.W_OK | os.X_OK), "it is not writable"
    except OSError as error:
        writable, why = False, error.strerror
    if not writable:
        raise PreflightError(f"{key}: the folder {folder} cannot be written ({why}). Set {key} to another place.")
