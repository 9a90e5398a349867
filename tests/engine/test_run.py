"""Whole runs on real files: what they write, that they repeat, and that an interruption changes nothing."""

import json
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from slowfast.config import assert_and_infer_cfg, load_config
from slowfast.datasets.lists import ListError
from slowfast.engine import launch, run
from slowfast.utils.checkpoint import BEST_NAME, load_checkpoint
from slowfast.utils.files import CheckpointError, save_atomically, sha256
from slowfast.utils.machine import machine


def json_stats(output: Path) -> list[dict]:
    lines = (output / "stdout.log").read_text().splitlines()
    return [json.loads(line.split("json_stats: ")[1]) for line in lines if "json_stats: " in line]


def weights(output: Path, epoch: int) -> dict:
    return load_checkpoint(output / f"checkpoints/checkpoint_epoch_{epoch:05d}.pyth")["model_state"]


def assert_same_weights(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


@pytest.fixture(scope="session")
def whole_run(small_run, made_once):
    """The folder of a run that was trained, validated and tested."""
    return made_once("whole run", lambda folder: launch(small_run(folder), run))


@pytest.fixture
def finished(run_cfg, whole_run):
    """The config of a run that has ended, and its folder: a copy of this test's own."""
    cfg = run_cfg()
    return cfg, shutil.copytree(whole_run, Path(cfg.OUTPUT_DIR))


def test_a_run_writes_everything_a_user_looks_for(finished, motion_dir):
    cfg, output = finished
    stats = json_stats(output)
    by_type = {entry.get("_type") or entry["split"]: entry for entry in stats}
    assert by_type["train_iter"].keys() == set(
        "_type epoch iter dt dt_data dt_net eta gpu_mem loss lr top1_err top5_err grad_norm".split()
    )
    assert by_type["train_epoch"].keys() == set(
        "_type epoch dt dt_data dt_net eta gpu_mem RAM loss lr top1_err top5_err".split()
    )
    assert by_type["val_iter"].keys() == set("_type epoch iter eta gpu_mem time_diff top1_err top5_err".split())
    assert by_type["val_epoch"].keys() == set(
        "_type epoch time_diff gpu_mem RAM top1_err top5_err min_top1_err min_top5_err".split()
    )
    assert by_type["test_iter"].keys() == set("split cur_iter eta time_diff".split())
    assert by_type["test_final"].keys() == {"split", "top1_acc", "top5_acc"}
    assert re.fullmatch(r"\d+\.\d\d", by_type["test_final"]["top1_acc"])
    assert (by_type["train_iter"]["epoch"], by_type["train_iter"]["iter"]) == ("2/2", "2/2")
    assert re.search(r"^\[\d\d/\d\d \d\d:\d\d:\d\d\]\[INFO\] logging\.py: +\d+: json_stats: \{", log_of(output), re.M)

    state = load_checkpoint(output / "checkpoints/checkpoint_epoch_00002.pyth")
    assert {"epoch", "model_state", "optimizer_state", "scaler_state", "scaler", "cfg"} <= state.keys()
    assert state["epoch"] == 1
    assert "Valtop1Err" in load_checkpoint(output / "checkpoints" / BEST_NAME)

    report = json.loads((output / "report.json").read_text())
    assert report["top1_acc"] == pytest.approx(float(by_type["test_final"]["top1_acc"]), abs=0.005)
    assert set(report["per_class_acc"]) == set(json.loads((motion_dir / "classes.json").read_text()))
    assert 0 < report["firing_rate"]["mean"] < 1
    assert len(report["ailing_layers"].get("silent", [])) < len(report["firing_rate"]["per_layer"])
    assert report["model"]["flops_per_video"] == 6 * report["model"]["flops_per_view"] > 0
    for file in report["files"]:
        assert Path(file).stat().st_size > 0
    assert report["seed"] == cfg.RNG_SEED
    assert report["config_sha256"] == sha256(output / "config.yaml")
    assert report["machine"] == machine(on_gpu=False)
    training = report["training"]
    assert [training[key] for key in ("steps", "from_epoch", "from_step", "skipped_steps")] == [4, 0, 0, 0]
    assert 0 < training["steps"] * training["seconds_per_step"] < report["train_seconds"]


def log_of(output: Path) -> str:
    return (output / "stdout.log").read_text()


def test_predictions_are_in_upstreams_format_with_every_view_beside_them(finished, motion_dir):
    _, output = finished
    with open(output / "3x32x2x3.pkl", "rb") as file:
        predictions = pickle.load(file)
    assert predictions["video_preds"].shape == (8, 8)
    assert predictions["video_preds"].dtype == torch.float32
    assert predictions["video_labels"].dtype == torch.int64
    labels = [int(line.split()[-1]) for line in (motion_dir / "test.csv").read_text().splitlines()]
    assert predictions["video_labels"].tolist() == labels
    views = np.load(output / "3x32x2x3.npz")
    assert views["logits"].shape == (8, 6, 8)
    assert views["valid"].all()
    np.testing.assert_allclose(views["logits"].sum(1), predictions["video_preds"], rtol=1e-6)
    assert len(np.unique(views["logits"][:, :, 0])) > 8  # the views of a video differ


def test_videos_without_labels_are_predicted_and_no_accuracy_is_made_up(finished, run_cfg, motion_dir, tmp_path):
    _, output = finished
    labelled = (motion_dir / "test.csv").read_text().splitlines()
    (tmp_path / "test.csv").write_text("".join(line.rpartition(" ")[0] + "\n" for line in labelled))
    for split in ("train", "val"):
        shutil.copy(motion_dir / f"{split}.csv", tmp_path)
    own = ("TRAIN.DATASET", "kinetics", "TEST.DATASET", "kinetics", "DATA.PATH_TO_DATA_DIR", str(tmp_path))
    weights = ("TEST.CHECKPOINT_FILE_PATH", str(output / "checkpoints/checkpoint_epoch_00002.pyth"))
    with pytest.raises(ListError, match=r"test\.csv:1: .* has no label"):
        launch(run_cfg(*own, "OUTPUT_DIR", str(tmp_path / "refused")), run)
    own += ("OUTPUT_DIR", str(tmp_path / "own"), "TENSORBOARD.ENABLE", True)
    launch(run_cfg("TRAIN.ENABLE", False, *weights, *own), run)
    found, known = (pickle.loads((folder / "3x32x2x3.pkl").read_bytes()) for folder in (tmp_path / "own", output))
    assert torch.equal(found["video_preds"], known["video_preds"])
    assert found["video_labels"].tolist() == [-1] * 8
    report, log = (tmp_path / "own" / name for name in ("report.json", "stdout.log"))
    report, log = json.loads(report.read_text()), log.read_text()
    assert (report["top1_acc"], report["top5_acc"], report["per_class_acc"]) == (None, None, {})
    assert not [path for path in report["files"] if "confusion" in path]
    assert f"{tmp_path}/test.csv has no labels: predictions are written" in log
    assert "none: the list has no labels" in log
    assert not re.search(r"top.?1|views right|wrong|test_final", log.partition("Testing")[2].partition("Done in")[0])


def test_a_sweep_tests_each_number_of_clips_from_one_pass(finished, run_cfg):
    _, output = finished
    two = np.load(output / "3x32x2x3.npz")["logits"]
    launch(run_cfg("TRAIN.ENABLE", False, "TEST.NUM_ENSEMBLE_VIEWS", -1), run)
    finals = [entry for entry in json_stats(output) if entry.get("split") == "test_final"][1:]
    assert [entry["num_ensemble_views"] for entry in finals] == [1, 3, 5, 7, 10]
    swept = {count: np.load(output / f"3x32x{count}x3.npz")["logits"] for count in (1, 3, 5, 7, 10)}
    assert all(logits.shape == (8, 3 * count, 8) for count, logits in swept.items())
    # The first clip starts at the first frame in every count; the second of two is the sixth of ten.
    for count, logits in swept.items():
        np.testing.assert_allclose(logits[:, :3], two[:, :3], rtol=1e-4, atol=1e-5, err_msg=str(count))
    np.testing.assert_allclose(swept[10][:, 15:18], two[:, 3:], rtol=1e-4, atol=1e-5)
    report = json.loads((output / "report.json").read_text())
    assert report["top1_acc"] == pytest.approx(float(finals[-1]["top1_acc"]), abs=0.005)
    launch(run_cfg("TRAIN.ENABLE", False, "TEST.NUM_ENSEMBLE_VIEWS", 3), run)
    np.testing.assert_allclose(np.load(output / "3x32x3x3.npz")["logits"], swept[3], rtol=1e-4, atol=1e-5)


def test_a_video_with_more_views_than_a_step_takes_is_scored_in_parts(finished, run_cfg):
    _, output = finished
    whole = np.load(output / "3x32x2x3.npz")["logits"]
    launch(run_cfg("TRAIN.ENABLE", False, "TEST.BATCH_SIZE", 4), run)
    np.testing.assert_allclose(np.load(output / "3x32x2x3.npz")["logits"], whole, rtol=1e-4, atol=1e-5)


def test_the_same_seed_gives_the_same_run_and_its_config_repeats_it(finished, tmp_path):
    _, output = finished
    again = load_config(output / "config.yaml", ["OUTPUT_DIR", str(tmp_path / "again"), "DATA_LOADER.NUM_WORKERS", "2"])
    launch(assert_and_infer_cfg(again), run)
    assert_same_weights(weights(tmp_path / "again", 2), weights(output, 2))
    one, other = (np.load(folder / "3x32x2x3.npz")["logits"] for folder in (output, tmp_path / "again"))
    assert np.array_equal(one, other)


def test_another_seed_gives_another_run(finished, run_cfg, tmp_path):
    _, output = finished
    other = run_cfg("RNG_SEED", 7, "OUTPUT_DIR", str(tmp_path / "other"), "TEST.ENABLE", False)
    launch(other, run)
    assert not torch.equal(weights(tmp_path / "other", 2)["head.weight"], weights(output, 2)["head.weight"])


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(finished, run_cfg, tmp_path):
    _, output = finished
    cut = tmp_path / "cut"
    shutil.copytree(output, cut)
    # As an interruption during the second epoch leaves it, with a torn checkpoint of a careless tool on top.
    (cut / "checkpoints/checkpoint_epoch_00002.pyth").write_bytes(b"PK\x03\x04 torn")
    launch(run_cfg("OUTPUT_DIR", str(cut)), run)
    assert "Using an older one" in log_of(cut)
    assert_same_weights(weights(cut, 2), weights(output, 2))
    resumed = load_checkpoint(cut / "checkpoints/checkpoint_epoch_00002.pyth")
    whole = load_checkpoint(output / "checkpoints/checkpoint_epoch_00002.pyth")
    assert resumed["best"] == whole["best"]
    training = json.loads((cut / "report.json").read_text())["training"]
    assert (training["from_epoch"], training["steps"]) == (1, 2)
    for one, other in zip(
        resumed["optimizer_state"]["state"].values(), whole["optimizer_state"]["state"].values(), strict=True
    ):
        assert torch.equal(one["exp_avg_sq"], other["exp_avg_sq"])


def test_a_finished_run_is_not_trained_again(finished):
    cfg, output = finished
    before = (output / "checkpoints/checkpoint_epoch_00002.pyth").stat().st_mtime_ns
    launch(cfg, run)
    assert "Nothing to train" in log_of(output)
    assert json.loads((output / "report.json").read_text())["training"] is None
    assert (output / "checkpoints/checkpoint_epoch_00002.pyth").stat().st_mtime_ns == before


def test_a_finished_run_to_go_on_from_is_named(finished, run_cfg, tmp_path):
    _, output = finished
    path = output / "checkpoints/checkpoint_epoch_00002.pyth"
    other = run_cfg(
        "OUTPUT_DIR", str(tmp_path / "other"), "TRAIN.CHECKPOINT_FILE_PATH", str(path), "TEST.ENABLE", False
    )
    launch(other, run)
    said = f"Nothing to train: TRAIN.CHECKPOINT_FILE_PATH {path} holds epoch 2 of 2. TRAIN.CHECKPOINT_EPOCH_RESET True"
    assert said in log_of(tmp_path / "other")


def test_the_best_checkpoint_survives_a_resume_with_its_metric(finished, run_cfg):
    cfg, output = finished
    path = output / "checkpoints/checkpoint_epoch_00002.pyth"
    state = load_checkpoint(path)
    save_atomically(state | {"best": {"top1_err": 0.0, "top5_err": 0.0, "epoch": 0}}, path)
    best = (output / "checkpoints" / BEST_NAME).stat().st_mtime_ns
    launch(run_cfg("SOLVER.MAX_EPOCH", 3, "TRAIN.RESUME_CHANGED", True, "TEST.ENABLE", False), run)
    assert load_checkpoint(output / "checkpoints/checkpoint_epoch_00003.pyth")["best"]["top1_err"] == 0.0
    assert (output / "checkpoints" / BEST_NAME).stat().st_mtime_ns == best


def test_resuming_with_other_settings_is_refused_by_name(finished, run_cfg):
    with pytest.raises(CheckpointError, match=r"SOLVER\.BASE_LR: 0\.001 then, 0\.002 now\n.*TRAIN\.RESUME_CHANGED"):
        launch(run_cfg("SOLVER.BASE_LR", 0.002), run)


def test_resuming_with_another_list_is_refused_and_with_other_versions_said(finished, run_cfg, motion_dir, tmp_path):
    _, output = finished
    path = output / "checkpoints/checkpoint_epoch_00002.pyth"
    state = load_checkpoint(path)
    save_atomically(state | {"versions": state["versions"] | {"torch": "1.0"}}, path)
    launch(run_cfg("TEST.ENABLE", False), run)
    assert "was saved by torch 1.0 and" in log_of(output)
    changed = shutil.copytree(motion_dir, tmp_path / "changed")
    rows = (changed / "train.csv").read_text().splitlines()
    (changed / "train.csv").write_text("\n".join([rows[1], rows[0], *rows[2:]]) + "\n")
    options = ("TRAIN.DATASET", "kinetics", "DATA.PATH_TO_DATA_DIR", str(changed), "TEST.ENABLE", False)
    with pytest.raises(CheckpointError, match=r"the training list, by SHA-256: (?s:.)*TRAIN\.RESUME_CHANGED"):
        launch(run_cfg(*options), run)


def test_a_used_output_dir_is_refused_without_auto_resume(finished, run_cfg):
    with pytest.raises(ValueError, match=r"already holds checkpoints.*TRAIN\.AUTO_RESUME"):
        launch(run_cfg("TRAIN.AUTO_RESUME", False), run)


def test_training_starts_from_another_runs_weights(finished, run_cfg, tmp_path):
    _, output = finished
    start = str(output / "checkpoints/checkpoint_epoch_00002.pyth")
    common = ("TRAIN.CHECKPOINT_FILE_PATH", start, "TEST.ENABLE", False)
    fresh = run_cfg("OUTPUT_DIR", str(tmp_path / "fresh"), "TRAIN.CHECKPOINT_EPOCH_RESET", True, *common)
    launch(fresh, run)
    assert "Initial weights from" in log_of(tmp_path / "fresh")
    assert "epoch 1/2" in log_of(tmp_path / "fresh")
    further = run_cfg("OUTPUT_DIR", str(tmp_path / "further"), "SOLVER.MAX_EPOCH", 3, *common)
    launch(further, run)
    assert "epoch 1/3" not in log_of(tmp_path / "further")
    assert (tmp_path / "further/checkpoints/checkpoint_epoch_00003.pyth").exists()


def test_other_ways_to_train_run_to_the_end(run_cfg):
    cfg = run_cfg(
        *("MIXUP.ENABLE", True, "MODEL.LOSS_FUNC", "soft_cross_entropy", "AUG.NUM_SAMPLE", 2, "AUG.ENABLE", True),
        *("DATA.TRAIN_JITTER_SCALES_RELATIVE", [0.5, 1.0], "DATA.TRAIN_JITTER_ASPECT_RELATIVE", [0.75, 1.33]),
        *("TRAIN.MIXED_PRECISION", True, "TRAIN.AMP_DTYPE", "bfloat16", "BN.USE_PRECISE_STATS", True),
        *("SOLVER.GRADIENT_ACCUMULATION_STEPS", 2, "SOLVER.OPTIMIZING_METHOD", "sgd", "DATA.VAL_VIEW", "random"),
        *("SOLVER.LR_POLICY", "steps_with_relative_lrs", "SOLVER.STEPS", [0, 1], "SOLVER.LRS", [1, 0.1]),
        *("TENSORBOARD.ENABLE", True, "TENSORBOARD.CONFUSION_MATRIX.ENABLE", True, "SOLVER.CLIP_GRAD_VAL", 1.0),
        *("TEST.TEST_BEST", True, "TEST.SAVE_RESULTS_PATH", "results.pkl", "DATA.ENSEMBLE_METHOD", "max"),
        *("MODEL.USE_CHECKPOINT", True, "MODEL.CHECKPOINT_NUM", [1, 1, 1, 1]),
    )
    launch(cfg, run)
    output = Path(cfg.OUTPUT_DIR)
    assert list(output.glob("runs-motion/events*"))
    with open(output / "results.pkl", "rb") as file:
        scores, labels = pickle.load(file)
    assert scores.shape == (8, 8)
    assert len(labels) == 8
    epochs = [entry for entry in json_stats(output) if entry.get("_type") == "train_epoch"]
    assert [entry["lr"] for entry in epochs] == [0.001, 0.0001]
    assert BEST_NAME in json.loads((output / "report.json").read_text())["weights"]


def test_precise_statistics_are_in_checkpoints_of_epochs_that_are_not_validated(run_cfg, tmp_path):
    once = ("TRAIN.EVAL_PERIOD", 10, "TEST.ENABLE", False, "BN.NUM_BATCHES_PRECISE", 2)
    launch(run_cfg(*once, "OUTPUT_DIR", str(tmp_path / "usual")), run)
    launch(run_cfg(*once, "OUTPUT_DIR", str(tmp_path / "precise"), "BN.USE_PRECISE_STATS", True), run)
    usual, precise = weights(tmp_path / "usual", 1), weights(tmp_path / "precise", 1)
    assert torch.equal(usual["head.weight"], precise["head.weight"])
    assert not torch.allclose(usual["dwconv_bn.running_mean"], precise["dwconv_bn.running_mean"])


def test_layers_that_fall_silent_are_told_after_the_epoch_and_in_the_table(run_cfg):
    cfg = run_cfg("SNN.V_THRESHOLD", 1e6)
    launch(cfg, run)
    log = log_of(Path(cfg.OUTPUT_DIR))
    layers = json.loads((Path(cfg.OUTPUT_DIR) / "report.json").read_text())["ailing_layers"]["silent"]
    warnings = [line for line in log.splitlines() if "[WARNING]" in line and "Spiking layers" in line]
    assert len(warnings) == 1  # not again where nothing has changed
    assert f"of epoch 1: silent {len(layers)} of {len(layers)}: {layers[0]}, " in warnings[0]
    assert re.search(rf"^  silent layers +{len(layers)} of {len(layers)}: {layers[0]}, ", log, re.M)
    assert re.search(r"mean firing rate +0\.0000", log)


@pytest.fixture
def partly_broken(motion_dir, tmp_path):
    """A copy of the data set whose third training and second validation video are none."""
    folder = shutil.copytree(motion_dir, tmp_path / "partly broken")
    for split, row in (("train", 2), ("val", 1)):
        lines = (folder / f"{split}.csv").read_text().splitlines()
        (folder / "no video.mp4").write_text("no video")
        lines[row] = f"{folder / 'no video.mp4'} 0"
        (folder / f"{split}.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize("share", [0.1, 0.05])
def test_broken_videos_are_listed_after_each_epoch_and_too_many_end_the_run(partly_broken, run_cfg, share):
    options = ("TRAIN.DATASET", "kinetics", "TEST.DATASET", "kinetics", "DATA.PATH_TO_DATA_DIR", str(partly_broken))
    options += ("DATA.CHECK_VIDEOS", 0, "TEST.ENABLE", False)
    cfg = run_cfg(*options, "DATA.MAX_BAD_VIDEOS", share, "SOLVER.MAX_EPOCH", 1)
    if share < 1 / 16:
        with pytest.raises(
            ValueError, match=r"1 of 16 videos .*MAX_BAD_VIDEOS 0\.05 (?s:.)*train\.csv:3: .*no video\.mp4"
        ):
            launch(cfg, run)
        return
    launch(cfg, run)
    said = log_of(Path(cfg.OUTPUT_DIR))
    assert re.search(
        r"1 of 16 videos of .*train\.csv could not be read; others took their places:\n.*train\.csv:3:", said
    )
    assert re.search(r"1 of 8 videos of .*val\.csv could not be read; they count as wrong:\n.*val\.csv:2:", said)


def test_a_run_that_is_refused_leaves_the_configuration_beside_the_weights_as_it_is(finished, run_cfg):
    _, output = finished
    before = (output / "config.yaml").read_bytes()
    for options in (("SOLVER.BASE_LR", 0.002), ("DATA.PATH_TO_DATA_DIR", "/nowhere", "TRAIN.DATASET", "kinetics")):
        with pytest.raises((CheckpointError, ValueError)):
            launch(run_cfg(*options), run)
        assert (output / "config.yaml").read_bytes() == before


def test_a_changed_weight_decay_counts_after_a_resume(finished, run_cfg):
    """torch's optimizers would take that of the checkpoint."""
    _, output = finished
    options = ("SOLVER.MAX_EPOCH", 3, "SOLVER.WEIGHT_DECAY", 0.5, "TRAIN.RESUME_CHANGED", True, "TEST.ENABLE", False)
    launch(run_cfg(*options), run)
    groups = load_checkpoint(output / "checkpoints/checkpoint_epoch_00003.pyth")["optimizer_state"]["param_groups"]
    assert {group["weight_decay"] for group in groups} == {0.0, 0.5}


def test_a_run_that_goes_on_from_anothers_checkpoint_tells_what_is_other(finished, run_cfg, small_run, tmp_path):
    _, output = finished
    options = ("TRAIN.CHECKPOINT_FILE_PATH", str(output / "checkpoints/checkpoint_epoch_00001.pyth"))
    launch(small_run(tmp_path / "new", *options, "SOLVER.BASE_LR", 0.002, "TEST.ENABLE", False), run)
    said = log_of(tmp_path / "new")
    assert "with other settings than its run had:\n  SOLVER.BASE_LR: 0.001 then, 0.002 now" in said
