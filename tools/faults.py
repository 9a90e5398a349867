#!/usr/bin/env python3
"""Every fault a run must survive, in full: `tools/faults.py [pytest's arguments]`; prints a table, and then speeds.

The tests in reduced form belong to the ordinary ones. Mounts and network namespaces need root; they are skipped else.
"""

import argparse
import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import pytest

FAULTS = Path(__file__).resolve().parents[1] / "tests/faults"
FULL = {"FAULTS_FULL": "yes", "FAULTS_KILLS": "30", "FAULTS_LINK_SECONDS": "20", "FAULTS_LONG_STEPS": "2000"}


class Table:
    """Collects what became of each test."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, float, str]] = []

    def pytest_runtest_logreport(self, report) -> None:
        if report.when != "call" and report.passed:
            return
        name = report.nodeid.split("::", 1)[1].removeprefix("test_").replace("_", " ")
        why = report.longrepr[2] if report.skipped else dict(report.user_properties).get("seen", "")
        self.rows.append((report.outcome, name, report.duration, why))

    def __str__(self) -> str:
        return "\n".join(f"{outcome:8} {seconds:7.1f} s  {name}  {why}" for outcome, name, seconds, why in self.rows)


def measure_speed() -> str:
    """Seconds a step with one and two processes of the same global batch, and with checkpoints without a pause."""
    from harness import finish, make_data, tiny_run

    lines = []
    with tempfile.TemporaryDirectory() as folder:
        data = make_data(Path(folder) / "motion")
        larger = ("UNIFORMER.EMBED_DIM", [32, 64, 160, 256], "UNIFORMER.HEAD_DIM", 32, "SOLVER.MAX_EPOCH", 6)
        for title, processes, every in (
            ("1 process", 1, 0),
            ("2 processes", 2, 0),
            ("1 process, a checkpoint whenever the last is written", 1, 1),
        ):
            options = (*larger, "DIST.CPU_PROCESSES", processes, "TRAIN.CHECKPOINT_EVERY_STEPS", every)
            output = finish(tiny_run(data, Path(folder) / title, *options), processes).output
            lines.append(f"{mean_step(output):8.4f} s a step  {title}")
    return "\n".join(lines)


def mean_step(output: Path) -> float:
    """Mean of the epochs' mean step times, the first epoch apart."""

    found = re.findall(r'json_stats: (\{.*"train_epoch".*\})', (output / "stdout.log").read_text())
    steps = [json.loads(line)["dt"] for line in found][1:]
    return sum(steps) / len(steps)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reduced", action="store_true", help="as the ordinary tests run them")
    parser.add_argument("--no-speed", action="store_true", help="without the measurement of speeds")
    args, rest = parser.parse_known_args()
    if not args.reduced:
        os.environ |= FULL
    started, table = time.monotonic(), Table()
    status = pytest.main(["-q", "-p", "no:cacheprovider", str(FAULTS), *rest], plugins=[table])
    print(f"\n{table}\n{len(table.rows)} faults in {time.monotonic() - started:.0f} s")
    if not args.no_speed:
        sys.path.insert(0, str(FAULTS))
        print(f"\n{measure_speed()}")
    return int(status)


if __name__ == "__main__":
    raise SystemExit(main())
