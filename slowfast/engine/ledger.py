"""The ledger of a run: all that decides its next step, on disk; and whether it may go on from there."""

import math

import torch
import yaml
from torch import nn

from slowfast.config.node import flatten
from slowfast.utils.checkpoint import (
    BEST_NAME,
    NAME,
    CheckpointError,
    checkpoint_dir,
    epoch_checkpoints,
    last_good_checkpoint,
    load_checkpoint,
    save_atomically,
)
from slowfast.utils.distributed import barrier, get_world_size, is_master
from slowfast.utils.logging import logger
from slowfast.version import __version__

# Keys that may change between an interruption and the resume without changing the weights that come out.
FREE_SECTIONS = ("TEST", "TENSORBOARD", "BENCHMARK", "DEMO", "DATA_LOADER")
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
    *("TRAIN.CHECKPOINT_FILE_PATH", "TRAIN.RESUME_CHANGED", "DATA.PATH_TO_DATA_DIR", "DATA.PATH_PREFIX"),
    *("DATA.CHECK_VIDEOS", "DATA.VAL_VIEW", "DATA.TEST_CROP_SIZE", "DATA.ENSEMBLE_METHOD"),
    *("DATA.MAX_BAD_VIDEOS", "DATA.DECODE_CACHE", "DATA.DECODE_CACHE_GB"),
}


class Ledger:
    """Saves and resumes one run in OUTPUT_DIR/checkpoints; keeps the best validation's weights apart."""

    def __init__(self, cfg, model: nn.Module, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler):
        self.cfg, self.model, self.optimizer, self.scaler = cfg, model, optimizer, scaler
        self.folder = checkpoint_dir(cfg.OUTPUT_DIR)
        self.best = {"top1_err": math.inf, "top5_err": math.inf, "epoch": -1}

    def state(self, epoch: int) -> dict:
        """The checkpoint of a finished epoch (counted from 0), in upstream's layout."""
        scaler = self.scaler.state_dict()
        return {
            "epoch": epoch,
            "model_state": self.model.state_dict(),
            "optimizer_state": self.optimizer.state_dict(),
            "scaler_state": scaler,
            "scaler": scaler,  # the name the UniFormer family reads
            "cfg": self.cfg.dump(),
            "best": dict(self.best),
            "versions": {"slowfast": __version__, "torch": str(torch.__version__)},
            "world_size": get_world_size(),
        }

    def save(self, epoch: int) -> None:
        """Writes the epoch's checkpoint, on the master."""
        if is_master():
            path = save_atomically(self.state(epoch), self.folder / NAME.format(epoch + 1))
            logger.info("Saved %s", path)
        barrier()

    def record_validation(self, epoch: int, top1_err: float, top5_err: float) -> None:
        """Notes the lowest errors so far, and keeps these weights apart if their top-1 error is the lowest."""
        self.best["top5_err"] = min(top5_err, self.best["top5_err"])
        if top1_err >= self.best["top1_err"]:
            return
        self.best |= {"top1_err": top1_err, "epoch": epoch}
        if is_master():
            path = save_atomically(self.state(epoch) | {"Valtop1Err": top1_err}, self.folder / BEST_NAME)
            logger.info("Best so far, saved %s", path)
        barrier()

    def resume(self) -> int:
        """Goes on from the newest readable checkpoint; returns the epoch to train next, 0 if there is none.

        Raises:
            CheckpointError: checkpoints exist and none is readable, or the config differs in what trains.
        """
        found = last_good_checkpoint(self.cfg.OUTPUT_DIR)
        if found is None:
            return 0
        path, state, problems = found
        for problem in problems:
            logger.warning("%s  Using an older one.", problem)
        self.check_config(state, str(path))
        return self.restore(state, str(path))

    def continue_from(self, path: str) -> int:
        """Goes on from another run's checkpoint with its optimizer and epoch (TRAIN.CHECKPOINT_EPOCH_RESET False)."""
        state = load_checkpoint(path)
        return self.restore(state | {"best": None}, path)

    def restore(self, state: dict, path: str) -> int:
        """Weights, optimizer, scaler, best metric of a checkpoint; returns the epoch to train next."""
        try:
            self.model.load_state_dict(state["model_state"])
            self.optimizer.load_state_dict(state["optimizer_state"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"{path} does not fit this model and optimizer: {error}. To start from its weights only, set "
                "TRAIN.CHECKPOINT_FILE_PATH to it, TRAIN.CHECKPOINT_EPOCH_RESET True and a new OUTPUT_DIR."
            ) from error
        scaler = state.get("scaler_state") or state.get("scaler")
        if scaler and self.scaler.is_enabled():
            self.scaler.load_state_dict(scaler)
        self.best |= state.get("best") or {}
        if state.get("world_size", get_world_size()) != get_world_size():
            logger.warning(
                "%s was saved by %d processes and %d go on: each sample is still seen once an epoch, but sums "
                "are taken in another order, so the weights will not be the same bit for bit.",
                *(path, state["world_size"], get_world_size()),
            )
        logger.info("Resumed from %s (epoch %d done)", path, state["epoch"] + 1)
        return state["epoch"] + 1

    def check_config(self, state: dict, path: str) -> None:
        """Refuses to go on with other settings than the checkpoint's, unless TRAIN.RESUME_CHANGED allows it."""
        changed = changed_keys(yaml.safe_load(state["cfg"]), yaml.safe_load(self.cfg.dump()))
        if not changed:
            return
        lines = "\n".join(f"  {key}: {old!r} then, {new!r} now" for key, (old, new) in changed.items())
        if not self.cfg.TRAIN.RESUME_CHANGED:
            raise CheckpointError(
                f"OUTPUT_DIR {self.cfg.OUTPUT_DIR} holds a run with other settings ({path}):\n{lines}\n"
                "Set OUTPUT_DIR to a new folder, or TRAIN.RESUME_CHANGED True to go on with the new ones."
            )
        logger.warning("Going on with changed settings (TRAIN.RESUME_CHANGED):\n%s", lines)


def changed_keys(then: dict, now: dict) -> dict[str, tuple]:
    """Keys of both configs whose values differ and decide training: key -> (then, now)."""
    then, now = flatten(then), flatten(now)
    return {
        key: (then[key], now[key])
        for key in sorted(then.keys() & now.keys())
        if then[key] != now[key] and key not in FREE_KEYS and key.split(".")[0] not in FREE_SECTIONS
    }


def refuse_foreign_checkpoints(cfg) -> None:
    """With AUTO_RESUME off, a used OUTPUT_DIR would mix two runs' checkpoints; says so before anything is lost."""
    if not cfg.TRAIN.AUTO_RESUME and epoch_checkpoints(cfg.OUTPUT_DIR):
        raise ValueError(
            f"OUTPUT_DIR {cfg.OUTPUT_DIR} already holds checkpoints of another run and TRAIN.AUTO_RESUME is False. "
            "Set OUTPUT_DIR to a new folder, or TRAIN.AUTO_RESUME True to go on with that run."
        )
