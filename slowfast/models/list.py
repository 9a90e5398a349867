"""`python -m slowfast.models.list [PATTERN]`: every model and preset with its size, its FLOPs and what is published.

Parameters, FLOPs and time steps are computed from the models at the published configurations (`published.yaml`);
the accuracies and their sources are quoted there. The output is a Markdown table.
"""

import argparse
import fnmatch
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import yaml
from torch import nn

from slowfast.config import CfgNode, apply_preset, get_cfg, preset_model
from slowfast.config.presets import PRESETS, preset_value
from slowfast.evaluation.complexity import count_flops_from_shapes, count_parameters
from slowfast.models import MODEL_REGISTRY, build_model
from slowfast.spiking import SpikingNeuron
from slowfast.utils.markdown import row_line

PUBLISHED = Path(__file__).with_name("published.yaml")
HEADER = (
    "MODEL.MODEL_NAME",
    "configuration",
    "input",
    "T",
    "M params",
    "GFLOPs a view",
    "top-1",
    "top-5",
    "on",
    "source",
)


class Entry(NamedTuple):
    """A configuration of a model or preset, and the published result with it, if any."""

    model: str  # MODEL.MODEL_NAME
    config: dict[str, object]
    name: str = ""
    data: str = ""
    views: str = ""
    top1: float | None = None
    top5: float | None = None
    source: str = ""
    exp: str = ""  # folder of exp/ that trains and tests it


class Size(NamedTuple):
    """What a configuration costs: of one clip in evaluation."""

    clip_shape: tuple[int, ...]
    parameters: int
    flops: int
    time_steps: int | None  # None without spiking neurons


def published() -> list[Entry]:
    """The rows of published.yaml, in its order."""
    entries = []
    for group in yaml.safe_load(PUBLISHED.read_text(encoding="utf-8")):
        rows, config = group.pop("rows"), group.pop("config")
        entries += [Entry(**group | row | {"config": config | row.get("config", {})}) for row in rows]
    return entries


def entries() -> Iterator[Entry]:
    """Published rows, then every registered model and preset that has none, at its model's first published config.

    A preset's own values come over that config.
    """
    rows = published()
    yield from rows
    listed = {row.model for row in rows} | {preset_model(row.model) for row in rows}
    first = {preset_model(row.model): row.config for row in reversed(rows)}
    for name in sorted({model for model, _ in MODEL_REGISTRY} | set(PRESETS)):
        if name not in listed:
            config = first.get(preset_model(name), {})
            yield Entry(name, {key: config[key] for key in config if preset_value(name, key) is None})


def config_of(entry: Entry) -> CfgNode:
    cfg = get_cfg()
    cfg.merge_from_list(["MODEL.MODEL_NAME", entry.model, *(part for pair in entry.config.items() for part in pair)])
    apply_preset(cfg)
    cfg.DATA.TEST_CROP_SIZE = cfg.DATA.TRAIN_CROP_SIZE
    return cfg


def size_of(cfg: CfgNode) -> Size:
    """Builds the model and counts; nothing is computed but shapes."""
    model = build_model(cfg)
    side = cfg.DATA.TRAIN_CROP_SIZE
    clip_shape = (cfg.DATA.INPUT_CHANNEL_NUM[0], cfg.DATA.NUM_FRAMES, side, side)
    with recorded_time_steps(model) as steps:
        flops = count_flops_from_shapes(model, clip_shape)
    return Size(clip_shape, count_parameters(model), flops, max(steps, default=None))


@contextmanager
def recorded_time_steps(model: nn.Module) -> Iterator[set[int]]:
    """The numbers of time steps that the model's neurons are run for within."""
    steps = set()
    neurons = [module for module in model.modules() if isinstance(module, SpikingNeuron)]
    hooks = [neuron.register_forward_hook(lambda _, __, spikes: steps.add(spikes.shape[0])) for neuron in neurons]
    try:
        yield steps
    finally:
        for hook in hooks:
            hook.remove()


def cells(entry: Entry, size: Size) -> tuple[str, ...]:
    """One row of the table."""
    channels, frames, height, width = size.clip_shape
    percent = ["" if value is None else f"{value:.2f}" for value in (entry.top1, entry.top5)]
    return (
        entry.model,
        entry.name,
        f"{channels}x{frames}x{height}x{width}",
        "" if size.time_steps is None else str(size.time_steps),
        f"{size.parameters / 1e6:.2f}",
        f"{size.flops / 1e9:.2f}",
        *percent,
        f"{entry.data}, {entry.views}" if entry.views else entry.data,
        entry.source,
    )


def table(pattern: str = "*") -> Iterator[str]:
    """Lines of the Markdown table of what matches a shell-style pattern, or contains it, as they are computed."""
    yield row_line(HEADER)
    yield row_line(["---"] * len(HEADER))
    sizes: dict[str, Size] = {}
    for entry in entries():
        names = f"{entry.model} {entry.name} {entry.data}".lower()
        if fnmatch.fnmatch(names, f"*{pattern.lower()}*"):
            key = f"{entry.model} {entry.config}"
            if key not in sizes:
                sizes[key] = size_of(config_of(entry))
            yield row_line(cells(entry, sizes[key]))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m slowfast.models.list", description=__doc__.splitlines()[0])
    parser.add_argument("pattern", nargs="?", default="*", help="part of a name, or a shell pattern such as 'sew*50'")
    lines = 0
    for line in table(parser.parse_args().pattern):
        print(line, flush=True)
        lines += 1
    if lines == 2:
        raise SystemExit("No model, configuration or data set matches. Without a pattern all are listed.")


if __name__ == "__main__":
    main()
