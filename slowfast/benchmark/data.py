"""Video input: CPU time of a training sample and a test video beside the usual path, and the cores a model needs."""

import importlib.util
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch

from slowfast.benchmark.against import Measurement
from slowfast.benchmark.common import Results, alternate, ratios
from slowfast.benchmark.usual_path import UsualPath, decode_span, decode_with_decord, decode_with_torchcodec
from slowfast.benchmark.video_stages import STAGES, benchmark_config, generators, our_stages, stages
from slowfast.datasets import VideoError, build_dataset
from slowfast.datasets.annotations import video_files
from slowfast.datasets.decoder import decode_wanted
from slowfast.datasets.lists import read_video_list
from slowfast.datasets.video_index import index_of, open_video, read_index
from slowfast.utils.memory import keep_freed_memory

BASELINE = "usual path, PyAV"


def add_arguments(parser) -> None:
    parser.add_argument("path", type=Path, help="a video, a folder of videos, or a `path label` list")
    parser.add_argument("--files", type=int, default=5, help="videos measured, spread evenly over them")
    parser.add_argument("--clip", type=int, nargs=2, default=(16, 4), metavar=("FRAMES", "RATE"))
    parser.add_argument(
        "--views", type=int, nargs=2, default=(5, 3), metavar=("CLIPS", "CROPS"), help="of a test video"
    )
    parser.add_argument("--crop", type=int, default=224, help="side of training and test crops, in pixels")
    parser.add_argument("--batch", type=int, default=64, help="clips of a model's training step")
    parser.add_argument("--step-seconds", type=float, default=0.5, help="how long that step takes")


def measurements(args) -> list[Measurement]:
    """What --against compares."""
    how = Namespace(clip=args.clip, views=args.views, crop=args.crop)
    return [
        Measurement(f"{Path(path).name[-24:]} {split}", stages, (path, split, how), STAGES, clock="cpu")
        for path in chosen_videos(args.path, args.files)
        for split in ("train", "augmented", "test")
    ]


def run(args) -> Results:
    keep_freed_memory()  # as loader processes do
    results = Results(
        "Video input, median CPU ms",
        "train: a sample; augmented: two copies with RandAugment and erasing; test: all views of a video.\n"
        "open, decode and transform are differences of medians; ratio: how many times cheaper than the "
        f"{BASELINE}, the median over turns.\nindex: read once a file and then kept; copy: pinned, to the GPU.",
    )
    for path in chosen_videos(args.path, args.files):
        with tempfile.TemporaryDirectory() as folder:
            for split in ("train", "augmented", "test"):
                results.rows += measure(path, split, args, Path(folder))
    report_cores(results.rows, args)
    return results


def chosen_videos(path: Path, number: int) -> list[str]:
    """Readable videos of a file, folder or list, spread evenly over them.

    Raises:
        VideoError: there are none.
    """
    if path.is_dir():
        paths = [str(file) for file in video_files(path)]
    elif path.suffix in {".csv", ".txt"}:
        paths = [entry.path for entry in read_video_list(path, num_classes=2**31)]
    else:
        paths = [str(path)]
    rows = np.linspace(0, len(paths) - 1, min(number, len(paths))).astype(int)
    chosen = [paths[row] for row in rows if is_readable(paths[row])]
    if not chosen:
        raise VideoError(str(path), "no readable video in it")
    return chosen


def is_readable(path: str) -> bool:
    try:
        return index_of(path).info.num_frames > 0
    except VideoError as error:
        print(f"left out: {error}")
        return False


def measure(path: str, split: str, args, folder: Path) -> list[dict]:
    """A row for each way to make this split's samples of a video."""
    cfg = benchmark_config(path, split, args, folder)
    ours = build_dataset(cfg, "test" if split == "test" else "train")
    info = index_of(path).info
    usual = {BASELINE: decode_span}
    if importlib.util.find_spec("decord"):
        usual["usual path, decord"] = decode_with_decord
    if importlib.util.find_spec("torchcodec"):
        usual["usual path, torchcodec"] = decode_with_torchcodec
    usual = {name: UsualPath(cfg, decode, info.num_frames) for name, decode in usual.items()}
    stages = {"SpikeFast": our_stages(ours, path, split)} | {
        name: usual_stages(way, path, split) for name, way in usual.items()
    }
    stages["limit: bare decoding"] = {"frames": bare_decoding(ours, path, split)}
    candidates = {(name, stage): call for name, calls in stages.items() for stage, call in calls.items()}
    seconds = alternate(candidates, args.runs, clock=time.process_time)
    of_all = {name: seconds[name, list(calls)[-1]] for name, calls in stages.items()}
    cheaper = ratios(of_all, BASELINE)
    rows = []
    for name, calls in stages.items():
        spent = {stage: 1000 * median(seconds[name, stage]) for stage in calls}
        rows.append(row_of(path, split, name, spent, cheaper[name]))
    rows[0]["index"] = index_milliseconds(path, args.runs)
    rows[0]["copy"] = copy_milliseconds(cfg, split, args.runs)
    return rows


def row_of(path: str, split: str, name: str, spent: dict[str, float], ratio: float) -> dict:
    opened, frames = spent.get("open", 0.0), spent["frames"]
    total = spent.get("sample", frames)
    return {
        **{"file": Path(path).name[-24:], "split": split, "way": name, "index": None, "open": opened},
        **{"decode": frames - opened, "transform": total - frames, "copy": None, "total": total, "ratio": ratio},
    }


def usual_stages(way: UsualPath, path: str, split: str) -> dict[str, Callable[[], object]]:
    if split == "test":
        return {"frames": lambda: way.test_frames(path), "sample": lambda: way.test_video(path)}
    first, second = generators(), generators()
    return {
        "frames": lambda: way.frames(path, next(first)),
        "sample": lambda: way.training_sample(path, next(second)),
    }


def bare_decoding(dataset, path: str, split: str) -> Callable[[], None]:
    """Decodes, without converting, what a clip needs; all frames for a test video or where seeking is not exact."""
    index, draws = index_of(path), generators()

    def everything():
        with open_video(path) as (container, stream):
            for _ in container.decode(stream):
                pass

    def needed():
        indices = dataset.indices(index.info, dataset.clips[0], next(draws))
        first, last = index.timestamps[[indices[0], indices[-1]]].tolist()
        keyframe = int(index.keyframes[np.searchsorted(index.keyframes, first, side="right") - 1])
        with open_video(path) as (container, stream):
            if keyframe > index.timestamps[0]:
                container.seek(keyframe, stream=stream, backward=True, any_frame=False)
            for frame in decode_wanted(container, stream, keyframe, dict.fromkeys(index.timestamps[indices].tolist())):
                if frame.pts >= last:
                    break

    return everything if split == "test" or not index.seekable else needed


def index_milliseconds(path: str, runs: int) -> float:
    def read():
        read_index.cache_clear()
        index_of(path)

    return 1000 * median(alternate({"index": read}, runs, clock=time.process_time)["index"])


def copy_milliseconds(cfg, split: str, runs: int) -> float | None:
    """Wall time of the copy to the GPU, if there is one."""
    if not torch.cuda.is_available():
        return None
    clips = cfg.AUG.NUM_SAMPLE if split != "test" else cfg.TEST.NUM_ENSEMBLE_VIEWS * cfg.TEST.NUM_SPATIAL_CROPS
    side = cfg.DATA.TRAIN_CROP_SIZE
    pixels = torch.zeros(clips, 3, cfg.DATA.NUM_FRAMES, side, side, dtype=torch.uint8).pin_memory()
    return 1000 * median(alternate({"copy": lambda: pixels.to("cuda", non_blocking=True)}, runs, "cuda")["copy"])


def report_cores(rows: list[dict], args) -> None:
    """Says how many cores keep a model busy."""
    needed = args.batch / args.step_seconds
    print(f"A step of {args.batch} clips in {args.step_seconds:g} s takes {needed:.1f} clips/s:")
    for split, clips in (("train", 1), ("augmented", 2), ("test", args.views[0] * args.views[1])):
        for way in ("SpikeFast", BASELINE):
            spent = [row["total"] / 1000 / clips for row in rows if row["split"] == split and row["way"] == way]
            rate = len(spent) / sum(spent)
            print(f"  {split:9}  {way:16}  {rate:6.1f} clips/s a core, {needed / rate:5.1f} cores")
