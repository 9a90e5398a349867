"""`python -m slowfast.evaluation.seeds FOLDER...`: runs that differ in their seeds, as a table with mean and least.

Reads config.yaml, report.json and stdout.log of each FOLDER, the OUTPUT_DIR of a run. The output is a Markdown table:
a row for each run, then one for each group. A group has the same configuration (but for RNG_SEED, OUTPUT_DIR and
SNN.BACKEND), versions, machine and arithmetic; where only the arithmetic differs, there is a row over all. A run that
failed, or whose figures mean something else than those of the others, is a row that says so and is not counted; the
exit status is then 1.
"""

import argparse
import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev

import yaml

from slowfast.config.files import flatten
from slowfast.evaluation.meters import duration
from slowfast.utils.markdown import row_line
from slowfast.utils.texts import TextError, read_content, read_json, read_text

FREE = ("RNG_SEED", "OUTPUT_DIR", "SNN.BACKEND")  # may differ within a group, or between groups of one row over all
HEADER = ("run", "arithmetic", "seed", "test top-1", "val top-1", "training and test", "s a step", "remark")
NOTHING = "–"
MOST_NAMED = 6  # settings that differ


class NotCountedError(ValueError):
    """Why a run has no figures that could be compared with others'."""


@dataclass
class Run:
    """One run. top-1 in percent, val that of the last epoch; `seconds` of training and test, of a whole run only.

    settings: what must be the same to compare runs. problem: why it is not counted; empty if it is.
    """

    name: str
    seed: int | None = None
    arithmetic: str = ""
    settings: dict[str, object] = field(default_factory=dict)
    top1: float | None = None
    val_top1: float | None = None
    seconds: float | None = None
    seconds_per_step: float | None = None
    problem: str = ""
    remarks: list[str] = field(default_factory=list)

    @property
    def group(self) -> str:
        return json.dumps([self.settings, self.arithmetic], sort_keys=True)


def read_runs(folders: list[Path]) -> list[Run]:
    """The runs in these folders, in this order, called by what their paths do not share."""
    shared = os.path.commonpath([folder.absolute().parent for folder in folders])
    runs = [Run(os.path.relpath(folder.absolute(), shared)) for folder in folders]
    seen: dict[tuple, str] = {}
    for run, folder in zip(runs, folders, strict=True):
        try:
            read_run(run, folder)
            if (run.group, run.seed) in seen:
                raise NotCountedError(f"seed {run.seed} again, as in {seen[run.group, run.seed]}")
            seen[run.group, run.seed] = run.name
        except NotCountedError as error:
            run.problem = str(error)
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, yaml.YAMLError) as error:
            run.problem = f"its files are not those of a run: {' '.join(repr(error).split())}"
    return runs


def read_run(run: Run, folder: Path) -> None:
    """Fills in what the files in a run's folder tell.

    Raises:
        NotCountedError: they are not those of one run that came to its end, all of whose scores are finite.
    """
    config_text = written(folder / "config.yaml", read_text, "nothing was started here")
    config = flatten(yaml.safe_load(config_text))
    run.seed = config["RNG_SEED"]
    report = written(folder / "report.json", read_json, "the run failed, was interrupted, or had no test")
    if not report.get("machine"):
        raise NotCountedError("report.json does not say where its run was made: it is of an older version")
    if report["config_sha256"] != hashlib.sha256(config_text.encode()).hexdigest():
        raise NotCountedError(
            "report.json is of another configuration than config.yaml: a later command did not come to its end"
        )
    run.arithmetic = arithmetic_of(report["machine"], config)
    run.settings = settings_of(report, config)
    run.top1 = report["top1_acc"]
    read_times(run, report, config)
    run.val_top1 = val_top1(folder, config["SOLVER.MAX_EPOCH"])
    refuse_bad_scores(report)


def written(path: Path, read: Callable, why: str):
    """What `read` finds in a file of the run; `why` it may be missing."""
    try:
        return read(path, "file of a run")
    except TextError as error:
        if error.missing:
            raise NotCountedError(f"there is no {path.name}: {why}") from error
        raise


def arithmetic_of(machine: dict, config: dict) -> str:
    """What decides how sums are rounded, apart from the settings."""
    parts = [machine["gpu"] or machine["cpu_capability"]]
    parts += [f"oneDNN {machine['onednn_max_cpu_isa']}"] if machine["onednn_max_cpu_isa"] else []
    parts += [config["SNN.BACKEND"]] if config["SNN.BACKEND"] != "auto" else []
    return ", ".join(parts)


def settings_of(report: dict, config: dict) -> dict[str, object]:
    machine = {key: report["machine"][key] for key in ("processor", "avx512", "cores", "threads", "gpu")}
    versions = {key: report["versions"][key] for key in ("torch", "slowfast")}
    return machine | versions | {key: value for key, value in config.items() if key not in FREE}


def read_times(run: Run, report: dict, config: dict) -> None:
    """How long a run took, where one command has made it; that it was not so, or skipped steps, is a remark."""
    training = report["training"]
    if training is None:
        run.remarks += ["trained by an earlier command"] if config["TRAIN.ENABLE"] else []
        return
    run.seconds_per_step = training["seconds_per_step"]
    if training["from_epoch"] or training["from_step"]:
        done = f"{count(training['from_epoch'], 'epoch')} and {count(training['from_step'], 'step')}"
        run.remarks.append(f"continued after {done}")
    else:
        run.seconds = report["train_seconds"] + report["test_seconds"]
    if training["skipped_steps"]:
        run.remarks.append(f"NaN: {count(training['skipped_steps'], 'step')} skipped")


def val_top1(folder: Path, max_epoch: int) -> float | None:
    """Top-1 of the last epoch's validation, in percent; None for weights that were not trained here.

    Raises:
        NotCountedError: training did not reach its last epoch, or had an epoch without a finite loss.
    """
    for epoch, stats in logged(folder, "train_epoch").items():
        if stats["loss"] is None:
            raise NotCountedError(f"NaN: no step of epoch {epoch} was counted")
    validations = logged(folder, "val_epoch")
    if not validations:
        return None
    last = f"{max_epoch}/{max_epoch}"
    if last not in validations:
        raise NotCountedError(f"its last validation is of epoch {list(validations)[-1]}, not {last}")
    return 100.0 - validations[last]["top1_err"]


def logged(folder: Path, kind: str) -> dict[str, dict]:
    """Epoch -> the last json_stats line of this kind in stdout.log."""
    found = {}
    path = folder / "stdout.log"
    for line in read_content(path, "log").decode(errors="replace").splitlines() if path.exists() else []:
        _, is_stats, text = line.partition("json_stats: ")
        if is_stats and f'"_type": "{kind}"' in text and text.endswith("}"):  # a line of a killed run may be cut
            stats = json.loads(text)
            found[stats["epoch"]] = stats
    return found


def refuse_bad_scores(report: dict) -> None:
    """Raises NotCountedError where an accuracy is not that of the weights on all videos."""
    nonfinite, unreadable = (len(report[key]) for key in ("nonfinite_videos", "unreadable_videos"))
    if nonfinite:
        raise NotCountedError(f"NaN: the scores of {count(nonfinite, 'video')} are not finite")
    if unreadable:
        raise NotCountedError(f"{count(unreadable, 'video')} could not be read")
    if not isinstance(report["top1_acc"], float) or not math.isfinite(report["top1_acc"]):
        raise NotCountedError("report.json has no top1_acc")


def count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def table(runs: list[Run]) -> Iterator[str]:
    """Lines of the Markdown table and what is below it."""
    settings = Counter(json.dumps(run.settings, sort_keys=True) for run in runs if run.settings)
    usual = json.loads(settings.most_common(1)[0][0]) if settings else {}
    yield row_line(HEADER)
    yield row_line(["---"] * len(HEADER))
    for run in runs:
        yield row_line(run_cells(run, usual))
    grouped = [run for run in runs if run.settings]
    for group in dict.fromkeys(run.group for run in grouped):
        members = [run for run in grouped if run.group == group]
        yield row_line(group_cells(members, members[0].arithmetic, differences(members[0].settings, usual)))
    comparable = [run for run in grouped if run.settings == usual]
    if len({run.arithmetic for run in comparable}) > 1:
        yield row_line(group_cells(comparable, "all", ""))
    yield ""
    counted = sum(not run.problem for run in runs)
    yield f"{counted} of {count(len(runs), 'run')} are counted. {where(usual) if usual else ''}".rstrip()


def run_cells(run: Run, usual: dict[str, object]) -> list[str]:
    remarks = [f"not counted: {run.problem}"] if run.problem else []
    remarks += run.remarks + [differences(run.settings, usual)] * bool(run.settings)
    return [
        *(run.name, run.arithmetic or NOTHING, NOTHING if run.seed is None else str(run.seed)),
        *(shown(value) for value in (run.top1, run.val_top1)),
        NOTHING if run.seconds is None else duration(run.seconds),
        shown(run.seconds_per_step, 3),
        "; ".join(filter(None, remarks)),
    ]


def group_cells(members: list[Run], arithmetic: str, remark: str) -> list[str]:
    """Mean, least and standard deviation of the members that are counted."""
    counted = [run for run in members if not run.problem]
    number = count(len(members), "run")
    top1, val_top1, seconds, steps = (
        [value for run in counted if (value := getattr(run, name)) is not None]
        for name in ("top1", "val_top1", "seconds", "seconds_per_step")
    )
    return [
        f"**{number if len(counted) == len(members) else f'{len(counted)} of {number}'}**",
        arithmetic,
        "",
        f"**{spread(top1)}**",
        spread(val_top1),
        f"mean {duration(mean(seconds))}" if seconds else NOTHING,
        f"mean {mean(steps):.3f}" if steps else NOTHING,
        remark,
    ]


def spread(values: list[float]) -> str:
    if not values:
        return NOTHING
    deviation = f", s. d. {stdev(values):.2f}" if len(values) >= 3 else ""
    return f"mean {mean(values):.2f}, least {min(values):.2f}{deviation}"


def shown(value: float | None, digits: int = 2) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"


def differences(settings: dict[str, object], usual: dict[str, object]) -> str:
    """What of the settings is not as most runs have it; empty: nothing."""
    keys = [key for key in {**usual, **settings} if settings.get(key) != usual.get(key)]
    changed = [f"{key} {settings.get(key)} instead of {usual.get(key)}" for key in keys[:MOST_NAMED]]
    changed += [f"{len(keys) - MOST_NAMED} more"] if len(keys) > MOST_NAMED else []
    return f"other settings: {', '.join(changed)}" if changed else ""


def where(settings: dict[str, object]) -> str:
    """The machine and the versions."""
    avx512 = "with" if settings["avx512"] else "without"
    gpu = f", {settings['gpu']}" if settings["gpu"] else ""
    cores, threads = count(settings["cores"], "core"), count(settings["threads"], "thread")
    versions = f"torch {settings['torch']}, SpikeFast {settings['slowfast']}"
    return f"{settings['processor']} {avx512} AVX-512, {cores}, {threads}{gpu}; {versions}."


def main() -> None:
    about, _, more = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(prog="python -m slowfast.evaluation.seeds", description=about, epilog=more)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="OUTPUT_DIR of a run")
    runs = read_runs(parser.parse_args().folders)
    print("\n".join(table(runs)))
    raise SystemExit(int(any(run.problem for run in runs)))


if __name__ == "__main__":
    main()
