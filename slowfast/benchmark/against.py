"""The same measurement in this checkout and in another, in turns: --against FOLDER.

The measuring code is this tree's for both; each tree's process imports its own `slowfast` for what is measured.
"""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

from slowfast.benchmark.common import Results
from slowfast.benchmark.separate import THIS_TREE, SeparateProcess

CLOCKS = {"wall": "seconds on the clock", "cpu": "CPU seconds"}  # in the order in which a process tells them
NOTE = (
    "Medians of {runs} runs in turns, {seconds}, each tree in a process of its own, a run of each unmeasured first. "
    "there / here: above 1 this tree is faster; median, least and most over the turns. Where 1 lies between least and "
    "most, the trees differ by no more than the noise."
)


class Measurement(NamedTuple):
    """`make(*args)` gives a function that does each of `stages`, by name; its file imports little of `slowfast`."""

    title: str
    make: Callable[..., Callable[[str], object]]
    args: tuple
    stages: tuple[str, ...]
    keeps_memory: bool = True
    clock: str = "wall"


def compare(measurements: list[Measurement], other: Path, runs: int) -> Results:
    """A row for each stage of each measurement.

    Raises:
        ValueError: the other folder is no checkout, or cannot be measured so.
    """
    if not (other / "slowfast" / "__init__.py").is_file():
        raise ValueError(f"--against {other}: there is no slowfast/__init__.py in it. Give a checkout of this project.")
    note = NOTE.format(runs=runs, seconds=CLOCKS[measurements[0].clock])
    results = Results("Here against another tree", note)
    results.trees = {"here": commit(THIS_TREE), "there": commit(other)}
    results.note += "".join(f"\n{name}: {text}" for name, text in results.trees.items())
    for measurement in measurements:
        results.rows += rows_of(measurement, {"here": THIS_TREE, "there": other}, runs)
    return results


def rows_of(measurement: Measurement, trees: dict[str, Path], runs: int) -> list[dict]:
    title, make, args, stages, keeps_memory, clock = measurement
    seconds = {(stage, name): [] for stage in stages for name in trees}
    which = list(CLOCKS).index(clock)
    with ExitStack() as stack:
        processes = {}
        for name, tree in trees.items():
            with saying(tree, title):
                process = SeparateProcess(make, *args, keeps_memory=keeps_memory, tree=tree)
                processes[name] = stack.enter_context(closing(process))
        for _ in range(runs + 1):
            for stage, name in seconds:
                with saying(trees[name], f"{title}, {stage}"):
                    seconds[stage, name].append(processes[name](stage)[which])
    measured = {key: times[1:] for key, times in seconds.items()}
    return [row_of(title, stage, measured[stage, "here"], measured[stage, "there"]) for stage in stages]


@contextmanager
def saying(tree: Path, what: str) -> Iterator[None]:
    """Turns what went wrong in a tree's process into one message."""
    try:
        yield
    except RuntimeError as error:
        raise ValueError(f"{what} cannot be measured in {tree}: {str(error).splitlines()[-1]}") from error


def row_of(title: str, stage: str, here: list[float], there: list[float]) -> dict:
    faster = [other / own for own, other in zip(here, there, strict=True)]
    return {
        **{"subject": title, "stage": stage, "here ms": 1e3 * median(here), "there ms": 1e3 * median(there)},
        **{"there / here": median(faster), "least": min(faster), "most": max(faster), "runs": len(faster)},
    }


def commit(tree: Path) -> str:
    """The folder with its commit, "dirty" if its `slowfast` differs from it."""
    if not (tree / ".git").exists():
        return f"{tree}, no git checkout"

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", tree, *words], capture_output=True, text=True, check=True).stdout.strip()

    dirty = ", dirty" if git("status", "--porcelain", "--", "slowfast") else ""
    return f"{tree} at {git('rev-parse', 'HEAD')}{dirty}"
