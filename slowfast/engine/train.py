"""Training: the story of a run from the model's first weights to its last checkpoint."""

import time
from functools import partial
from pathlib import Path

import torch

from slowfast.config import write_config
from slowfast.datasets import BadVideos, build_loader, normalize, prefetch
from slowfast.engine.entries import Position
from slowfast.engine.env import seed_all
from slowfast.engine.evaluate import report_nonfinite, score_views
from slowfast.engine.firing import FiringWatch
from slowfast.engine.ledger import Ledger
from slowfast.engine.nonfinite import NonFiniteLossError, advice
from slowfast.engine.parallel import gathered
from slowfast.engine.progress import Progress
from slowfast.engine.signals import RunInterrupted
from slowfast.engine.step import Learner
from slowfast.engine.weights import load_initial_weights, warn_other_settings
from slowfast.evaluation.meters import TrainMeter, gpu_mem, merge_meters, ram, val_iter_stats
from slowfast.evaluation.report import Training
from slowfast.models.pretrained import initial_weights
from slowfast.solver import build_lr_schedule, set_learning_rate
from slowfast.utils.checkpoint import load_outline
from slowfast.utils.distributed import (
    all_reduce_sum,
    broadcast_buffers,
    gather_objects,
    get_rank,
    get_world_size,
    is_master,
    on_master,
)
from slowfast.utils.logging import log_json_stats, logger
from slowfast.visualization import TensorboardWriter


def train(cfg, device: torch.device, class_names: list[str]) -> Training | None:
    """Trains `MODEL.MODEL_NAME` up to SOLVER.MAX_EPOCH, from OUTPUT_DIR's last checkpoint if there is one.

    Returns what it took; None if there was nothing left to train.

    Raises:
        RunInterrupted: a signal asked for it; a checkpoint of the last step is on disk.
        NonFiniteLossError: too many steps in a row were skipped, or all of the last epoch.
    """
    started = time.perf_counter()
    train_loader, val_loader = build_loader(cfg, "train"), build_loader(cfg, "val")
    trainer = Trainer(cfg, device, train_loader.dataset.digest())
    start = trainer.start()
    if is_master():  # not before: a run of other settings, which is refused, would leave its own beside those weights
        logger.info("Whole configuration: %s", write_config(cfg))
    if start.epoch >= cfg.SOLVER.MAX_EPOCH:
        trainer.ledger.say_done(start.epoch)
        return None
    writer = TensorboardWriter(cfg, start_step=start.epoch + 1)
    # An error leaves no write in its midst, in which other ranks may take part.
    with train_loader, val_loader, trainer.ledger.saver:
        for epoch in range(start.epoch, cfg.SOLVER.MAX_EPOCH):
            stats = trainer.train_epoch(start if epoch == start.epoch else Position(epoch), train_loader)
            writer.add_scalars({f"Train/{key}": value for key, value in stats.items()}, epoch + 1)
            last = epoch + 1 == cfg.SOLVER.MAX_EPOCH
            if last and not trainer.meter.updates:
                trainer.end_without_an_update(epoch)
            validates = last or (epoch + 1) % cfg.TRAIN.EVAL_PERIOD == 0
            saves = last or (epoch + 1) % cfg.TRAIN.CHECKPOINT_PERIOD == 0
            if cfg.BN.USE_PRECISE_STATS and (validates or saves):
                trainer.update_precise_statistics(epoch, train_loader)
            if validates:
                scores, stats = trainer.validate(epoch, val_loader)
                writer.add_scalars({f"Val/{key}": value for key, value in stats.items()}, epoch + 1)
                writer.add_evaluation("Val", scores.predictions(), scores.labels, class_names, epoch + 1)
            if saves:
                trainer.save(Position(epoch + 1))
        trainer.ledger.finish()
    writer.close()
    return trainer.measured(start, time.perf_counter() - started)


class Trainer:
    """The epochs and validations of one run on one device, and when they are saved."""

    def __init__(self, cfg, device: torch.device, train_list: str):
        self.cfg, self.device = cfg, device
        self.learner = Learner(cfg, device)
        self.model = self.learner.model
        self.learning_rate = build_lr_schedule(cfg)
        self.ledger = Ledger(cfg, self.model, self.learner.optimizer, self.learner.scaler, train_list)
        self.firing = FiringWatch(self.model)
        self.steps_since_save, self.saved_at = 0, time.monotonic()
        self.steps, self.step_seconds = 0, 0.0

    def start(self) -> Position:
        """Where training begins: OUTPUT_DIR's newest checkpoint, TRAIN.CHECKPOINT_FILE_PATH, or the beginning."""
        start = self.ledger.resume() if self.cfg.TRAIN.AUTO_RESUME else Position()
        if start == Position() and self.cfg.TRAIN.CHECKPOINT_FILE_PATH:
            return self.start_from(self.cfg.TRAIN.CHECKPOINT_FILE_PATH)
        if start == Position():
            self.start_from_images()
        return start

    def start_from(self, path: str) -> Position:
        """Starts from TRAIN.CHECKPOINT_FILE_PATH; returns where.

        A checkpoint of training goes on at its epoch with its optimizer, as upstream does, unless
        TRAIN.CHECKPOINT_EPOCH_RESET asks for its weights only; a file of weights always gives only those.
        """
        if not self.cfg.TRAIN.CHECKPOINT_EPOCH_RESET and on_master(lambda: "optimizer_state" in load_outline(path)):
            return self.ledger.continue_from(path)
        self.load(path)
        return Position()

    def start_from_images(self) -> None:
        """Starts from the image weights the model's own section names, if it names any."""
        path = initial_weights(self.model)
        if path is not None:
            self.load(path)

    def load(self, path: str | Path) -> None:
        report = load_initial_weights(self.cfg, self.model, path)
        warn_other_settings(self.cfg, report.settings, path)
        logger.info("Initial weights from %s", report)

    def train_epoch(self, start: Position, loader) -> dict[str, float]:
        """The rest of an epoch from `start`; returns the whole epoch's loss, errors and learning rate.

        No loss and no errors if no step of it changed the weights.

        Raises:
            RunInterrupted: after a step, with its checkpoint on disk.
        """
        epoch, sampler = start.epoch, loader.batch_sampler
        sampler.set_epoch(epoch, start.samples)
        steps, samples = start.steps + len(loader), start.samples
        self.meter = TrainMeter(epoch, self.cfg.SOLVER.MAX_EPOCH, steps, self.cfg.LOG_PERIOD)
        if start.meters:
            self.meter.load_state(merge_meters(start.meters, get_rank(), get_world_size()))
        progress = Progress(f"epoch {epoch + 1}/{self.cfg.SOLVER.MAX_EPOCH}", steps, self.cfg.LOG_PERIOD)
        bad_videos = BadVideos(loader.dataset)
        self.learner.parallel.train()
        for step, batch in enumerate(prefetch(loader, self.device), start.steps):
            self.meter.timer.data_ready()
            bad_videos.add(batch.unread)
            self.meter.lr = self.learning_rate(epoch + step / steps)
            set_learning_rate(self.learner.optimizer, self.meter.lr)
            global_size = sampler.global_size(step - start.steps)
            self.steps_since_save += 1
            updates = self.learner.updates
            self.firing.look(progress.is_due(step))
            values, stop, save, unreadable = self.learner.step(
                batch, epoch, step, steps, global_size, save=self.wants_checkpoint()
            )
            if unreadable:
                bad_videos.refuse()
            self.meter.timer.step_done()
            if values:
                self.meter.update(len(batch.labels), **values)
            else:
                self.firing.forget()
            self.meter.updates += self.learner.updates - updates
            self.show_step(progress, step)
            samples += global_size
            if (stop or save) and self.learner.ends_group(step, steps):
                self.save(Position(epoch, step + 1, samples, tuple(gather_objects(self.meter.state()))))
            if stop and self.learner.ends_group(step, steps):
                self.interrupt(f"epoch {epoch + 1}, step {step + 1} is saved.")
        progress.close()
        self.firing.look(False)
        self.steps += self.meter.timer.steps
        self.step_seconds += self.meter.timer.total
        bad_videos.report("others took their places", self.cfg.DATA.MAX_BAD_VIDEOS)
        self.position = Position(epoch, steps, samples, tuple(gather_objects(self.meter.state())))
        figures = self.finish_epoch(self.meter)
        self.firing.end_epoch(epoch)
        return figures

    def show_step(self, progress: Progress, step: int) -> None:
        """The latest figures, of the master's samples, on the terminal and in the log."""
        if not self.meter.samples:
            return
        stats = self.meter.iter_stats(step)
        shown = {
            "loss": f"{self.meter.recent('loss'):.3f}",
            "top1": f"{100.0 - self.meter.recent('top1_err'):.1f}%",
            "data wait": f"{self.meter.timer.data_share:.0%}",
            "eta": stats["eta"],
        }
        progress.update(step, shown, stats if progress.is_due(step) else None)

    def wants_checkpoint(self) -> bool:
        """Whether TRAIN.CHECKPOINT_EVERY_* is due, as the master sees it; a write under way puts it off."""
        every_steps, minutes = self.cfg.TRAIN.CHECKPOINT_EVERY_STEPS, self.cfg.TRAIN.CHECKPOINT_EVERY_MINUTES
        due = (every_steps and self.steps_since_save >= every_steps) or (
            minutes and time.monotonic() - self.saved_at >= 60.0 * minutes
        )
        return bool(due) and is_master() and not self.ledger.saver.busy

    def save(self, position: Position) -> None:
        self.ledger.save(position)
        self.steps_since_save, self.saved_at = 0, time.monotonic()

    def interrupt(self, what: str) -> None:
        """Ends the run after its checkpoint is on disk."""
        self.ledger.wait()
        raise RunInterrupted(what)

    def end_without_an_update(self, epoch: int) -> None:
        """Ends a run whose last epoch changed no weight, with a checkpoint of the epochs before and none of its steps.

        Raises:
            NonFiniteLossError: always; the same command does that epoch again.
        """
        if epoch:
            self.save(Position(epoch))
        self.ledger.wait()
        self.ledger.remove_steps()
        raise NonFiniteLossError(
            f"No step of the last epoch ({epoch + 1}) was counted: no loss or gradient was finite. {advice(self.cfg)}"
        )

    def finish_epoch(self, meter: TrainMeter) -> dict[str, float]:
        """Averages the epoch's figures over ranks and logs them; returns those it has, and the learning rate."""
        stats = meter.epoch_stats()
        *totals, samples = all_reduce_sum([*meter.sums.values(), float(meter.samples)], self.device)
        figures = meter.averages(totals, samples)
        log_json_stats(stats | figures)
        learned = "no step counted"
        if meter.updates:
            loss, *errors = figures.values()
            learned = f"loss {loss:.4f}, top-1 {100 - errors[0]:.2f} %, top-5 {100 - errors[1]:.2f} %"
        logger.info(
            f"epoch {stats['epoch']}: {learned}, lr {stats['lr']:.2e}, {stats['dt']:.2f} s a step "
            f"({meter.timer.data_share:.0%} waiting for data), left {stats['eta']}"
        )
        return {key: value for key, value in figures.items() if value is not None} | {"lr": stats["lr"]}

    def measured(self, start: Position, seconds: float) -> Training:
        """What training from `start` to its end took."""
        pace = self.step_seconds / self.steps if self.steps else None
        return Training(seconds, self.steps, pace, start.epoch, start.steps, self.learner.guard.total)

    def validate(self, epoch: int, loader):
        """Scores the validation set, one view a video, and keeps the best weights; returns its Scores and errors.

        Raises:
            RunInterrupted: with a checkpoint on disk from which the run goes on with this validation.
        """
        max_epoch = self.cfg.SOLVER.MAX_EPOCH
        started = time.perf_counter()
        broadcast_buffers(self.model)  # the weights that are saved are those that are scored, on every rank
        try:
            with gathered(self.model):
                scores = score_views(
                    self.cfg,
                    self.model,
                    loader,
                    self.device,
                    step_views=self.cfg.TRAIN.BATCH_SIZE,
                    title=f"val {epoch + 1}/{max_epoch}",
                    step_stats=partial(val_iter_stats, epoch, max_epoch),
                )
        except RunInterrupted:
            self.save(self.position)
            self.interrupt(f"epoch {epoch + 1} is saved, its validation will be done again.")
        accuracy = scores.accuracy()
        report_nonfinite(loader.dataset, accuracy["nonfinite_videos"])
        errors = {"top1_err": 100.0 - accuracy["top1_acc"], "top5_err": 100.0 - accuracy["top5_acc"]}
        self.ledger.record_validation(epoch, **errors, finite=not accuracy["nonfinite_videos"])
        best = self.ledger.best
        log_json_stats(
            {
                "_type": "val_epoch",
                "epoch": f"{epoch + 1}/{max_epoch}",
                "time_diff": time.perf_counter() - started,
                "gpu_mem": gpu_mem(),
                "RAM": ram(),
                **errors,
                "min_top1_err": best["top1_err"],
                "min_top5_err": best["top5_err"],
            }
        )
        so_far = f"best top-1 {100 - best['top1_err']:.2f} %" if best["epoch"] >= 0 else "no best yet"
        logger.info(
            f"val {epoch + 1}/{max_epoch}: top-1 {accuracy['top1_acc']:.2f} %, top-5 {accuracy['top5_acc']:.2f} % "
            f"(one {self.cfg.DATA.VAL_VIEW} view a video; {so_far})"
        )
        return scores, errors

    def update_precise_statistics(self, epoch: int, loader) -> None:
        """Recomputes the norms' running statistics as averages over BN.NUM_BATCHES_PRECISE training batches."""
        from fvcore.nn.precise_bn import update_bn_stats  # rarely asked for

        loader.batch_sampler.set_epoch(epoch)
        seed_all(self.cfg.RNG_SEED, get_rank(), epoch, len(loader))
        clips = (normalize(batch.clips.to(self.device), self.cfg.DATA.MEAN, self.cfg.DATA.STD) for batch in loader)
        self.model.train()
        with torch.no_grad():
            update_bn_stats(self.model, clips, min(self.cfg.BN.NUM_BATCHES_PRECISE, len(loader)))
