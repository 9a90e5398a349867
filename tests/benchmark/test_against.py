"""`--against FOLDER` measures each tree with its own `slowfast`."""

import os
import shutil
import signal
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch

from slowfast.benchmark.against import Measurement, commit, compare
from slowfast.benchmark.model_steps import steps
from slowfast.benchmark.separate import THIS_TREE, SeparateProcess
from slowfast.benchmark.video_stages import STAGES, stages


def where_slowfast_is(log):
    def write(stage):
        import slowfast

        with log.open("a") as file:
            file.write(f"{stage} {Path(slowfast.__file__).parents[1]}\n")

    return write


def dying():
    return lambda stage: os.kill(os.getpid(), signal.SIGKILL)


def of_a_later_tree():
    from slowfast.models import build_what_is_not_there

    return build_what_is_not_there


@pytest.fixture
def other(tmp_path):
    """A copy of this tree, without its git folder."""
    shutil.copytree(THIS_TREE / "slowfast", tmp_path / "slowfast", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def slow_down(file: Path, line: str) -> None:
    """Puts about a tenth of a second of work in front of a line."""
    source = file.read_text(encoding="utf-8")
    before, found, _ = source.partition(line)
    assert found
    indent = before.rpartition("\n")[2]
    file.write_text(source.replace(line, f"sum(range(5_000_000))\n{indent}{line}", 1), encoding="utf-8")


def test_each_process_imports_its_own_tree_and_they_take_turns(other, tmp_path):
    log = tmp_path / "log"
    results = compare([Measurement("where", where_slowfast_is, (log,), ("a", "b"))], other, runs=1)
    turn = [f"{stage} {tree}" for stage in "ab" for tree in (THIS_TREE, other)]
    assert log.read_text().splitlines() == turn * 2  # once unmeasured
    assert [(row["stage"], row["runs"]) for row in results.rows] == [("a", 1), ("b", 1)]
    assert results.trees["there"] == f"{other}, no git checkout"


def test_a_process_that_imports_another_tree_than_asked_is_refused(tmp_path):
    with pytest.raises(RuntimeError, match=f"ImportError: slowfast was imported from .*, not from {tmp_path}"):
        SeparateProcess(dying, keeps_memory=False, tree=tmp_path)  # an empty folder: this tree's is imported


@pytest.mark.slow
def test_a_slower_model_shows(other):
    slow_down(other / "slowfast/models/svformer.py", "x = clips.permute(2, 0, 1, 3, 4)")
    options = [
        *("MODEL.MODEL_NAME", "SVFormer", "DATA.NUM_FRAMES", 3, "DATA.TRAIN_CROP_SIZE", 32, "SNN.V_THRESHOLD", 0.2),
        *("UNIFORMER.EMBED_DIM", [8, 8, 16, 16], "UNIFORMER.DEPTH", [1, 1, 1, 1], "UNIFORMER.HEAD_DIM", 8),
    ]
    measurement = Measurement("tiny", steps, (options, 2, "cpu", torch.float32), ("train", "eval"))
    rows = compare([measurement], other, runs=3).rows
    assert [row["stage"] for row in rows] == ["train", "eval"]
    for row in rows:
        assert row["there / here"] > 1.3
        assert row["least"] <= row["there / here"] <= row["most"]
        assert row["there ms"] > row["here ms"]


@pytest.mark.slow
def test_a_slower_loader_shows_beside_the_stages_before_it(other, motion_dir):
    slow_down(other / "slowfast/datasets/loader.py", "clips, *columns, unread = zip(")
    path = str(next((motion_dir / "train").glob("*.mp4")))
    how = Namespace(clip=(4, 3), views=(2, 3), crop=32)
    rows = compare([Measurement("video", stages, (path, "test", how), STAGES, clock="cpu")], other, runs=3).rows
    faster = {row["stage"]: row["there / here"] for row in rows}
    assert tuple(faster) == STAGES
    assert faster["loader"] > 2
    assert faster["loader"] > faster["sample"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (dying, "what, stage cannot be measured in .*: A benchmark's process ended with exit code -9"),
        (of_a_later_tree, "what cannot be measured in .*: ImportError: .*build_what_is_not_there"),
    ],
)
def test_what_goes_wrong_in_a_tree_is_one_message(make, message, other):
    with pytest.raises(ValueError, match=message):
        compare([Measurement("what", make, (), ("stage",))], other, runs=1)


def test_a_folder_without_the_package_is_refused(tmp_path):
    command = [sys.executable, "tools/benchmark.py", "models", "--against", str(tmp_path)]
    done = subprocess.run(command, cwd=THIS_TREE, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        f"Error: --against {tmp_path}: there is no slowfast/__init__.py in it. Give a checkout of this project.\n"
    )


def test_a_commit_is_named_and_changes_of_the_package_make_it_dirty(tmp_path):
    def git(*words):
        options = ("-c", "user.name=a", "-c", "user.email=a@b")
        return subprocess.run(["git", "-C", tmp_path, *options, *words], capture_output=True, text=True, check=True)

    (tmp_path / "slowfast").mkdir()
    git("init")
    git("commit", "--allow-empty", "-m", "first")
    clean = commit(tmp_path)
    assert clean == f"{tmp_path} at {git('rev-parse', 'HEAD').stdout.strip()}"
    (tmp_path / "slowfast" / "new.py").touch()
    assert commit(tmp_path) == f"{clean}, dirty"
