"""The end of a run: one table for a person, report.json for programs."""

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from slowfast.evaluation.meters import duration
from slowfast.spiking.ailing import described
from slowfast.spiking.monitor import mean_rate, rates_of
from slowfast.utils.files import aside_path
from slowfast.utils.logging import logger
from slowfast.utils.machine import versions


class Training(NamedTuple):
    """What one command trained: wall-clock seconds with validations, steps, and their mean seconds if there were any.

    It went on after `from_epoch` epochs and `from_step` steps of earlier commands; `skipped_steps` had no finite loss
    or gradient.
    """

    seconds: float
    steps: int
    seconds_per_step: float | None
    from_epoch: int
    from_step: int
    skipped_steps: int

    def pace(self) -> dict:
        """All but the seconds, which report.json has beside those of the test."""
        return {key: value for key, value in self._asdict().items() if key != "seconds"}


@dataclass
class Report:
    """What a test found, how and where. accuracy in percent (None: no labels), flops of one view.

    firing: layer -> (spikes, neuron-steps). ailing: what is wrong -> spiking layers (`ailing_layers`). training: None
    if this command did not train. config_sha256: of the config.yaml that this command has written.
    """

    accuracy: dict
    class_names: list[str]
    views: tuple[int, int]
    model_name: str
    parameters: int
    flops: int
    firing: dict[str, tuple[float, int]]
    ailing: dict[str, list[str]]
    training: Training | None
    test_seconds: float
    weights: str
    files: list[str]
    seed: int
    config_sha256: str
    machine: dict[str, object]

    def as_dict(self) -> dict:
        per_class = {self.class_names[k]: acc for k, acc in self.accuracy["per_class"].items()}
        return {
            "top1_acc": self.accuracy["top1_acc"],
            "top5_acc": self.accuracy["top5_acc"],
            "per_class_acc": per_class,
            "unreadable_videos": self.accuracy["unreadable_videos"],
            "nonfinite_videos": self.accuracy["nonfinite_videos"],
            "views": {"clips": self.views[0], "crops": self.views[1]},
            "model": {
                "name": self.model_name,
                "parameters": self.parameters,
                "flops_per_view": self.flops,
                "flops_per_video": self.flops * self.views[0] * self.views[1],
            },
            "firing_rate": {
                "mean": finite_or_none(mean_rate(self.firing)),
                "per_layer": {name: finite_or_none(rate) for name, rate in rates_of(self.firing).items()},
            },
            "ailing_layers": self.ailing,
            "train_seconds": self.training.seconds if self.training else None,
            "test_seconds": self.test_seconds,
            "training": self.training and self.training.pace(),
            "weights": self.weights,
            "files": self.files,
            "seed": self.seed,
            "config_sha256": self.config_sha256,
            "machine": self.machine,
            "versions": versions(),
        }

    def table(self) -> str:
        """The figures a person looks for first, aligned."""
        clips, crops = self.views
        rate = mean_rate(self.firing)
        has_labels = self.accuracy["top1_acc"] is not None
        top = [("accuracy", "none: the list has no labels")]
        if has_labels:
            top = [(f"top-{k}", f"{self.accuracy[f'top{k}_acc']:.2f} %") for k in (1, 5)]
        rows = [
            *top,
            ("views a video", f"{clips} clips x {crops} crops"),
            ("parameters", f"{self.parameters:,}"),
            ("FLOPs a view", f"{self.flops / 1e9:.3f} G"),
            (
                "mean firing rate",
                "no spiking neurons" if rate is None else f"{rate:.4f} spikes / neuron / step",
            ),
            *((f"{what} layers", described(layers, len(self.firing))) for what, layers in self.ailing.items()),
            ("test time", duration(self.test_seconds)),
            ("weights", self.weights),
        ]
        if self.training:
            pace = self.training.seconds_per_step
            shown = "" if pace is None else f" ({pace:.3f} s a step)"
            rows.insert(-2, ("training time", duration(self.training.seconds) + shown))
        for videos, label in (("unreadable_videos", "unreadable videos"), ("nonfinite_videos", "scores not finite")):
            if self.accuracy[videos]:
                cost = "scored as wrong" if has_labels else "not predicted"
                rows.insert(len(top), (label, f"{len(self.accuracy[videos])}, {cost}; see stdout.log"))
        classes = sorted(self.accuracy["per_class"].items(), key=lambda item: item[1])
        shown = classes if len(classes) <= 20 else classes[:5] + classes[-5:]
        title = "per class" if len(classes) <= 20 else "5 worst, 5 best"
        rows += [
            (title if i == 0 else "", f"{accuracy:6.2f} %  {self.class_names[k]}")
            for i, (k, accuracy) in enumerate(shown)
        ]
        rows += [("written" if i == 0 else "", path) for i, path in enumerate(self.files)]
        width = max(len(label) for label, _ in rows)
        lines = [f"  {label:<{width}}  {value}" for label, value in rows]
        rule = "-" * max(len(line) for line in lines)
        return "\n".join([rule, *lines, rule])


def finite_or_none(value: float | None) -> float | None:
    """JSON has no NaN and no infinity: null stands for them."""
    return value if value is not None and math.isfinite(value) else None


def write_report(output_dir: Path, report: Report) -> None:
    """Writes report.json into `output_dir`, whole or not at all, and logs the table."""
    path = output_dir / "report.json"
    report.files.append(str(path))
    aside = aside_path(path)
    aside.write_text(json.dumps(report.as_dict(), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(aside, path)
    logger.info("%s", report.table())
