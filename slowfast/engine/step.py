"""One training step: what it changes, and what it leaves alone when its loss is not finite."""

import math
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from slowfast.datasets import MixUp, normalize
from slowfast.engine.env import seed_all
from slowfast.engine.launch import accumulation_steps
from slowfast.engine.nonfinite import NonFiniteGuard, advice, first_nonfinite_layer
from slowfast.engine.parallel import average_replicated, data_parallel, gradient_norm, shard_blocks
from slowfast.engine.signals import requested
from slowfast.evaluation.meters import topk_errors
from slowfast.models import build_model
from slowfast.models.losses import build_loss
from slowfast.solver import build_optimizer, describe_groups
from slowfast.spiking import synchronize_norms
from slowfast.utils.distributed import any_rank, get_rank, get_world_size
from slowfast.utils.logging import logger

AMP_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


class Learner:
    """Model, optimizer and scaler of one run on one device, and the step that trains them."""

    def __init__(self, cfg, device: torch.device):
        self.cfg, self.device = cfg, device
        seed_all(cfg.RNG_SEED)
        self.model = build_model(cfg).to(device)
        if cfg.BN.NORM_TYPE == "sync_batchnorm":
            synchronize_norms(self.model)
        self.sharded = cfg.DIST.STRATEGY == "fsdp" and get_world_size() > 1
        if self.sharded:
            shard_blocks(self.model)
        self.optimizer = build_optimizer(self.model, cfg)
        # Operators over lists of tensors take either sharded ones or whole ones.
        self.foreach = False if self.sharded else None
        for group in self.optimizer.param_groups:
            group["foreach"] = self.foreach
        self.loss = build_loss(cfg)
        self.mixup = MixUp.from_config(cfg) if cfg.MIXUP.ENABLE else None
        self.amp_dtype = AMP_DTYPES[cfg.TRAIN.AMP_DTYPE] if cfg.TRAIN.MIXED_PRECISION else None
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.amp_dtype is torch.float16)
        self.accumulate = accumulation_steps(cfg, get_world_size())
        accumulates = self.accumulate > 1
        self.parallel = self.model if self.sharded else data_parallel(self.model, device, accumulates=accumulates)
        self.guard = NonFiniteGuard(self.model, cfg.TRAIN.MAX_NONFINITE_STEPS, advice(cfg))
        self.group_spoiled = False
        self.updates = 0  # how often the weights have changed in this process
        logger.info("Parameter groups: %s", describe_groups(self.optimizer))
        logger.info("Precision: %s", self.amp_dtype or "float32")

    def ends_group(self, step: int, steps: int) -> bool:
        """Whether the weights are updated after this step: at the end of an accumulation, or of the epoch."""
        return (step + 1) % self.accumulate == 0 or step + 1 == steps

    def step(self, batch, epoch: int, step: int, steps: int, global_size: int, *, save: bool):
        """Forward, loss, backward, and every `accumulate` steps the weight update.

        `global_size`: videos of all ranks in this step, of which this rank's share may be one more than another's.
        `save`: whether this rank wants a checkpoint. Returns the step's values (None if it was skipped), and whether
        any rank wants the run to stop, or to save, or has a batch with a video that could not be read.
        """
        entropy = (self.cfg.RNG_SEED, get_rank(), epoch, step)
        clips = normalize(batch.clips.to(self.device, non_blocking=True), self.cfg.DATA.MEAN, self.cfg.DATA.STD)
        targets = batch.labels.to(self.device, non_blocking=True)
        if self.mixup is not None:
            clips, targets = self.mixup(clips, targets, (get_rank(), epoch, step))

        group = min(self.accumulate, steps - (step - step % self.accumulate))  # the epoch's last group may be short
        update = self.ends_group(step, steps)
        self.guard.begin_step()
        with self.gradients_exchanged(update):
            logits = self.forward(self.parallel, clips, entropy)
            loss = self.loss(logits.float(), targets)
            value = loss.item()
            wishes = [not math.isfinite(value), requested() is not None, save, not batch.valid.all().item()]
            bad, stop, save, unreadable = any_rank(wishes, self.device)
            if bad:
                self.skip_step(clips, batch, entropy, f"Loss {value} of epoch {epoch + 1}, step {step + 1}")
            else:
                share = len(batch.labels) / self.cfg.AUG.NUM_SAMPLE * get_world_size() / global_size
                self.scaler.scale(loss * share / group).backward()
        values = None
        if not bad:
            top1_err, top5_err = (error.item() for error in topk_errors(logits.detach(), targets))
            values = {"loss": value, "top1_err": top1_err, "top5_err": top5_err}
        if update:
            values = self.end_group(values, batch, f"The gradient of epoch {epoch + 1}, step {step + 1}")
        return values, stop, save, unreadable

    def forward(self, model: nn.Module, clips: Tensor, entropy: tuple[int, ...]) -> Tensor:
        """Logits under autocast, with random numbers that depend on the place in the run alone."""
        seed_all(*entropy)
        with torch.autocast(self.device.type, self.amp_dtype, enabled=self.amp_dtype is not None):
            return model(clips)

    def gradients_exchanged(self, now: bool):
        """Within it a backward pass leaves gradients on this rank unless `now`."""
        if self.sharded:
            self.model.set_requires_gradient_sync(now)
            return nullcontext()
        return nullcontext() if now or get_world_size() == 1 else self.parallel.no_sync()

    def skip_step(self, clips: Tensor, batch, entropy: tuple[int, ...], what: str) -> None:
        """Undoes a step without a finite loss on some rank; its whole accumulation is dropped."""
        self.guard.undo()
        layer = first_nonfinite_layer(self.model, lambda: self.forward(self.model, clips, entropy))
        self.guard.undo()
        self.group_spoiled = True
        self.guard.skipped(what, batch.video.tolist(), layer)

    def end_group(self, values: dict[str, float] | None, batch, what: str) -> dict[str, float] | None:
        """The weight update of an accumulation; None if one of its losses or its gradient is not finite."""
        spoiled, self.group_spoiled = self.group_spoiled, False
        if spoiled:
            self.optimizer.zero_grad(set_to_none=True)
            return None
        self.scaler.unscale_(self.optimizer)
        if self.sharded:
            average_replicated(self.model)
        norm = gradient_norm(self.model)
        # A scaler skips the update of gradients that overflow and scales less; below 1 it was no overflow.
        overflow = not math.isfinite(norm) and self.scaler.is_enabled() and self.scaler.get_scale() > 1
        if not math.isfinite(norm) and not overflow:
            self.optimizer.zero_grad(set_to_none=True)
            self.scaler.update()
            self.guard.undo()
            self.guard.skipped(what, batch.video.tolist(), "")
            return None
        self.guard.passed()
        clips = self.cfg.SOLVER.CLIP_GRAD_L2NORM and not self.cfg.SOLVER.CLIP_GRAD_VAL
        self.update_weights(norm)
        self.updates += not overflow
        return values | ({"grad_norm": norm} if clips and not overflow else {})

    def update_weights(self, norm: float) -> None:
        """Clips the gradients, of L2 norm `norm`, steps the optimizer and clears them."""
        parameters = list(self.model.parameters())
        if self.cfg.SOLVER.CLIP_GRAD_VAL:
            nn.utils.clip_grad_value_(parameters, self.cfg.SOLVER.CLIP_GRAD_VAL, foreach=self.foreach)
        elif self.cfg.SOLVER.CLIP_GRAD_L2NORM:
            total = torch.tensor(norm, device=self.device)
            nn.utils.clip_grads_with_norm_(parameters, self.cfg.SOLVER.CLIP_GRAD_L2NORM, total, foreach=self.foreach)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
