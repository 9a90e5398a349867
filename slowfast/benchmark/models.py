"""Whole models at their published input, evaluation and training step, beside the same models on upstream's layers."""

import argparse
from functools import partial

import torch
from torch import Tensor, nn

from slowfast.benchmark.common import DTYPES, Apart, Results, add_model_arguments
from slowfast.benchmark.layers import VARIANTS, compare, variant
from slowfast.benchmark.stepwise import StepwiseBranch, single_step
from slowfast.benchmark.upstream import load_old_spikingjelly, old_neuron
from slowfast.config import get_cfg
from slowfast.models import build_model

# Name of a row -> config; clips are [B, 3, DATA.NUM_FRAMES, DATA.TRAIN_CROP_SIZE, ...].
RESPIKE = ["MODEL.MODEL_NAME", "ReSpike", "DATA.NUM_FRAMES", 16, "MODEL.NUM_CLASSES", 101]
IMAGE = ["MODEL.NUM_CLASSES", 1000, "DATA.NUM_FRAMES", 1]
MODELS = {
    "svformer": ["MODEL.MODEL_NAME", "SVFormer", "DATA.NUM_FRAMES", 16, "MODEL.NUM_CLASSES", 101],
    "respike": RESPIKE,
    "respike_down": [*RESPIKE, "RESPIKE.DOWNSAMPLE", True],
    "metaspikformer": ["MODEL.MODEL_NAME", "MetaSpikeFormer_31M", *IMAGE],
    "metaspikformer_t4": ["MODEL.MODEL_NAME", "MetaSpikeFormer_31M", *IMAGE, "METASPIKFORMER.TIME_STEPS", 4],
    "uniformer_s": ["MODEL.MODEL_NAME", "Uniformer_S", "DATA.NUM_FRAMES", 16, "MODEL.NUM_CLASSES", 400],
    "timesformer": ["MODEL.MODEL_NAME", "vit_base_patch16_224", "DATA.NUM_FRAMES", 8, "MODEL.NUM_CLASSES", 400],
}

STEPWISE = ("respike", "respike_down")  # published as a loop over time


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_arguments(parser, cpu_batch=2)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["svformer"], help="default: svformer")
    parser.add_argument("--mode", choices=["train", "eval"], default="train")


def run(args: argparse.Namespace) -> Results:
    what = "zero_grad, forward, cross-entropy, backward, AdamW" if args.mode == "train" else "forward in evaluation"
    note = (
        f"{args.device}, {args.dtype}, batch {args.batch}, {torch.get_num_threads()} CPU threads, {args.runs} "
        f"alternated runs, medians: {what}. Unfused: each norm, then its neuron. Upstream: SpikingJelly 0.0.0.0.14, "
        "norms that copy (ReSpike: one time step after the other), fp32. Stepwise: ReSpike's time steps one after the "
        "other on the installed SpikingJelly. On the CPU each lives in a process of its own: ours as the engine sets "
        "it up, upstream on the C library's defaults."
    )
    results = Results(f"Models, {args.mode}", note)
    for name in args.models:
        results.rows.append(measure(name, args))
    return results


def measure(name: str, args: argparse.Namespace) -> dict:
    """A row: ours in turns with all baselines; on the CPU, for want of memory, with one after the other."""
    names = VARIANTS if args.old_spikingjelly else VARIANTS[:2]
    names += ("stepwise",) if name in STEPWISE else ()
    if args.device.startswith("cuda"):
        return compare(name, {which: model_step(name, which, args) for which in names}, args)
    row = {}
    for baseline in names[1:]:
        pair = {
            which: Apart(model_step, name, which, args, keeps_memory=which != "upstream")
            for which in ("ours", baseline)
        }
        row |= compare(name, pair, args)
        for step in pair.values():
            step.close()
    return row


def model_step(name: str, which: str, args: argparse.Namespace):
    """A function that does one step of a variant, on random clips that are the same for all."""
    cfg = get_cfg()
    cfg.merge_from_list(MODELS[name])
    torch.manual_seed(0)
    size = cfg.DATA.TRAIN_CROP_SIZE
    clips = torch.randn(args.batch, 3, cfg.DATA.NUM_FRAMES, size, size, device=args.device)
    labels = torch.randint(cfg.MODEL.NUM_CLASSES, (args.batch,), device=args.device)
    model = build_model(cfg).to(args.device)
    if name in STEPWISE and which in ("upstream", "stepwise"):
        model.snn_backbone = StepwiseBranch(model.snn_backbone, single_steps(which, args))
    else:
        model = variant(model, which, args)
    dtype = torch.float32 if which == "upstream" else DTYPES[args.dtype]
    return stepper(model, dtype, clips, labels, args.mode == "train")


def single_steps(which: str, args: argparse.Namespace):
    """What makes the neurons of a branch that is stepped through time."""
    if which == "stepwise":
        return single_step
    return partial(old_neuron, load_old_spikingjelly(args.old_spikingjelly), backend="torch", step_mode="s")


def stepper(model: nn.Module, dtype: torch.dtype, clips: Tensor, labels: Tensor, trains: bool):
    """One training step, or one evaluated batch, as a function without arguments."""
    model.train(trains)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    autocast = torch.autocast(clips.device.type, dtype=dtype, enabled=dtype != torch.float32)

    def evaluate() -> None:
        with torch.no_grad(), autocast:
            model([clips])

    def train() -> None:
        optimizer.zero_grad()
        with autocast:
            loss = nn.functional.cross_entropy(model([clips]), labels)
        loss.backward()
        optimizer.step()

    return train if trains else evaluate
