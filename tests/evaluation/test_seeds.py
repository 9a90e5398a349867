"""The table of runs that differ in their seeds, of tiny real runs: what is counted, and that the rest is said."""

import json
import os
import shutil
from pathlib import Path
from statistics import mean, stdev

import pytest

from slowfast.engine import launch, run

COLUMNS = ("run", "arithmetic", "seed", "test", "val", "time", "step", "remark")


@pytest.fixture(scope="session")
def made_runs(small_run, made_once):
    """A folder of runs: seeds 0 to 2, seed 0 by SpikingJelly, and one with another learning rate."""
    made = {f"seed {seed}": ("RNG_SEED", seed) for seed in (0, 1, 2)}
    made["spikingjelly 0"] = ("RNG_SEED", 0, "SNN.BACKEND", "spikingjelly")
    made["other rate"] = ("RNG_SEED", 4, "SOLVER.BASE_LR", 0.002)

    def make(folder):
        for name, options in made.items():
            launch(small_run(folder / name, "TEST.NUM_ENSEMBLE_VIEWS", 1, *options), run)

    return made_once("runs of seeds", make)


@pytest.fixture
def folders(made_runs, tmp_path):
    """A function of names: copies of those runs of this test's own, `seed 0 copy` one more of `seed 0`."""

    def copy(*names):
        origins = [name.removesuffix(" copy") for name in names]
        return [shutil.copytree(made_runs / old, tmp_path / new) for old, new in zip(origins, names, strict=True)]

    return copy


@pytest.fixture
def table(run_python):
    """A function of folders: the rows of the table as dicts, the line below, and the exit status."""

    def make(*folders):
        done = run_python("-m", "slowfast.evaluation.seeds", *folders)
        assert done.stderr == ""
        _, _, *rows, below = [line for line in done.stdout.splitlines() if line]
        cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
        return [dict(zip(COLUMNS, row, strict=True)) for row in cells], below, done.returncode

    return make


SEEDS = ("seed 0", "seed 1", "seed 2")


def edit(file: Path, **changes) -> None:
    """Changes keys of a json file; `machine__threads` is a key within another."""
    content = json.loads(file.read_text())
    for key, value in changes.items():
        *above, last = key.split("__")
        node = content
        for name in above:
            node = node[name]
        node[last] = value
    file.write_text(json.dumps(content))


def test_each_run_is_a_row_and_each_arithmetic_has_its_mean_and_least(folders, table):
    made = folders(*SEEDS, "spikingjelly 0")
    rows, below, status = table(*made)
    reports = [json.loads((folder / "report.json").read_text()) for folder in made]
    top1 = [report["top1_acc"] for report in reports]
    assert [row["run"] for row in rows] == [*SEEDS, "spikingjelly 0", "**3 runs**", "**1 run**", "**4 runs**"]
    capability = reports[0]["machine"]["cpu_capability"]
    assert [row["arithmetic"] for row in rows[3:]] == [
        f"{capability}, spikingjelly",
        capability,
        f"{capability}, spikingjelly",
        "all",
    ]
    assert [row["test"] for row in rows[:4]] == [f"{value:.2f}" for value in top1]
    log = (made[1] / "stdout.log").read_text().splitlines()
    (last,) = [line for line in log if '"_type": "val_epoch"' in line and '"epoch": "2/2"' in line]
    assert rows[1]["val"] == f"{100 - json.loads(last.partition('json_stats: ')[2])['top1_err']:.2f}"
    three = f"**mean {mean(top1[:3]):.2f}, least {min(top1[:3]):.2f}, s. d. {stdev(top1[:3]):.2f}**"
    assert rows[4]["test"] == three
    assert rows[5]["test"] == f"**mean {top1[3]:.2f}, least {top1[3]:.2f}**"
    assert rows[6]["test"].startswith(f"**mean {mean(top1):.2f}, least {min(top1):.2f}, s. d.")
    assert [row["seed"] for row in rows[:4]] == ["0", "1", "2", "0"]
    assert rows[0]["step"] == f"{reports[0]['training']['seconds_per_step']:.3f}"
    assert not any(row["remark"] for row in rows)
    versions, processor = reports[0]["versions"], reports[0]["machine"]["processor"]
    assert below.startswith("4 of 4 runs are counted. ") and processor in below and versions["torch"] in below
    assert status == 0


def test_a_run_without_a_report_is_named_and_not_counted(folders, table, tmp_path):
    made = folders(*SEEDS)
    (made[1] / "report.json").unlink()
    rows, below, status = table(*made, tmp_path / "seed 3")
    assert rows[1]["remark"].startswith("not counted: there is no report.json")
    assert (rows[1]["seed"], rows[1]["test"]) == ("1", "–")
    assert rows[3]["remark"].startswith("not counted: there is no config.yaml")
    assert rows[4]["run"] == "**2 runs**"
    assert "s. d." not in rows[4]["test"]
    assert below.startswith("2 of 4 runs are counted. ")
    assert status == 1


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"nonfinite_videos": [3, 5]}, "NaN: the scores of 2 videos are not finite"),
        ({"unreadable_videos": [0]}, "1 video could not be read"),
        ({"top1_acc": None}, "report.json has no top1_acc"),
        ({"machine": None}, "report.json does not say where its run was made"),
    ],
)
def test_a_report_that_is_no_clean_result_is_not_counted(changes, why, folders, table):
    made = folders(*SEEDS)
    edit(made[0] / "report.json", **changes)
    rows, below, status = table(*made)
    assert rows[0]["remark"].startswith(f"not counted: {why}")
    assert rows[3]["run"] in ("**2 of 3 runs**", "**2 runs**")
    assert (below.startswith("2 of 3 runs"), status) == (True, 1)


def test_a_run_of_other_settings_is_a_group_of_its_own(folders, table):
    rows, below, status = table(*folders("other rate", *SEEDS))
    remark = "other settings: SOLVER.BASE_LR 0.002 instead of 0.001"
    assert [row["remark"] for row in rows] == [remark, "", "", "", remark, ""]
    assert [row["run"] for row in rows[4:]] == ["**1 run**", "**3 runs**"]
    assert (below.startswith("4 of 4 runs"), status) == (True, 0)


def test_another_version_or_machine_is_a_group_of_its_own(folders, table):
    made = folders(*SEEDS)
    edit(made[2] / "report.json", versions__torch="1.0", machine__processor="Z80", machine__threads=9)
    rows, _, _ = table(*made)
    for said in ("torch 1.0 instead of 2", "processor Z80 instead of ", "threads 9 instead of 1"):
        assert said in rows[2]["remark"]
    assert [row["run"] for row in rows[3:]] == ["**2 runs**", "**1 run**"]


def test_what_torch_and_onednn_may_use_is_another_arithmetic(folders, table):
    made = folders(*SEEDS)
    edit(made[2] / "report.json", machine__cpu_capability="AVX2", machine__onednn_max_cpu_isa="AVX2")
    rows, _, _ = table(*made)
    assert rows[2]["arithmetic"] == "AVX2, oneDNN AVX2"
    assert [row["run"] for row in rows[3:]] == ["**2 runs**", "**1 run**", "**3 runs**"]


def test_a_report_of_another_configuration_than_the_one_beside_it_is_not_counted(folders, table):
    made = folders(*SEEDS)
    with (made[0] / "config.yaml").open("a") as file:
        file.write("# another\n")
    rows, _, status = table(*made)
    assert rows[0]["remark"].startswith("not counted: report.json is of another configuration than config.yaml")
    assert status == 1


def test_a_seed_is_counted_once(folders, table):
    made = folders("seed 0", "seed 1", "seed 0 copy")
    rows, _, status = table(*made, made[1])
    assert rows[2]["remark"] == "not counted: seed 0 again, as in seed 0"
    assert rows[3]["remark"] == "not counted: seed 1 again, as in seed 1"
    assert rows[4]["run"] == "**2 of 4 runs**"
    assert status == 1


def test_a_run_that_was_continued_has_no_whole_time(folders, table, small_run):
    made = folders(*SEEDS)
    (made[0] / "checkpoints/checkpoint_epoch_00002.pyth").unlink()
    again = ("TEST.NUM_ENSEMBLE_VIEWS", 1, "RNG_SEED")
    launch(small_run(made[0], *again, 0), run)
    launch(small_run(made[1], *again, 1), run)
    edit(made[2] / "report.json", train_seconds=125.5, test_seconds=10.0)
    rows, _, status = table(*made)
    assert rows[0]["remark"] == "continued after 1 epoch and 0 steps"
    assert rows[1]["remark"] == "trained by an earlier command"
    assert (rows[0]["time"], rows[1]["time"], rows[1]["step"]) == ("–", "–", "–")
    assert rows[3]["run"] == "**3 runs**"
    assert (rows[2]["time"], rows[3]["time"]) == ("0:02:15", "mean 0:02:15")
    assert status == 0


def test_training_that_did_not_reach_its_end_or_counted_no_step_is_not_counted(folders, table):
    made = folders(*SEEDS)
    changes = (('"epoch": "2/2"', '"epoch": "2/3"'), ('"loss": ', '"loss": null, "x": '))
    for folder, change in zip(made, changes, strict=False):
        log = (folder / "stdout.log").read_text()
        (folder / "stdout.log").write_text(log.replace(*change))
    rows, _, _ = table(*made)
    assert rows[0]["remark"] == "not counted: its last validation is of epoch 2/3, not 2/2"
    assert rows[1]["remark"] == "not counted: NaN: no step of epoch 1/2 was counted"


def test_files_that_are_no_runs_are_named_not_raised(folders, table):
    made = folders(*SEEDS)
    (made[0] / "report.json").write_text("{")
    (made[1] / "config.yaml").write_text("- a\n- b: [\n")
    rows, below, status = table(*made)
    for row in rows[:2]:
        assert row["remark"].startswith("not counted: its files are not those of a run: ")
    assert (below.startswith("1 of 3 runs"), status) == (True, 1)


def test_pipes_and_endless_values_do_not_hold_up_the_table(folders, table):
    made = folders(*SEEDS)
    for folder, name in zip(made, ("report.json", "stdout.log"), strict=False):
        (folder / name).unlink()
        os.mkfifo(folder / name)
    (made[2] / "config.yaml").write_text("A: &a\n  B: *a\n")
    rows, _, status = table(*made)
    for row, said in zip(rows, ("it is a pipe", "it is a pipe", "recursion"), strict=False):
        assert row["remark"].startswith("not counted: its files are not those of a run: ")
        assert said in row["remark"]
    assert status == 1


def test_skipped_steps_are_said(folders, table):
    made = folders(*SEEDS)
    edit(made[0] / "report.json", training__skipped_steps=2)
    rows, _, _ = table(*made)
    assert rows[0]["remark"] == "NaN: 2 steps skipped"
    assert rows[3]["run"] == "**3 runs**"
