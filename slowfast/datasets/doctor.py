"""Examines the data sets of a config: every video is opened, every list compared with the others.

    python -m slowfast.datasets.doctor --cfg exp/NAME/config.yaml [KEY VALUE ...] [--sheet sheet.png]

Says what is wrong, in which line of which list, and ends with 1 if there is anything.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from slowfast.config import load_config
from slowfast.datasets.base import VideoDataset
from slowfast.datasets.build import build_dataset
from slowfast.datasets.health import Facts, Finding, examine, find_problems, statistics
from slowfast.datasets.lists import ListError

SHOWN = 10  # findings of each kind on the terminal; the json file has all


def doctor(cfg, jobs: int) -> tuple[dict[str, VideoDataset], dict[str, list[Facts]], dict]:
    """Data sets and facts of each split, and the report: {"splits": figures of each, "findings": what is wrong}."""
    datasets, findings = {}, []
    for split in ("train", "val", "test"):
        try:
            datasets[split] = build_dataset(cfg, split)
        except ListError as error:
            findings.append(Finding(f"no {split} list", cfg.DATA.PATH_TO_DATA_DIR, str(error)))
    facts = {split: examine(dataset, jobs) for split, dataset in datasets.items()}
    findings += find_problems(datasets, facts)
    splits = {split: statistics(dataset, facts[split]) for split, dataset in datasets.items()}
    return datasets, facts, {"splits": splits, "findings": [finding._asdict() for finding in findings]}


def print_report(report: dict) -> None:
    from tabulate import tabulate

    rows = [{"split": split, **figures} for split, figures in report["splits"].items()]
    print(tabulate(rows, headers="keys"))
    print("(three figures: least / median / greatest)")
    by_problem: dict[str, list[dict]] = {}
    for finding in report["findings"]:
        by_problem.setdefault(finding["problem"], []).append(finding)
    for problem, found in by_problem.items():
        print(f"\n{problem}: {len(found)}")
        for finding in found[:SHOWN]:
            print(f"  {finding['where']}: {finding['what']}")
        if len(found) > SHOWN:
            print(f"  and {len(found) - SHOWN} more (--json FILE has all)")
    if not by_problem:
        print("\nNothing wrong was found.")


def draw_sheet(path: Path, dataset: VideoDataset, facts: list[Facts], rows: int = 8, columns: int = 8) -> None:
    """Saves a picture: a line of frames, first to last, of one readable video of each of `rows` classes."""
    from PIL import Image, ImageDraw

    first_of = {dataset.entries[row].label: row for row in reversed(range(len(facts))) if not facts[row].error}
    labels = [sorted(first_of)[i] for i in np.linspace(0, len(first_of) - 1, min(rows, len(first_of))).astype(int)]
    height, width, margin = 96, 128, 14
    sheet = Image.new("RGB", (columns * (width + 2), len(labels) * (height + margin + 2)), "white")
    draw = ImageDraw.Draw(sheet)
    for line, label in enumerate(labels):
        entry, top = dataset.entries[first_of[label]], line * (height + margin + 2)
        last = dataset.info(entry).num_frames - 1
        numbers = np.linspace(0, last, columns).astype(np.int64)
        caption = f"label {label}  {Path(entry.path).name}  frames {', '.join(map(str, numbers.tolist()))}"
        draw.text((2, top + 1), caption.encode("ascii", "replace").decode(), fill="black")
        for column, frame in enumerate(dataset.frames_of(entry, numbers)):
            picture = Image.fromarray(colours(frame))
            picture.thumbnail((width, height))
            sheet.paste(picture, (column * (width + 2), top + margin))
    sheet.save(path)


def colours(frame: np.ndarray) -> np.ndarray:
    """RGB as it is; two channels of event counts as red and green, the greatest count brightest."""
    if frame.shape[-1] == 3:
        return frame
    bright = frame * (255 // max(int(frame.max()), 1))
    return np.concatenate([bright, np.zeros_like(frame[..., :1])], axis=-1)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m slowfast.datasets.doctor", description=__doc__.split("\n")[0])
    parser.add_argument("--cfg", type=Path, help="config file; without one the defaults")
    parser.add_argument("--jobs", type=int, default=1, help="processes that open videos")
    parser.add_argument("--json", type=Path, help="write figures and all findings to this file")
    parser.add_argument("--sheet", type=Path, help="draw frames of training videos into this picture")
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE", help="config keys, such as DATA.PATH_TO_DATA_DIR lists")
    args = parser.parse_intermixed_args()
    try:
        datasets, facts, report = doctor(load_config(args.cfg, args.opts), args.jobs)
        print_report(report)
        if args.json:
            args.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        if args.sheet and datasets:
            split = next(iter(datasets))
            draw_sheet(args.sheet, datasets[split], facts[split])
    except (ValueError, OSError, KeyError) as error:
        print(f"error: {error.args[0] if isinstance(error, KeyError) else error}", file=sys.stderr)
        return 2
    return 1 if report["findings"] else 0


if __name__ == "__main__":
    sys.exit(main())
