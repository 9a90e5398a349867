"""Training: the story of a run from the model's first weights to its last checkpoint."""

import math
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from slowfast.datasets import BadVideos, MixUp, build_loader, normalize, prefetch
from slowfast.engine.env import seed_all
from slowfast.engine.evaluate import score_views
from slowfast.engine.launch import accumulation_steps
from slowfast.engine.ledger import Ledger
from slowfast.engine.progress import Progress
from slowfast.evaluation.meters import TrainMeter, gpu_mem, ram, topk_errors, val_iter_stats
from slowfast.models import build_model
from slowfast.models.losses import build_loss
from slowfast.models.pretrained import initial_weights, load_weights
from slowfast.solver import build_lr_schedule, build_optimizer, describe_groups, set_learning_rate
from slowfast.spiking import synchronize_norms
from slowfast.utils.checkpoint import load_checkpoint
from slowfast.utils.distributed import all_reduce_sum, get_rank, get_world_size
from slowfast.utils.logging import log_json_stats, logger
from slowfast.visualization import TensorboardWriter

AMP_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


class NonFiniteLossError(ValueError):
    """The loss became NaN or infinite; names the epoch, the step and the videos of the batch."""


def train(cfg, device: torch.device, class_names: list[str]) -> None:
    """Trains `MODEL.MODEL_NAME` up to SOLVER.MAX_EPOCH, from OUTPUT_DIR's last checkpoint if there is one."""
    trainer = Trainer(cfg, device)
    writer = TensorboardWriter(cfg)
    start_epoch = trainer.ledger.resume() if cfg.TRAIN.AUTO_RESUME else 0
    if start_epoch == 0 and cfg.TRAIN.CHECKPOINT_FILE_PATH:
        start_epoch = trainer.start_from(cfg.TRAIN.CHECKPOINT_FILE_PATH)
    elif start_epoch == 0:
        trainer.start_from_images()
    if start_epoch >= cfg.SOLVER.MAX_EPOCH:
        logger.info("Nothing to train: %s holds epoch %d of %d.", cfg.OUTPUT_DIR, start_epoch, cfg.SOLVER.MAX_EPOCH)
        return
    train_loader, val_loader = build_loader(cfg, "train"), build_loader(cfg, "val")
    for epoch in range(start_epoch, cfg.SOLVER.MAX_EPOCH):
        stats = trainer.train_epoch(epoch, train_loader)
        writer.add_scalars({f"Train/{key}": value for key, value in stats.items()}, epoch + 1)
        last = epoch + 1 == cfg.SOLVER.MAX_EPOCH
        if last or (epoch + 1) % cfg.TRAIN.EVAL_PERIOD == 0:
            if cfg.BN.USE_PRECISE_STATS:
                trainer.update_precise_statistics(epoch, train_loader)
            scores, stats = trainer.validate(epoch, val_loader)
            writer.add_scalars({f"Val/{key}": value for key, value in stats.items()}, epoch + 1)
            writer.add_evaluation("Val", *scores.readable(), class_names, epoch + 1)
        if last or (epoch + 1) % cfg.TRAIN.CHECKPOINT_PERIOD == 0:
            trainer.ledger.save(epoch)
    writer.close()


class Trainer:
    """Model, optimizer, schedule and scaler of one run on one device, and the loops over them."""

    def __init__(self, cfg, device: torch.device):
        self.cfg, self.device = cfg, device
        seed_all(cfg.RNG_SEED)
        self.model = build_model(cfg).to(device)
        if cfg.BN.NORM_TYPE == "sync_batchnorm":
            synchronize_norms(self.model)
        self.optimizer = build_optimizer(self.model, cfg)
        self.learning_rate = build_lr_schedule(cfg)
        self.loss = build_loss(cfg)
        self.mixup = MixUp.from_config(cfg) if cfg.MIXUP.ENABLE else None
        self.amp_dtype = AMP_DTYPES[cfg.TRAIN.AMP_DTYPE] if cfg.TRAIN.MIXED_PRECISION else None
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.amp_dtype is torch.float16)
        self.accumulate = accumulation_steps(cfg, get_world_size())
        self.parallel = self.data_parallel()
        self.ledger = Ledger(cfg, self.model, self.optimizer, self.scaler)
        logger.info("Parameter groups: %s", describe_groups(self.optimizer))
        logger.info("Precision: %s", self.amp_dtype or "float32")

    def start_from(self, path: str) -> int:
        """Starts from TRAIN.CHECKPOINT_FILE_PATH; returns the epoch to train next.

        A checkpoint of training goes on at its epoch with its optimizer, as upstream does, unless
        TRAIN.CHECKPOINT_EPOCH_RESET asks for its weights only; a file of weights always gives only those.
        """
        if not self.cfg.TRAIN.CHECKPOINT_EPOCH_RESET and "optimizer_state" in load_checkpoint(path):
            return self.ledger.continue_from(path)
        self.load(path)
        return 0

    def start_from_images(self) -> None:
        """Starts from the image weights the model's own section names, if it names any."""
        path = initial_weights(self.model)
        if path is not None:
            self.load(path)

    def load(self, path: str | Path) -> None:
        report = load_weights(
            self.model,
            path,
            max_unloaded=self.cfg.MODEL.MAX_UNLOADED,
            clear_patterns=tuple(self.cfg.TRAIN.CHECKPOINT_CLEAR_NAME_PATTERN),
        )
        logger.info("Initial weights from %s", report)

    def data_parallel(self) -> nn.Module:
        """The model itself in one process, else wrapped so that gradients are averaged over all."""
        if get_world_size() == 1:
            return self.model
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(self.model, device_ids=devices, gradient_as_bucket_view=True)

    def train_epoch(self, epoch: int, loader) -> dict[str, float]:
        """One pass over the training set; returns the epoch's loss, errors and learning rate."""
        loader.batch_sampler.set_epoch(epoch)
        steps = len(loader)
        meter = TrainMeter(epoch, self.cfg.SOLVER.MAX_EPOCH, steps, self.cfg.LOG_PERIOD)
        progress = Progress(f"epoch {epoch + 1}/{self.cfg.SOLVER.MAX_EPOCH}", steps, self.cfg.LOG_PERIOD)
        bad_videos = BadVideos(loader.dataset)
        self.parallel.train()
        for step, batch in enumerate(prefetch(loader, self.device)):
            meter.timer.data_ready()
            bad_videos.add(batch.unread)
            lr = self.learning_rate(epoch + step / steps)
            set_learning_rate(self.optimizer, lr)
            values = self.train_step(batch, epoch, step, steps, loader.batch_sampler.global_size(step))
            meter.timer.step_done()
            meter.update(len(batch.labels), lr, **values)
            shown = {
                "loss": f"{meter.recent('loss'):.3f}",
                "top1": f"{100.0 - meter.recent('top1_err'):.1f}%",
                "data wait": f"{meter.timer.data_share:.0%}",
                "eta": meter.iter_stats(step)["eta"],
            }
            progress.update(step, shown, meter.iter_stats(step) if progress.is_due(step) else None)
        progress.close()
        bad_videos.report("others took their places", self.cfg.DATA.MAX_BAD_VIDEOS)
        return self.finish_epoch(meter)

    def train_step(self, batch, epoch: int, step: int, steps: int, global_size: int) -> dict[str, float]:
        """Forward, loss, backward, and every `accumulate` steps the weight update.

        `global_size`: videos of all ranks in this step, of which this rank's share may be one more than another's.
        """
        seed_all(self.cfg.RNG_SEED, get_rank(), epoch, step)
        clips = normalize(batch.clips.to(self.device, non_blocking=True), self.cfg.DATA.MEAN, self.cfg.DATA.STD)
        targets = batch.labels.to(self.device, non_blocking=True)
        if self.mixup is not None:
            clips, targets = self.mixup(clips, targets, (get_rank(), epoch, step))

        group_start = step - step % self.accumulate
        group = min(self.accumulate, steps - group_start)  # the epoch's last group may be short
        update = step + 1 == group_start + group
        waiting = self.parallel.no_sync() if not update and get_world_size() > 1 else nullcontext()
        with waiting:
            with torch.autocast(self.device.type, self.amp_dtype, enabled=self.amp_dtype is not None):
                logits = self.parallel(clips)
                loss = self.loss(logits.float(), targets)
            value = loss.item()
            if not math.isfinite(value):
                videos = ", ".join(map(str, batch.video.tolist()))
                raise NonFiniteLossError(
                    f"Loss {value} in epoch {epoch + 1}, step {step + 1} (rows of the training list: {videos}). "
                    "Lower SOLVER.BASE_LR, set SOLVER.CLIP_GRAD_L2NORM, or TRAIN.AMP_DTYPE bfloat16."
                )
            share = len(batch.labels) / self.cfg.AUG.NUM_SAMPLE * get_world_size() / global_size
            self.scaler.scale(loss * share / group).backward()
        top1_err, top5_err = (error.item() for error in topk_errors(logits.detach(), targets))
        values = {"loss": value, "top1_err": top1_err, "top5_err": top5_err}
        if update:
            values |= self.update_weights()
        return values

    def update_weights(self) -> dict[str, float]:
        """Clips the gradients, steps the optimizer, clears them; returns the norm before clipping if it was taken."""
        values = {}
        if self.cfg.SOLVER.CLIP_GRAD_L2NORM or self.cfg.SOLVER.CLIP_GRAD_VAL:
            self.scaler.unscale_(self.optimizer)
            parameters = list(self.model.parameters())
            if self.cfg.SOLVER.CLIP_GRAD_VAL:
                nn.utils.clip_grad_value_(parameters, self.cfg.SOLVER.CLIP_GRAD_VAL)
            else:
                norm = nn.utils.clip_grad_norm_(parameters, self.cfg.SOLVER.CLIP_GRAD_L2NORM)
                values["grad_norm"] = norm.item()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return values

    def finish_epoch(self, meter: TrainMeter) -> dict[str, float]:
        """Averages the epoch's figures over ranks and logs them."""
        stats = meter.epoch_stats()
        keys = list(meter.sums)
        *totals, samples = all_reduce_sum([*(meter.sums[key] for key in keys), float(meter.samples)], self.device)
        stats |= {key: total / samples for key, total in zip(keys, totals, strict=True)}
        log_json_stats(stats)
        logger.info(
            f"epoch {stats['epoch']}: loss {stats['loss']:.4f}, top-1 {100 - stats['top1_err']:.2f} %, "
            f"top-5 {100 - stats['top5_err']:.2f} %, lr {stats['lr']:.2e}, {stats['dt']:.2f} s a step "
            f"({meter.timer.data_share:.0%} waiting for data), left {stats['eta']}"
        )
        return {key: stats[key] for key in (*keys, "lr")}

    def validate(self, epoch: int, loader):
        """Scores the validation set, one view a video, and keeps the best weights; returns its Scores and errors."""
        max_epoch = self.cfg.SOLVER.MAX_EPOCH
        started = time.perf_counter()
        scores = score_views(
            self.cfg,
            self.model,
            loader,
            self.device,
            step_views=self.cfg.TRAIN.BATCH_SIZE,
            title=f"val {epoch + 1}/{max_epoch}",
            step_stats=partial(val_iter_stats, epoch, max_epoch),
        )
        accuracy = scores.accuracy()
        errors = {"top1_err": 100.0 - accuracy["top1_acc"], "top5_err": 100.0 - accuracy["top5_acc"]}
        self.ledger.record_validation(epoch, **errors)
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
        logger.info(
            f"val {epoch + 1}/{max_epoch}: top-1 {accuracy['top1_acc']:.2f} %, top-5 {accuracy['top5_acc']:.2f} % "
            f"(one {self.cfg.DATA.VAL_VIEW} view a video; best top-1 {100 - best['top1_err']:.2f} %)"
        )
        return scores, errors

    def update_precise_statistics(self, epoch: int, loader) -> None:
        """Recomputes the norms' running statistics as averages over BN.NUM_BATCHES_PRECISE training batches."""
        from fvcore.nn.precise_bn import update_bn_stats  # rarely asked for

        loader.batch_sampler.set_epoch(epoch)
        clips = (normalize(batch.clips.to(self.device), self.cfg.DATA.MEAN, self.cfg.DATA.STD) for batch in loader)
        self.model.train()
        with torch.no_grad():
            update_bn_stats(self.model, clips, min(self.cfg.BN.NUM_BATCHES_PRECISE, len(loader)))
