#!/usr/bin/env python3
"""Every fault a run must survive, in full: `tools/faults.py [pytest's arguments]`; prints a table.

`--fuzz N` instead: N mutations of configs, and the known nonsense, each of which must end in one message or be valid.

The tests in reduced form belong to the ordinary ones. Those with mounts, network namespaces or Slurm need root, and
Slurm an installation; without they are skipped.
"""

import argparse
import os
import time
from pathlib import Path

import _checkout  # noqa: F401  the slowfast beside it, in an environment that has what it needs

try:
    import pytest
except ModuleNotFoundError:
    raise SystemExit("pytest is not there. `bash tests/run.sh` installs it.") from None

TESTS = Path(__file__).resolve().parents[1] / "tests"
FAULTS, FUZZES = TESTS / "faults", [TESTS / "config/test_fuzz.py", TESTS / "engine/test_nonsense.py"]
FULL = {
    "FAULTS_FULL": "yes",
    "FAULTS_KILLS": "30",
    "FAULTS_LINK_SECONDS": "20",
    "FAULTS_LOCK_TRIALS": "200",
    "FAULTS_LONG_STEPS": "2000",
}


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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reduced", action="store_true", help="as the ordinary tests run them")
    parser.add_argument("--fuzz", type=int, metavar="N", help="only N mutations of configs, and the known nonsense")
    args, rest = parser.parse_known_args()
    if args.fuzz:
        os.environ["FUZZ_MUTATIONS"] = str(args.fuzz)
    elif not args.reduced:
        os.environ |= FULL
    started, table = time.monotonic(), Table()
    status = pytest.main(
        ["-q", "-p", "no:cacheprovider", *map(str, FUZZES if args.fuzz else [FAULTS]), *rest], plugins=[table]
    )
    print(f"\n{table}\n{len(table.rows)} faults in {time.monotonic() - started:.0f} s")
    return int(status)


if __name__ == "__main__":
    raise SystemExit(main())
