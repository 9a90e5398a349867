"""Sharded models: what they train, and their checkpoints, which are folders that all ranks write."""

import math
import os
import shutil
import signal
from functools import partial

import numpy as np
import pytest
import torch
from harness import (
    IN_FULL_ONLY,
    SAME_ON_ANY_NUMBER,
    Job,
    assert_close_weights,
    assert_same_run,
    fill_up_after_first_save,
    final_weights,
    finish,
    flip,
    kill_again_and_again,
    slow_loading,
    tiny_run,
)
from mounts import mounted
from safetensors import safe_open
from safetensors.torch import save_file

from slowfast.models.convert import main as convert
from slowfast.utils.checkpoint import last_good_checkpoint, load_checkpoint, run_checkpoints, sharding
from slowfast.utils.files import CheckpointError, digest_path, load_file, save_atomically, sha256, write_digest

pytestmark = pytest.mark.skipif(torch.__version__ < (2, 9), reason="sharded checkpoints need torch 2.9")
SHARDED = ("DIST.STRATEGY", "fsdp")


@pytest.fixture(scope="session")
def reference(data, made_once):
    """The uninterrupted run of two processes that share a model."""
    return made_once(
        "sharded reference",
        lambda folder: finish(tiny_run(data, folder, *SHARDED, "DIST.CPU_PROCESSES", 2), 2),
    )


def same_state(one, other) -> bool:
    """Whether all tensors of two checkpoints are equal bit for bit, weights and moments."""
    one, other = (load_checkpoint(run_checkpoints(output)[0]) for output in (one, other))
    weights = [state["model_state"] for state in (one, other)]
    moments = [
        {(i, name): value for i, values in state["optimizer_state"]["state"].items() for name, value in values.items()}
        for state in (one, other)
    ]
    return all(a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a) for a, b in (weights, moments))


def test_a_sharded_run_equals_one_process_and_goes_on_with_any_number(config):
    """Begun by two that share the model, gone on with by three, and ended by one that has it whole."""
    same = (*SAME_ON_ANY_NUMBER, "TRAIN.BATCH_SIZE", 12)
    one = finish(config(*same, name="one")).output
    for processes, moment in ((2, r"epoch 1/2  2/3"), (3, r"epoch 2/2  1/3")):
        cfg = config(*same, *SHARDED, "DIST.CPU_PROCESSES", processes, name="many")
        with Job(cfg, processes, prepare=partial(slow_loading, 0.02)) as job:
            job.wait_for(moment)
            job.kill(signal.SIGTERM, slice(1, 2))
            assert job.wait() == [0] * processes, job.said()
        shards = [path.name for path in run_checkpoints(job.output)[0].glob("*.safetensors")]
        assert len(shards) == processes
    many = finish(config(*same, name="many")).output
    said = (many / "stdout.log").read_text()
    assert "was saved by 2 processes and 3 go on" in said
    assert "was saved by 3 processes and 1 go on" in said
    assert_close_weights(one, many)


def test_the_file_of_one_process_goes_on_sharded(config):
    one = finish(config(*SAME_ON_ANY_NUMBER, name="one")).output
    cfg = config(*SAME_ON_ANY_NUMBER, *SHARDED, "DIST.CPU_PROCESSES", 2, name="two")
    shutil.copytree(one, cfg.OUTPUT_DIR)
    run_checkpoints(cfg.OUTPUT_DIR)[0].unlink()
    two = finish(cfg, 2).output
    newest, before = run_checkpoints(two)
    assert newest.is_dir()
    assert before.is_file()
    assert_close_weights(one, two)


def test_a_sharded_run_starts_from_weights_of_a_file(config, references):
    """With a learning rate of zero the weights of the file are those of the end."""
    weights = references[1] / "checkpoints/checkpoint_epoch_00002.pyth"
    frozen = (
        *("SOLVER.BASE_LR", 0.0, "SOLVER.LR_POLICY", "steps_with_relative_lrs"),
        *("SOLVER.LRS", [1], "SOLVER.STEPS", [0]),
    )
    start = ("TRAIN.CHECKPOINT_FILE_PATH", str(weights), "TRAIN.CHECKPOINT_EPOCH_RESET", True)
    job = finish(config(*SHARDED, *start, "DIST.CPU_PROCESSES", 2, *frozen), 2)
    begun, ended = load_checkpoint(weights)["model_state"], final_weights(job.output)
    trained = [name for name in begun if name.endswith(("weight", "bias"))]
    assert trained
    assert all(torch.equal(ended[name], begun[name]) for name in trained)


def test_the_terminal_of_a_sharded_run_is_free_of_what_torch_says_of_views(reference):
    assert "returned a view tensor" not in reference.with_name(f"{reference.name}.printed").read_text()


def die_in_second_save_of_rank_1():
    """Rank 1 is killed with its part of a checkpoint written, before the others know."""
    from slowfast.utils.shards import ShardWriter

    real, count = ShardWriter.write_data, iter(range(100))

    def write_data(self, plan, planner):
        written = real(self, plan, planner)
        if os.environ["RANK"] == "1" and next(count) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return written

    ShardWriter.write_data = write_data


@pytest.mark.slow
def test_a_rank_killed_in_a_save_ends_the_job_and_the_checkpoint_before_is_used(config, reference):
    cfg = config(*SHARDED, "DIST.CPU_PROCESSES", 2)
    with Job(cfg, 2, prepare=die_in_second_save_of_rank_1) as job:
        assert job.wait() == [1, -signal.SIGKILL], job.said()
    assert "lost another rank" in job.said()
    assert len(run_checkpoints(job.output)) == 1
    assert not list((job.output / "checkpoints").glob(".*"))
    finish(cfg, 2)
    assert_same_run(job.output, reference)
    assert same_state(job.output, reference)


@pytest.mark.slow
def test_killed_at_random_moments_a_sharded_run_ends_as_if_it_had_not_been(config, reference, record_property):
    def check(output):
        assert_same_run(output, reference)
        assert same_state(output, reference)

    configure = partial(config, *SHARDED, "DIST.CPU_PROCESSES", 2)
    record_property("seen", kill_again_and_again(configure, 2, check))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", pytest.param("bfloat16", marks=IN_FULL_ONLY)])
def test_a_sharded_run_of_mixed_precision_equals_ddp_and_goes_on_exactly(config, dtype):
    """In float16 the first steps overflow, which the ranks must find together."""
    mixed = (*SAME_ON_ANY_NUMBER, "TRAIN.MIXED_PRECISION", True, "TRAIN.AMP_DTYPE", dtype, "DIST.CPU_PROCESSES", 2)
    ddp = finish(config(*mixed, name="ddp"), 2).output
    whole = finish(config(*mixed, *SHARDED, name="whole"), 2).output
    assert_close_weights(ddp, whole)
    with Job(config(*mixed, *SHARDED, name="cut"), 2) as job:
        job.wait_for(r"epoch 1/2  2/5")
        job.kill(signal.SIGTERM)
        assert job.wait() == [0, 0], job.said()
    assert_same_run(finish(config(*mixed, *SHARDED, name="cut"), 2).output, whole)


def test_damaged_shards_are_noticed_and_the_checkpoint_before_is_used(reference, tmp_path):
    newest, before = run_checkpoints(reference)[:2]
    names = [path.name for path in newest.iterdir() if path.suffix != ".sha256"]
    assert len(names) == 3
    rng = np.random.default_rng(0)
    for name in names:
        for damage in ("missing", "without digest", "truncated", "bit flipped", "empty"):
            if (name, damage) == ("rest.pyth", "without digest"):
                continue  # like any file
            output = tmp_path / f"{name} {damage}"
            shutil.copytree(reference, output)
            path = output / newest.relative_to(reference) / name
            content = path.read_bytes()
            place = int(rng.integers(len(content)))
            (digest_path(path) if damage == "without digest" else path).unlink()
            if damage not in ("missing", "without digest"):
                changed = {"truncated": content[:place], "bit flipped": flip(content, place, 2), "empty": b""}
                path.write_bytes(changed[damage])
            with pytest.raises(CheckpointError, match=r"damaged"):
                load_checkpoint(path.parent)
            found, _, problems = last_good_checkpoint(output)
            assert found.name == before.name
            assert len(problems) == 1


def test_a_shard_that_cannot_be_read_any_more_is_said(reference, tmp_path):
    folder = shutil.copytree(run_checkpoints(reference)[0], tmp_path / "copy")
    sharding().check_shards(folder)
    part = min(folder.glob("*.safetensors"))
    part.write_bytes(part.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"copy cannot be read: "):
        sharding().load_shards(folder)


def put_in(part, folder, name=None):
    """Copies a part with the SHA-256 beside it into a folder."""
    target = folder / (name or part.name)
    shutil.copy(part, target)
    write_digest(target, sha256(target))


def list_anew(folder, files, **others):
    """Changes the list of parts in `rest.pyth`, which gets a SHA-256 of its own."""
    save_atomically(load_file(folder / "rest.pyth") | {"files": files} | others, folder / "rest.pyth")


def make_old(folder):
    """Leaves in `rest.pyth` what was written before it listed digests and shapes."""
    rest = load_file(folder / "rest.pyth")
    save_atomically({"state": rest["state"], "files": list(rest["files"])}, folder / "rest.pyth")


def parts_of(folder):
    return sorted(folder.glob("*.safetensors"))


def take_away(folder, part):
    """Removes a part, and from the list too."""
    part.unlink()
    digest_path(part).unlink()
    files = load_file(folder / "rest.pyth")["files"]
    files.pop(part.name) if isinstance(files, dict) else files.remove(part.name)
    list_anew(folder, files)


FOREIGN = {
    "a part of another epoch": (lambda folder, before: put_in(parts_of(before)[1], folder), "is of another checkpoint"),
    "the list of another epoch": (
        lambda folder, before: shutil.copy(before / "rest.pyth", folder) and digest_path(folder / "rest.pyth").unlink(),
        "is of another checkpoint",
    ),
    "a part without SHA-256 in its list": (
        lambda folder, before: list_anew(folder, {part.name: None for part in parts_of(folder)}),
        r"rest\.pyth is not as a run writes it",
    ),
    "no shapes of its tensors": (
        lambda folder, before: list_anew(folder, load_file(folder / "rest.pyth")["files"], shapes={}),
        r"rest\.pyth is not as a run writes it",
    ),
    "an unlisted part": (
        lambda folder, before: put_in(parts_of(before)[1], folder, "shard-00003-model-00001-of-00001.safetensors"),
        "does not list shard-00003-",
    ),
    "an empty list": (
        lambda folder, before: list_anew(folder, []),
        "lists no parts",
    ),
    "no first part": (lambda folder, before: take_away(folder, parts_of(folder)[0]), "do not hold all of"),
    "no second part": (lambda folder, before: take_away(folder, parts_of(folder)[1]), "do not hold all of"),
}


# Of the others nothing tells in a folder of an older version, whose list has names only.
FOREIGN_TO_OLD = ("an unlisted part", "an empty list", "no first part")


@pytest.mark.parametrize(
    ("age", "fault"), [*(("new", fault) for fault in FOREIGN), *(("old", fault) for fault in FOREIGN_TO_OLD)]
)
def test_a_folder_is_not_loaded_that_holds(reference, tmp_path, age, fault, record_property):
    output = shutil.copytree(reference, tmp_path / "run")
    newest, before = run_checkpoints(output)[:2]
    if age == "old":
        make_old(newest)
    load_checkpoint(newest)
    harm, said = FOREIGN[fault]
    harm(newest, before)
    with pytest.raises(CheckpointError, match=said) as refused:
        load_checkpoint(newest)
    found, _, problems = last_good_checkpoint(output)
    assert (found, len(problems)) == (before, 1)
    record_property("seen", str(refused.value).removeprefix(f"{newest} ").split(", model_state")[0])


def test_a_run_goes_on_from_a_folder_of_an_older_version(config, reference):
    cfg = config(*SHARDED, "DIST.CPU_PROCESSES", 2)
    output = shutil.copytree(reference, cfg.OUTPUT_DIR)
    newest, before = run_checkpoints(output)[:2]
    shutil.rmtree(newest)
    make_old(before)
    job = finish(cfg, 2)
    assert f"{before} is of an older version" in job.said()
    assert f"Resumed from {before}" in job.said()
    assert same_state(output, reference)


def spoil(folder, name):
    """Writes NaN into the first part of a tensor, with a new digest."""
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            metadata, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        if name in tensors:
            tensors[name].fill_(math.nan)
            save_file(tensors, path, metadata)
            write_digest(path, sha256(path))
            list_anew(folder, load_file(folder / "rest.pyth")["files"] | {path.name: sha256(path)})
            return
    raise KeyError(name)


def test_nan_weights_in_a_shard_are_named_and_the_folder_before_is_used(config, reference):
    cfg = config(*SHARDED, "DIST.CPU_PROCESSES", 2)
    output = shutil.copytree(reference, cfg.OUTPUT_DIR)
    newest, before = run_checkpoints(output)[:2]
    spoil(newest, "optimizer_state/state/0/exp_avg")
    job = finish(cfg, 2)
    assert "optimizer_state/state/0/exp_avg (NaN)" in job.said()
    assert f"Resumed from {before}" in job.said()
    assert same_state(output, reference)


def test_nan_weights_in_a_shard_of_another_run_are_refused(config, reference, tmp_path):
    folder = shutil.copytree(run_checkpoints(reference)[0], tmp_path / "other")
    spoil(folder, "model_state/head.weight")
    with Job(config("TRAIN.CHECKPOINT_FILE_PATH", str(folder))) as job:
        assert job.wait() == [1]
    assert f"{folder} is not loaded: 1 of its " in job.said()
    assert "head.weight (NaN)" in job.said()


@pytest.mark.slow
def test_a_full_disk_is_reported_by_a_sharded_run_too(config, reference, tmp_path):
    with mounted(tmp_path / "small", "size=8m"):
        cfg = config(*SHARDED, "DIST.CPU_PROCESSES", 2, "TRAIN.CHECKPOINT_EVERY_STEPS", 1, name="small/out")
        with Job(cfg, 2, prepare=partial(slow_loading, 0.05)) as job:
            fill_up_after_first_save(job, tmp_path / "small/filler")
            assert job.wait() == [0, 0], job.said()
        assert "The run goes on; older checkpoints are as they were" in job.said()
        assert not list((job.output / "checkpoints").glob(".*"))
        assert same_state(job.output, reference)


def test_a_folder_of_shards_is_tested_and_converted_like_a_file(config, reference, tmp_path):
    """It gives the predictions of the single file that it is converted to."""
    folder, file = reference / "checkpoints/best_Valtop1Err_checkpoint.pyth", tmp_path / "best.safetensors"
    assert folder.is_dir()
    assert convert([str(folder), str(file), "--cfg", str(reference / "config.yaml")]) == 0
    scores = []
    for weights in (folder, file):
        testing = ("TRAIN.ENABLE", False, "TEST.ENABLE", True, "TEST.CHECKPOINT_FILE_PATH", str(weights))
        scores.append(finish(config(*testing, name=weights.stem)).output / "2x32x2x3.npz")
    assert scores[0].read_bytes() == scores[1].read_bytes()


def test_a_sharded_run_goes_on_from_the_folder_of_another(config, reference):
    """Upstream's way to resume, TRAIN.CHECKPOINT_FILE_PATH with its optimizer, from the first epoch's checkpoint."""
    first = ("TRAIN.CHECKPOINT_FILE_PATH", str(reference / "checkpoints/checkpoint_epoch_00001.pyth"))
    job = finish(config(*SHARDED, *first, "DIST.CPU_PROCESSES", 2), 2)
    assert "Resumed from" in job.said()
    assert same_state(job.output, reference)
