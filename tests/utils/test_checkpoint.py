import argparse
import os
import subprocess
import sys

import pytest
import torch

from slowfast.utils.checkpoint import (
    NAME,
    CheckpointError,
    checkpoint_dir,
    epoch_checkpoints,
    last_good_checkpoint,
    load_checkpoint,
    save_atomically,
)


def save(output, epoch, **state):
    return save_atomically({"epoch": epoch} | state, checkpoint_dir(output) / NAME.format(epoch))


def test_the_newest_is_the_highest_epoch_not_the_last_spelling(tmp_path):
    for epoch in (9, 100000, 20):
        save(tmp_path, epoch)
    (checkpoint_dir(tmp_path) / "zz_checkpoint.pyth").touch()
    assert [path.name for path in epoch_checkpoints(tmp_path)] == [NAME.format(e) for e in (100000, 20, 9)]


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"text\n" * 9])
def test_a_damaged_newest_gives_way_to_the_one_before(tmp_path, damage):
    save(tmp_path, 1, weights=torch.ones(1000))
    newest = save(tmp_path, 2, weights=torch.ones(1000))
    newest.write_bytes(damage(newest.read_bytes()))
    path, state, problems = last_good_checkpoint(tmp_path)
    assert (path.name, state["epoch"]) == (NAME.format(1), 1)
    assert str(newest) in problems[0]


def test_safetensors_are_known_by_their_name(tmp_path):
    weights = {"a": torch.rand(3, 2).t(), "b": torch.tensor(4)}
    path = save_atomically(weights, tmp_path / "w.safetensors")
    torch.testing.assert_close(load_checkpoint(path), weights)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(CheckpointError, match=r"w\.safetensors is damaged"):
        load_checkpoint(path)


def test_the_arguments_training_scripts_keep_beside_their_weights_are_read(tmp_path):
    torch.save({"model": {"a": torch.ones(1)}, "args": argparse.Namespace(lr=0.1)}, tmp_path / "w.pth")
    assert load_checkpoint(tmp_path / "w.pth")["args"].lr == 0.1


def test_if_none_can_be_read_it_is_an_error_not_a_fresh_start(tmp_path):
    save(tmp_path, 1).write_bytes(b"")
    with pytest.raises(CheckpointError, match="Remove them to start over"):
        last_good_checkpoint(tmp_path)
    assert last_good_checkpoint(tmp_path / "empty") is None


class Explosive:
    def __reduce__(self):
        return os.system, ("touch exploded",)


def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model_state": Explosive()}, tmp_path / "evil.pyth")
    with pytest.raises(CheckpointError, match=r"evil\.pyth is not loaded: loading it would run code \(.*system\)"):
        load_checkpoint(tmp_path / "evil.pyth")
    assert not (tmp_path / "exploded").exists()


def test_a_process_killed_while_saving_leaves_the_old_file(tmp_path):
    path = save(tmp_path, 1, weights=torch.zeros(10))
    code = (
        "import os, sys, torch, slowfast.utils.checkpoint as c\n"
        "real = os.replace\n"
        "os.replace = lambda *a: os._exit(9)\n"  # dies after writing, before the new file has its name
        f"c.save_atomically({{'epoch': 2}}, {str(path)!r})\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    assert load_checkpoint(path)["epoch"] == 1


def test_a_missing_file_is_said():
    with pytest.raises(FileNotFoundError, match=r"No checkpoint file nowhere\.pyth"):
        load_checkpoint("nowhere.pyth")


def test_a_folder_that_cannot_be_written_is_said():
    with pytest.raises(CheckpointError, match="Could not write"):
        save_atomically({}, "/dev/null/checkpoints/none.pyth")
