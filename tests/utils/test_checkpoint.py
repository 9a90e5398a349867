import argparse
import hashlib
import io
import json
import multiprocessing
import os
import pickle
import struct
from functools import partial

import numpy as np
import pytest
import torch

from slowfast.utils import files
from slowfast.utils.checkpoint import (
    BEST_NAME,
    NAME,
    checkpoint_dir,
    checkpoint_name,
    epoch_checkpoints,
    last_good_checkpoint,
    load_checkpoint,
    place_of,
    remove_checkpoint,
    remove_surplus,
    run_checkpoints,
)
from slowfast.utils.files import CheckpointError, digest_path, put_in_place, recover, save_atomically

NEEDS_SHARDING = pytest.mark.skipif(torch.__version__ < (2, 9), reason="sharded checkpoints need torch 2.9")


def save(output, epoch, **state):
    return save_atomically(
        {"epoch": epoch, "model_state": {}, "optimizer_state": {}} | state, checkpoint_dir(output) / NAME.format(epoch)
    )


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


def test_a_checkpoint_of_no_use_gives_way_like_a_damaged_one(tmp_path):
    def check(path, outline):
        if outline["epoch"] > 1:
            raise CheckpointError(f"{path.name} is of no use.")

    save(tmp_path, 1)
    save(tmp_path, 2)
    path, _, problems = last_good_checkpoint(tmp_path, check)
    assert (path.name, problems) == (NAME.format(1), [f"{NAME.format(2)} is of no use."])
    path.unlink()
    with pytest.raises(CheckpointError, match=r"can be used: checkpoint_epoch_00002\.pyth is of no use\. Set another"):
        last_good_checkpoint(tmp_path, check)


def test_a_flipped_bit_is_noticed_though_the_file_still_reads(tmp_path):
    save(tmp_path, 1)
    newest = save(tmp_path, 2, weights=torch.zeros(100_000))
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1  # in the midst of the zeros
    newest.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"SHA-256 is not the one in checkpoint_epoch_00002\.pyth\.sha256"):
        load_checkpoint(newest)
    path, _, problems = last_good_checkpoint(tmp_path)
    assert path.name == NAME.format(1)
    assert len(problems) == 1


def test_the_digest_is_what_sha256sum_checks_and_a_file_without_one_loads(tmp_path):
    path = save(tmp_path, 1)
    assert digest_path(path).read_text() == f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
    digest_path(path).unlink()
    assert load_checkpoint(path)["epoch"] == 1


def test_another_projects_file_under_a_runs_name_gives_way_too(tmp_path):
    save(tmp_path, 1)
    torch.save({"state_dict": {}}, checkpoint_dir(tmp_path) / NAME.format(2))
    path, _, problems = last_good_checkpoint(tmp_path)
    assert path.name == NAME.format(1)
    assert "it holds no epoch, model_state, optimizer_state" in problems[0]


def test_steps_come_between_the_epochs_they_lie_between(tmp_path):
    for place in ((1, 0), (0, 7), (1, 12), (1, 3), (2, 0)):
        save_atomically({}, checkpoint_dir(tmp_path) / checkpoint_name(*place))
    assert [place_of(path) for path in run_checkpoints(tmp_path)] == [(2, 0), (1, 12), (1, 3), (1, 0), (0, 7)]
    assert [place_of(path) for path in epoch_checkpoints(tmp_path)] == [(2, 0), (1, 0)]


def test_surplus_checkpoints_go_with_their_digests(tmp_path):
    for place in ((1, 0), (2, 0), (3, 0), (3, 5), (3, 9), (3, 12)):
        save_atomically({}, checkpoint_dir(tmp_path) / checkpoint_name(*place))
    best = save_atomically({}, checkpoint_dir(tmp_path) / BEST_NAME)
    remove_surplus(tmp_path, 0)
    assert [place_of(path) for path in run_checkpoints(tmp_path)] == [(3, 12), (3, 9), (3, 0), (2, 0), (1, 0)]
    remove_surplus(tmp_path, 2)
    left = [(3, 12), (3, 9), (3, 0), (2, 0)]
    assert [place_of(path) for path in run_checkpoints(tmp_path)] == left
    assert best.is_file()
    assert len(list(checkpoint_dir(tmp_path).glob("*.sha256"))) == len(left) + 1


def test_plain_values_of_other_projects_load(tmp_path):
    content = {"args": argparse.Namespace(lr=0.1), "best": np.float64(3.5), "curve": np.arange(3), "model": {}}
    torch.save(content, tmp_path / "deit.pth")
    loaded = load_checkpoint(tmp_path / "deit.pth")
    assert (loaded["args"].lr, loaded["best"], loaded["curve"].tolist()) == (0.1, 3.5, [0, 1, 2])


def test_safetensors_are_known_by_their_name(tmp_path):
    weights = {"a": torch.rand(3, 2).t(), "b": torch.tensor(4)}
    path = save_atomically(weights, tmp_path / "w.safetensors")
    torch.testing.assert_close(load_checkpoint(path), weights)
    digest_path(path).unlink()
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(CheckpointError, match=r"w\.safetensors is damaged"):
        load_checkpoint(path)


def test_if_none_can_be_read_it_is_an_error_not_a_fresh_start(tmp_path):
    save(tmp_path, 1).write_bytes(b"")
    with pytest.raises(CheckpointError, match="Set another OUTPUT_DIR, or remove the checkpoints of"):
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


def as_python2(value) -> bytes:
    """A pickle in which text and bytes stand alike, as Python 2 wrote them, to be read as latin1."""

    def save_text(pickler, text):
        data = text if isinstance(text, bytes) else text.encode()
        pickler.write(pickle.BINSTRING + struct.pack("<i", len(data)) + data)
        pickler.memoize(text)

    file = io.BytesIO()
    pickler = pickle._Pickler(file, 2)
    pickler.dispatch = pickler.dispatch | {str: save_text, bytes: save_text}
    pickler.dump(value)
    return file.getvalue()


ARRAYS = {"conv1_w": np.ones((2, 3), np.float32), "pred_b": np.arange(4)}


@pytest.mark.parametrize("write", [as_python2, partial(pickle.dumps, protocol=2), partial(pickle.dumps, protocol=4)])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"blobs": ARRAYS}, r"w\.pkl is a Caffe2 checkpoint \(a pickle of blobs\), which is not read here\. Take "),
        ({"cfg": "A: 1", "blobs": ARRAYS}, r"w\.pkl is a Caffe2 checkpoint"),
        (ARRAYS, r"w\.pkl is a pickle of NumPy arrays, which is not read here\. Write them "),
        ([np.zeros(3)], r"w\.pkl is a pickle of NumPy arrays"),
    ],
)
def test_pickles_of_arrays_are_called_what_they_are(content, said, write, tmp_path):
    (tmp_path / "w.pkl").write_bytes(write(content))
    with pytest.raises(CheckpointError, match=said):
        load_checkpoint(tmp_path / "w.pkl")


@pytest.mark.parametrize("size", [0x8D28, 0x8E90, 0x9688], ids=hex)
def test_a_header_that_reads_like_the_opcodes_of_a_pickle_is_none(tmp_path, size):
    """Its length would ask for 10^18 bytes."""
    header = {"__metadata__": {"x": ""}, "w": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}}
    header["__metadata__"]["x"] = "a" * (size - len(json.dumps(header)))
    content = struct.pack("<Q", size) + json.dumps(header).encode() + bytes(12)
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    assert load_checkpoint(path)["w"].tolist() == [0, 0, 0]
    path = path.with_suffix(".pyth")
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="it is damaged or no checkpoint"):
        load_checkpoint(path)


def test_a_pickle_of_arrays_and_code_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"blobs": {"a": Explosive()} | ARRAYS}, protocol=2))
    with pytest.raises(CheckpointError, match="is a Caffe2 checkpoint"):
        load_checkpoint(tmp_path / "w.pkl")
    assert not (tmp_path / "exploded").exists()


def test_a_pickle_of_something_else_is_no_checkpoint(tmp_path):
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"a": [1, 2]}, protocol=2))
    with pytest.raises(CheckpointError, match=r"w\.pkl is damaged or no checkpoint"):
        load_checkpoint(tmp_path / "w.pkl")


def status_of_process(function) -> int:
    """The exit code of a process that calls `function()`."""
    process = multiprocessing.get_context("fork").Process(target=function)
    process.start()
    process.join()
    return process.exitcode


def test_a_process_killed_while_saving_leaves_the_old_file(tmp_path):
    path = save(tmp_path, 1, weights=torch.zeros(10))

    def save_another():
        os.replace = lambda *paths: os._exit(9)  # dies after writing, before the new file has its name
        save_atomically({"epoch": 2}, path)

    assert status_of_process(save_another) == 9
    assert load_checkpoint(path)["epoch"] == 1


def make_folder(path, content):
    path.mkdir()
    (path / "part").write_text(content)
    return path


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_a_process_killed_while_it_replaces_a_folder_leaves_the_old_or_the_new_one(tmp_path, renames):
    path = make_folder(tmp_path / "c.pyth", "old")
    aside = make_folder(tmp_path / ".c.pyth.tmp", "new")

    def replace():
        real, count = os.replace, iter(range(9))
        os.replace = lambda *paths: os._exit(9) if next(count) == renames else real(*paths)
        files.remove = lambda path: os._exit(9) if path.exists() else None
        put_in_place(aside, path)

    assert status_of_process(replace) == 9
    recover(tmp_path)
    assert [found.name for found in tmp_path.iterdir()] == ["c.pyth"]
    assert (path / "part").read_text() == ("new" if renames == 2 else "old")


def test_a_folder_that_cannot_get_its_name_leaves_the_old_one(tmp_path, monkeypatch):
    path = make_folder(tmp_path / "c.pyth", "old")
    aside = make_folder(tmp_path / ".c.pyth.tmp", "new")
    make_folder(tmp_path / ".c.pyth.replaced", "older, left behind")
    real = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: real(a, b) if a != aside else real(a / "nothing", b))
    with pytest.raises(OSError, match="nothing"):
        put_in_place(aside, path)
    assert (path / "part").read_text() == "old"


@pytest.mark.parametrize("before", ["file", "folder"])
def test_a_file_replaces_a_folder_and_the_other_way_round(tmp_path, before):
    file, folder = tmp_path / "c.pyth", tmp_path / ".c.pyth.tmp"
    if before == "file":
        save_atomically({"epoch": 1}, file)
        put_in_place(make_folder(folder, "new"), file)
        assert (file / "part").read_text() == "new"
    else:
        make_folder(file, "old")
        save_atomically({"epoch": 1}, file)
        assert load_checkpoint(file)["epoch"] == 1
    assert digest_path(file).is_file() == (before == "folder")
    assert not list(tmp_path.glob(".*"))


def test_a_folder_that_is_removed_loses_its_name_first(tmp_path, monkeypatch):
    folder = make_folder(tmp_path / NAME.format(1), "old")
    monkeypatch.setattr("slowfast.utils.checkpoint.remove", lambda path: None)  # the process dies before it
    remove_checkpoint(folder)
    assert not folder.exists()
    recover(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_needs_a_torch_that_reads_it(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "__version__", type(torch.__version__)("2.6.0"))
    with pytest.raises(CheckpointError, match=r"need torch 2\.9 or newer, and this is 2\.6\.0"):
        load_checkpoint(make_folder(tmp_path / NAME.format(1), "old"))


@NEEDS_SHARDING
def test_code_in_a_folder_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = make_folder(tmp_path / NAME.format(1), "old")
    torch.save({"state": Explosive(), "files": []}, folder / "rest.pyth")
    with pytest.raises(CheckpointError, match=r"rest\.pyth is not loaded: loading it would run code \(.*system\)"):
        load_checkpoint(folder)
    assert not (tmp_path / "exploded").exists()


def test_a_missing_file_is_said():
    with pytest.raises(FileNotFoundError, match=r"No checkpoint file nowhere\.pyth"):
        load_checkpoint("nowhere.pyth")


def test_a_folder_that_cannot_be_written_is_said():
    with pytest.raises(CheckpointError, match="Could not write"):
        save_atomically({}, "/dev/null/checkpoints/none.pyth")
