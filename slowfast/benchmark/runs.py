"""Training runs as `tools/run_net.py` starts them: on several processes, sharded, with checkpoints beside them."""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import torch

from slowfast.benchmark.common import Results, ratios
from slowfast.config import assert_and_infer_cfg, get_cfg, write_config
from slowfast.datasets.motion import write_motion

EPOCHS, STEPS = 3, 6  # the first epoch is not measured
CHECKPOINTS = ("TRAIN.CHECKPOINT_EVERY_STEPS", 1)
SHARDED = ("DIST.STRATEGY", "fsdp")
# SVFormer's widths with a block a stage; a step takes a third of a second on one core.
MODEL = (
    *("MODEL.MODEL_NAME", "SVFormer", "UNIFORMER.EMBED_DIM", [64, 128, 320, 512], "UNIFORMER.DEPTH", [1, 1, 1, 1]),
    *("UNIFORMER.HEAD_DIM", 64, "DATA.NUM_FRAMES", 8, "DATA.TRAIN_CROP_SIZE", 64, "DATA.TEST_CROP_SIZE", 64),
    *("DATA.TRAIN_JITTER_SCALES", [64, 72], "TRAIN.DATASET", "motion", "MODEL.NUM_CLASSES", 8, "SNN.V_THRESHOLD", 0.2),
    *("SOLVER.OPTIMIZING_METHOD", "adamw", "SOLVER.BASE_LR", 1e-3, "SOLVER.WARMUP_EPOCHS", 0.0),
)
RUN = (
    *("SOLVER.MAX_EPOCH", EPOCHS, "TRAIN.EVAL_PERIOD", EPOCHS, "TRAIN.CHECKPOINT_PERIOD", EPOCHS),
    *("TEST.ENABLE", False, "LOG_MODEL_INFO", False, "DATA.CHECK_VIDEOS", 0),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    processes = torch.cuda.device_count() or 2
    parser.add_argument(
        "--processes",
        type=int,
        default=processes,
        help="GPUs, or CPU processes, of one thread each unless --threads says",
    )
    parser.add_argument("--batch", type=int, default=3 * processes, help="clips a process and step")
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE", help="for all runs, such as another model's")


def run(args: argparse.Namespace) -> Results:
    if args.processes < 2 or args.batch % args.processes:
        raise SystemExit("--processes must be at least 2 and divide --batch.")
    many, global_batch = f"{args.processes} processes", args.batch * args.processes
    variants = {  # title -> processes, global batch, options
        "1 process": (1, args.batch, ()),
        many: (args.processes, global_batch, ()),
        f"{many}, together the batch of one": (args.processes, args.batch, ()),
        f"{many}, sharded": (args.processes, global_batch, SHARDED),
        "1 process, a checkpoint whenever the last is written": (1, args.batch, CHECKPOINTS),
        f"{many}, sharded, a checkpoint whenever the last is written": (
            args.processes,
            global_batch,
            (*SHARDED, *CHECKPOINTS),
        ),
    }
    seconds: dict[str, list[float]] = {title: [] for title in variants}
    with tempfile.TemporaryDirectory() as folder:
        data = write_motion(Path(folder) / "motion", counts={"train": STEPS * global_batch, "val": 2 * args.processes})
        for turn in range(args.runs):
            for index, (title, (processes, batch, options)) in enumerate(variants.items()):
                output = Path(folder) / f"{turn} {index}"
                cfg = get_cfg()
                cfg.merge_from_list([*MODEL, *RUN, *place(processes, args.threads), *options, *args.opts])
                cfg.merge_from_list(["DATA.PATH_TO_DATA_DIR", str(data), "OUTPUT_DIR", str(output)])
                cfg.merge_from_list(["TRAIN.BATCH_SIZE", batch])
                seconds[title].append(seconds_a_step(cfg) / batch)
                shutil.rmtree(output)
    faster = ratios(seconds, "1 process")
    rows = [
        {"run": title, "clips/s": 1 / median(times), "x 1 process": faster[title]} for title, times in seconds.items()
    ]
    devices = "GPUs" if torch.cuda.is_available() else f"CPU processes of {args.threads or 1} threads"
    note = (
        f"{devices}, {args.batch} clips a process unless said, {args.runs} alternated runs of {STEPS * (EPOCHS - 1)} "
        "steps or more, medians of their means. Loading, logging and the weight update are part of a step."
    )
    return Results("Training runs", note, rows)


def place(processes: int, threads: int | None) -> tuple:
    """The keys of so many processes: GPUs with loaders beside them, or cores that load for themselves."""
    if torch.cuda.is_available():
        return ("NUM_GPUS", processes, "DATA_LOADER.NUM_WORKERS", 4)
    cores = ("DIST.CPU_PROCESSES", processes, "CPU_THREADS", threads or 1, "DATA_LOADER.NUM_WORKERS", 0)
    return ("NUM_GPUS", 0, *cores)


def seconds_a_step(cfg) -> float:
    """Of a run in processes of its own, over the epochs after the first."""
    command = [sys.executable, "-m", "slowfast", "--cfg", str(write_config(assert_and_infer_cfg(cfg)))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    log = (Path(cfg.OUTPUT_DIR) / "stdout.log").read_text(encoding="utf-8")
    epochs = re.findall(r'json_stats: (\{.*"train_epoch".*\})', log)
    steps = [json.loads(line)["dt"] for line in epochs][1:]
    return sum(steps) / len(steps)
