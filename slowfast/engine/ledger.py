"""The ledger of a run: all that decides its next step, on disk; and whether it may go on from there."""

import math
from datetime import timedelta
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from slowfast.engine.entries import VERSIONS, Position, refuse_odd_entries
from slowfast.engine.parallel import is_sharded, load_model, load_optimizer, shard_maker
from slowfast.engine.resumable import check_config, refuse_misfit, warn_changes
from slowfast.engine.saver import BackgroundSaver, begin_save
from slowfast.utils.checkpoint import (
    BEST_NAME,
    checkpoint_dir,
    checkpoint_name,
    last_good_checkpoint,
    load_checkpoint,
    remove_checkpoint,
    remove_surplus,
    run_checkpoints,
    sharding,
    values_of,
)
from slowfast.utils.distributed import barrier, get_world_size, is_master, on_master
from slowfast.utils.files import CheckpointError, recover
from slowfast.utils.finite import refuse_unusable
from slowfast.utils.logging import logger


class Ledger:
    """Saves and resumes one run in OUTPUT_DIR/checkpoints; keeps the best validation's weights apart."""

    def __init__(
        self,
        cfg,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        train_list: str,
    ):
        """`train_list`: digest of the training list, whose rows each epoch's order is drawn from."""
        self.train_list = train_list
        self.cfg, self.model, self.optimizer, self.scaler = cfg, model, optimizer, scaler
        self.folder = checkpoint_dir(cfg.OUTPUT_DIR)
        self.saver = BackgroundSaver(self.folder, self.way_to_save())
        self.resumed_from = ""
        self.best = {"top1_err": math.inf, "top5_err": math.inf, "epoch": -1}
        if is_master():
            self.folder.mkdir(parents=True, exist_ok=True)
            recover(self.folder)

    def way_to_save(self):
        """A sharded model's checkpoint is a folder that all ranks write; else the master writes a file."""
        if not is_sharded(self.model):
            return begin_save
        # Beside the run, so not by the group that the run uses at the same time.
        timeout = timedelta(seconds=self.cfg.DIST.TIMEOUT)
        return partial(sharding().begin_save, group=dist.new_group(backend="gloo", timeout=timeout))

    def state(self, position: Position) -> dict:
        """A checkpoint in upstream's layout, where `epoch` is the last finished one, counted from 0.

        No generator's state is in it: every random number of a step or sample comes from its place in the run.
        """
        scaler, optimizer = self.scaler.state_dict(), self.optimizer.state_dict()
        return {
            "epoch": position.epoch - 1,
            "position": position._asdict() | {"meters": list(position.meters)},
            "model_state": self.model.state_dict(),
            "optimizer_state": optimizer,
            "moments": len(optimizer["state"]),
            "scaler_state": scaler,
            "scaler": scaler,  # the name the UniFormer family reads
            "cfg": self.cfg.dump(),
            "best": dict(self.best),
            "train_list": self.train_list,
            "versions": VERSIONS,
            "world_size": get_world_size(),
            "threads": torch.get_num_threads(),
        }

    def save(self, position: Position) -> None:
        """Begins to write the checkpoint of a position; all ranks call it."""
        self.write(self.state(position), checkpoint_name(position.epoch, position.steps))

    def write(self, state: dict, name: str) -> None:
        if is_master() or is_sharded(self.model):
            self.saver.save(state, name, self.remove_surplus)

    def remove_surplus(self) -> None:
        if is_master():
            remove_surplus(self.cfg.OUTPUT_DIR, self.cfg.TRAIN.KEEP_CHECKPOINTS)

    def record_validation(self, epoch: int, top1_err: float, top5_err: float, *, finite: bool) -> None:
        """Notes the lowest errors so far, and keeps these weights apart if their top-1 error is the lowest.

        Weights that gave scores which are not `finite` are never the best, however many videos they got right.
        """
        if not finite:
            logger.warning("Weights whose scores are not finite are not kept as the best.")
            return
        self.best["top5_err"] = min(top5_err, self.best["top5_err"])
        if top1_err >= self.best["top1_err"]:
            return
        self.best |= {"top1_err": top1_err, "epoch": epoch}
        logger.info("Best so far")
        self.write(self.state(Position(epoch + 1)) | {"Valtop1Err": top1_err}, BEST_NAME)

    def say_done(self, epoch: int) -> None:
        """Instead of training, where what was gone on from holds all of it: `epoch` epochs."""
        path, advice = self.resumed_from, ""
        if path == self.cfg.TRAIN.CHECKPOINT_FILE_PATH:
            path, advice = (
                f"TRAIN.CHECKPOINT_FILE_PATH {path}",
                " TRAIN.CHECKPOINT_EPOCH_RESET True takes its weights only.",
            )
        logger.info("Nothing to train: %s holds epoch %d of %d.%s", path, epoch, self.cfg.SOLVER.MAX_EPOCH, advice)

    def finish(self) -> None:
        """The end of training: its last checkpoint must be on disk, those of steps are no longer needed.

        Raises:
            CheckpointError: it still cannot be written.
        """
        last = Position(self.cfg.SOLVER.MAX_EPOCH)
        path = self.folder / checkpoint_name(last.epoch)
        self.wait()
        if not on_master(path.exists):
            self.remove_steps()
            self.save(last)  # once more: space may have come free
            self.wait()
        on_master(self.check_written, path)
        self.remove_steps()

    def check_written(self, path) -> None:
        if not path.exists():
            raise CheckpointError(
                f"The trained weights could not be written to {path}. Free space and start the same command again: it "
                "goes on from the last checkpoint that could."
            )

    def remove_steps(self) -> None:
        if is_master():
            for path in run_checkpoints(self.cfg.OUTPUT_DIR):
                if "_step_" in path.name:
                    remove_checkpoint(path)

    def wait(self) -> None:
        """Until what was saved is on disk."""
        self.saver.wait()
        barrier()

    def resume(self) -> Position:
        """Goes on from the newest readable checkpoint; returns where, the start if there is none.

        Raises:
            CheckpointError: checkpoints exist and none is readable, or the config differs in what trains.
        """
        path = on_master(self.choose)
        return self.restore(self.load(path), path) if path else Position()

    def choose(self) -> str | None:
        """The checkpoint to go on from."""
        found = last_good_checkpoint(self.cfg.OUTPUT_DIR, self.refuse_unusable)
        if found is None:
            return None
        path, state, problems = found
        for problem in problems:
            logger.warning("%s Using an older one.", problem)
        check_config(self.cfg, state, str(path), self.train_list)
        return str(path)

    def continue_from(self, path: str) -> Position:
        """Goes on from another run's checkpoint, which the master has found whole, with its optimizer and epoch."""
        state = self.load(path)
        on_master(self.refuse_unusable, Path(path), state)
        on_master(warn_changes, self.cfg, state, path, self.train_list)
        return self.restore(state | {"best": None}, path)

    def refuse_unusable(self, path: Path, outline: dict) -> None:
        """Raises CheckpointError, with names, if entries or values of a checkpoint cannot be this run's."""
        refuse_odd_entries(path, outline)
        refuse_unusable(values_of(path, outline), partial(dtype_of_value, self.model.state_dict()), str(path))

    def load(self, path: str) -> dict:
        """A checkpoint that the master has found whole; of a folder only this rank's shards, if the model has them."""
        if Path(path).is_dir():
            return sharding().load_shards(Path(path), shard_maker(self.model, self.optimizer))
        return load_checkpoint(path)

    def restore(self, state: dict, path: str) -> Position:
        """Weights, optimizer, scaler, best metric of a checkpoint; returns where to go on."""
        on_master(refuse_misfit, self.cfg, self.model, self.optimizer, state, path)
        load_model(self.model, state["model_state"])
        load_optimizer(self.optimizer, state["optimizer_state"])
        scaler = state.get("scaler_state") or state.get("scaler")
        if scaler and self.scaler.is_enabled():
            self.scaler.load_state_dict(scaler)
        best = state.get("best") or {}
        errors = [best.get("top1_err"), best.get("top5_err")]
        if all(isinstance(error, int | float) and 0 <= error <= 100 for error in errors):
            self.best |= best  # anything else, such as a NaN, would keep later ones from being the best
        position = Position(**(state.get("position") or {"epoch": state["epoch"] + 1}))
        self.resumed_from = path
        if (state.get("world_size") or get_world_size()) != get_world_size():
            logger.warning(
                "%s was saved by %d processes and %d go on: each sample is still seen once an epoch, but sums "
                "are taken in another order, so the weights will not be the same bit for bit.",
                *(path, state["world_size"], get_world_size()),
            )
        threads = torch.get_num_threads()
        if not self.cfg.NUM_GPUS and (state.get("threads") or threads) != threads:
            logger.warning(
                "%s was saved by a run on %d CPU thread%s and one on %d continues: sums are taken in another order, so "
                "the weights will not be the same bit for bit.",
                *(path, state["threads"], "s" * (state["threads"] > 1), threads),
            )
        logger.info("Resumed from %s (%d epochs and %d steps done)", path, position.epoch, position.steps)
        return position


def dtype_of_value(own: dict[str, torch.Tensor], name: str) -> torch.dtype | None:
    """What belongs at a place of a checkpoint (`named_values`), if it is one of a model's `own` tensors or a moment."""
    if name.startswith("optimizer_state/state/"):
        return torch.int64 if name.endswith("/step") else torch.float32
    key = name.removeprefix("model_state/")
    return own[key].dtype if key in own else None


def refuse_foreign_checkpoints(cfg) -> None:
    """With AUTO_RESUME off, a used OUTPUT_DIR would mix two runs' checkpoints; says so before anything is lost."""
    if not cfg.TRAIN.AUTO_RESUME and run_checkpoints(cfg.OUTPUT_DIR):
        raise ValueError(
            f"OUTPUT_DIR {cfg.OUTPUT_DIR} already holds checkpoints of another run and TRAIN.AUTO_RESUME is False. "
            "Set OUTPUT_DIR to a new folder, or TRAIN.AUTO_RESUME True to go on with that run."
        )
