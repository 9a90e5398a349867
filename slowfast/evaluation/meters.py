"""What a run measures while it trains and validates, in the keys of SlowFast's json_stats lines."""

import datetime
import time
from dataclasses import dataclass, field

import torch
from fvcore.common.history_buffer import HistoryBuffer
from torch import Tensor

from slowfast.utils.memory import machine_memory, peak_memory


def topk_errors(logits: Tensor, targets: Tensor, ks: tuple[int, ...] = (1, 5)) -> list[Tensor]:
    """Share of samples whose class is not among the k best logits, in percent, a scalar tensor for each k.

    `targets` are classes [B], or distributions [B, K] of MixUp, where either of the two mixed classes counts.
    With fewer than k classes every class is among the best. A sample with a logit that is NaN or infinite is wrong.
    """
    wanted = targets.unsqueeze(1) if targets.dim() == 1 else targets.topk(2, dim=1).indices
    best = logits.topk(min(max(ks), logits.shape[1]), dim=1).indices
    hits = (best.unsqueeze(2) == wanted.unsqueeze(1)).any(2) & logits.isfinite().all(1, keepdim=True)  # [B, k]
    return [100.0 * (1.0 - hits[:, :k].any(1).float().mean()) for k in ks]


def gpu_mem() -> str:
    """Peak memory this process took on its GPU, as json_stats writes it."""
    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return f"{peak / 2**30:.2f}G"


def ram() -> str:
    """Peak memory of this process over the machine's memory."""
    return f"{peak_memory() / 2**30:.2f}/{machine_memory() / 2**30:.2f}G"


def duration(seconds: float) -> str:
    return str(datetime.timedelta(seconds=int(seconds)))


class StepTimer:
    """Splits each step into waiting for data and the rest; also the mean step time, for the ETA."""

    def __init__(self) -> None:
        self.steps = 0
        self.total = self.total_data = 0.0
        self.dt = self.dt_data = 0.0
        self.tick()

    def tick(self) -> None:
        self.started = time.perf_counter()

    def data_ready(self) -> None:
        self.dt_data = time.perf_counter() - self.started

    def step_done(self) -> None:
        now = time.perf_counter()
        self.dt = now - self.started
        self.steps += 1
        self.total += self.dt
        self.total_data += self.dt_data
        self.started = now

    @property
    def mean(self) -> float:
        return self.total / max(self.steps, 1)

    @property
    def data_share(self) -> float:
        return self.total_data / max(self.total, 1e-9)


@dataclass
class TrainMeter:
    """Loss and errors of one training epoch; per step over a window, per epoch over every sample.

    `updates` counts the changes of the weights, `lr` is the current learning rate; who trains sets both.
    """

    epoch: int
    max_epoch: int
    steps: int
    window: int
    timer: StepTimer = field(default_factory=StepTimer)

    def __post_init__(self) -> None:
        self.values = {key: HistoryBuffer(self.window) for key in ("loss", "top1_err", "top5_err", "grad_norm")}
        self.sums = dict.fromkeys(("loss", "top1_err", "top5_err"), 0.0)
        self.samples = self.updates = 0
        self.lr = 0.0

    def update(self, samples: int, **values: float) -> None:
        """Counts a step of so many samples; steps that were skipped are not given here."""
        for key, value in values.items():
            self.values[key].update(value)
            if key in self.sums:
                self.sums[key] += value * samples
        self.samples += samples

    def state(self) -> dict:
        """What a resumed epoch needs to report as if it had not been interrupted; plain numbers."""
        recent = {key: [value for value, _ in buffer.values()] for key, buffer in self.values.items()}
        counted = {"samples": self.samples, "updates": self.updates, "lr": self.lr}
        return {"sums": dict(self.sums), **counted, "recent": recent}

    def load_state(self, state: dict) -> None:
        self.sums, self.samples, self.lr = dict(state["sums"]), state["samples"], state["lr"]
        self.updates = state.get("updates", 1)  # earlier versions did not count them
        for key, values in state["recent"].items():
            for value in values:
                self.values[key].update(value)

    def recent(self, key: str) -> float:
        """Median of the last `window` steps."""
        return float(self.values[key].median(self.window))

    def iter_stats(self, step: int) -> dict:
        left = (self.max_epoch - self.epoch) * self.steps - step - 1
        stats = {
            "_type": "train_iter",
            "epoch": f"{self.epoch + 1}/{self.max_epoch}",
            "iter": f"{step + 1}/{self.steps}",
            "dt": self.timer.dt,
            "dt_data": self.timer.dt_data,
            "dt_net": self.timer.dt - self.timer.dt_data,
            "eta": duration(self.timer.mean * left),
            "gpu_mem": gpu_mem(),
            "lr": self.lr,
        }
        return stats | {key: self.recent(key) for key, buffer in self.values.items() if len(buffer.values())}

    def epoch_stats(self) -> dict:
        left = (self.max_epoch - self.epoch - 1) * self.steps
        return {
            "_type": "train_epoch",
            "epoch": f"{self.epoch + 1}/{self.max_epoch}",
            "dt": self.timer.mean,
            "dt_data": self.timer.mean * self.timer.data_share,
            "dt_net": self.timer.mean * (1.0 - self.timer.data_share),
            "eta": duration(self.timer.mean * left),
            "gpu_mem": gpu_mem(),
            "RAM": ram(),
            "lr": self.lr,
        }

    def averages(self, totals: list[float], samples: float) -> dict[str, float | None]:
        """The epoch's figures from `sums` and `samples` of all ranks; None if no step changed the weights."""
        counted = samples and self.updates
        return {key: total / samples if counted else None for key, total in zip(self.sums, totals, strict=True)}


def merge_meters(states: tuple[dict, ...], rank: int, world_size: int) -> dict:
    """A rank's part of an interrupted epoch's `TrainMeter.state`s; with other ranks than then, rank 0 has all of it."""
    if len(states) == world_size:
        return states[rank]
    sums = {key: sum(state["sums"][key] for state in states) for key in states[0]["sums"]}
    samples = sum(state["samples"] for state in states)
    if rank:
        sums, samples = dict.fromkeys(sums, 0.0), 0
    return states[0] | {"sums": sums, "samples": samples}


def val_iter_stats(
    epoch: int, max_epoch: int, step: int, steps: int, timer: StepTimer, errors: dict[str, float]
) -> dict:
    return {
        "_type": "val_iter",
        "epoch": f"{epoch + 1}/{max_epoch}",
        "iter": f"{step + 1}/{steps}",
        "time_diff": timer.dt,
        "eta": duration(timer.mean * (steps - step - 1)),
        "gpu_mem": gpu_mem(),
    } | errors


def test_iter_stats(step: int, steps: int, timer: StepTimer, errors: dict[str, float]) -> dict:
    """As upstream, without the errors: a video's views are not yet together."""
    return {
        "split": "test_iter",
        "cur_iter": str(step + 1),
        "eta": duration(timer.mean * (steps - step - 1)),
        "time_diff": timer.dt,
    }
