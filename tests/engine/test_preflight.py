from pathlib import Path

import pytest
import torch
from tiny_models import tiny_options

from slowfast.engine import launch, run
from slowfast.engine.preflight import PreflightError, preflight
from slowfast.models import build_model
from slowfast.utils.files import CheckpointError


def test_a_model_that_is_not_registered_is_said_before_data_and_weights(tiny_cfg, tmp_path):
    nowhere = ("DATA.PATH_TO_DATA_DIR", str(tmp_path / "none"), "OUTPUT_DIR", str(tmp_path / "out"))
    with pytest.raises(KeyError, match="'SlowFast' is not registered"):
        preflight(tiny_cfg("MODEL.MODEL_NAME", "SlowFast", "TRAIN.ENABLE", False, *nowhere))
    assert not (tmp_path / "out").exists()


@pytest.fixture
def weights_of(run_cfg, tmp_path):
    """A function of KEY VALUE pairs: the file of weights that a run with them would begin with."""

    def make(*options):
        cfg = run_cfg(*options)
        torch.save({"model_state": build_model(cfg).state_dict(), "cfg": cfg.dump()}, tmp_path / "w.pyth")
        return str(tmp_path / "w.pyth")

    return make


@pytest.mark.parametrize("trains", [True, False])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ("MODEL.NUM_CLASSES", 9),
            r"w\.pyth does not fit this model: it was trained with MODEL\.NUM_CLASSES 9, now 8\.",
        ),
        (("UNIFORMER.DEPTH", [1, 1, 2, 1]), r"trained with UNIFORMER\.DEPTH \[1, 1, 2, 1\], now \[1, 1, 1, 1\]\."),
    ],
)
def test_weights_to_test_that_do_not_fit_are_found_before_the_first_epoch(run_cfg, weights_of, options, said, trains):
    cfg = run_cfg("TRAIN.ENABLE", trains, "TEST.CHECKPOINT_FILE_PATH", weights_of(*options))
    with pytest.raises(CheckpointError, match=said):
        launch(cfg, run)
    log = (Path(cfg.OUTPUT_DIR) / "stdout.log").read_text()
    assert "epoch 1" not in log
    assert "Parameter groups" not in log


def test_weights_to_test_of_any_shape_are_refused_by_name(run_cfg, weights_of):
    path = weights_of()
    state = torch.load(path)
    state["model_state"]["head.weight"] = torch.zeros(3)
    torch.save(state, path)
    with pytest.raises(CheckpointError, match=r"head\.weight"):
        preflight(run_cfg("TEST.CHECKPOINT_FILE_PATH", path))


def test_weights_to_test_that_are_not_finite_are_found_before_the_first_epoch(run_cfg, weights_of):
    path = weights_of()
    state = torch.load(path)
    state["model_state"]["head.bias"].fill_(torch.nan)
    torch.save(state, path)
    with pytest.raises(CheckpointError, match=r"head\.bias \(NaN\)"):
        preflight(run_cfg("TEST.CHECKPOINT_FILE_PATH", path))


@pytest.mark.parametrize("name", ["checkpoint_epoch_00099.pyth", "checkpoint_epoch_00001.pyth", "other.pyth"])
def test_weights_that_the_run_would_not_leave_there_must_be_there(run_cfg, name):
    """A later epoch than the last; one that is removed again; a name that no run writes."""
    cfg = run_cfg("TRAIN.KEEP_CHECKPOINTS", 1)
    cfg.TEST.CHECKPOINT_FILE_PATH = f"{cfg.OUTPUT_DIR}/checkpoints/{name}"
    with pytest.raises(FileNotFoundError, match=name):
        preflight(cfg)


def test_weights_that_the_run_itself_will_write_are_trusted_to_come(run_cfg):
    cfg = run_cfg()
    preflight(run_cfg("TEST.CHECKPOINT_FILE_PATH", f"{cfg.OUTPUT_DIR}/checkpoints/checkpoint_epoch_00002.pyth"))
    with pytest.raises(FileNotFoundError, match=r"TEST\.CHECKPOINT_FILE_PATH .* does not exist"):
        preflight(run_cfg("TEST.CHECKPOINT_FILE_PATH", f"{cfg.OUTPUT_DIR}/checkpoint_epoch_00002.pyth"))


ONE = ("TRAIN.BATCH_SIZE", 1, "TEST.ENABLE", False)
LARGE = ("DATA.TRAIN_CROP_SIZE", 64, "DATA.TRAIN_JITTER_SCALES", [70, 80])
TAKE_ONE = {
    "without batch norms": tiny_options("TimeSformer"),
    "of many pixels": tiny_options("ResNet") + LARGE,
    "of many pixels in each time step": ("UNIFORMER.TIME_HEAD", "mean", *LARGE),
    "of several time steps": ("UNIFORMER.TIME_HEAD", "mean", "UNIFORMER.TIME_NORM", "shared"),
}


@pytest.mark.parametrize("what", TAKE_ONE)
def test_a_batch_of_one_is_enough_for_models(run_cfg, what):
    preflight(run_cfg(*TAKE_ONE[what], "MODEL.NUM_CLASSES", 8, *ONE))


def test_a_batch_of_one_trains(run_cfg):
    cfg = run_cfg(*tiny_options("TimeSformer"), "MODEL.NUM_CLASSES", 8, *ONE, "SOLVER.MAX_EPOCH", 1)
    launch(cfg, run)
    assert (Path(cfg.OUTPUT_DIR) / "checkpoints/checkpoint_epoch_00001.pyth").is_file()


MIXED = ("MIXUP.ENABLE", True, "MODEL.LOSS_FUNC", "soft_cross_entropy")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ((), "batch norm needs two samples"),  # of the conv head, which has one pixel and no time
        (
            ("UNIFORMER.TIME_HEAD", "mean"),
            "batch norm needs two samples",
        ),  # of each step in the last stage, of one pixel
        ((*tiny_options("TimeSformer"), *MIXED, "MODEL.NUM_CLASSES", 8), "MIXUP.ENABLE mixes pairs"),
    ],
)
def test_a_batch_of_one_is_refused_where_two_are_needed(run_cfg, options, why):
    with pytest.raises(PreflightError, match=rf"would see 1 video .* and {why}.*raise TRAIN\.BATCH_SIZE"):
        preflight(run_cfg(*options, *ONE))
    preflight(run_cfg(*options, *ONE, "AUG.NUM_SAMPLE", 2))


def test_a_model_too_large_for_the_machine_is_refused_before_it_is_made(run_cfg, tmp_path):
    nowhere = ("DATA.PATH_TO_DATA_DIR", str(tmp_path / "none"))
    with pytest.raises(PreflightError, match=r"The model .* needs at least [\d,]+ GB .* this machine has \d+ GB"):
        preflight(run_cfg("UNIFORMER.EMBED_DIM", [8, 8, 16, 10**7 * 8], *nowhere))
    with pytest.raises(PreflightError, match=r"A training step \(TRAIN\.BATCH_SIZE 8, AUG\.NUM_SAMPLE 10000000, DATA"):
        preflight(run_cfg("AUG.NUM_SAMPLE", 10**7, *nowhere))


def test_weights_to_start_from_are_looked_at_before_the_lists(run_cfg, weights_of, tmp_path):
    nowhere = ("DATA.PATH_TO_DATA_DIR", str(tmp_path / "none"), "TRAIN.CHECKPOINT_FILE_PATH")
    with pytest.raises(FileNotFoundError, match=r"TRAIN\.CHECKPOINT_FILE_PATH: there is no .*/no\.pyth\. Set it"):
        preflight(run_cfg(*nowhere, str(tmp_path / "no.pyth")))
    with pytest.raises(CheckpointError, match=r"trained with UNIFORMER\.DEPTH \[1, 1, 2, 1\], now \[1, 1, 1, 1\]"):
        preflight(run_cfg(*nowhere, weights_of("UNIFORMER.DEPTH", [1, 1, 2, 1])))


def test_updates_that_no_epoch_has_steps_for_are_refused(run_cfg):
    with pytest.raises(PreflightError, match=r"GLOBAL_BATCH_SIZE asks for 4 steps .* an epoch has 2 .* smaller GLOBAL"):
        preflight(run_cfg("GLOBAL_BATCH_SIZE", 32))


def test_places_that_cannot_be_written_are_refused_before_the_lists(run_cfg, tmp_path):
    (tmp_path / "file").write_text("")
    nowhere = ("DATA.PATH_TO_DATA_DIR", str(tmp_path / "none"))
    for options, said in (
        (("DATA.DECODE_CACHE", str(tmp_path / "file")), r"DATA\.DECODE_CACHE: the folder .*/file cannot be written"),
        (("TENSORBOARD.ENABLE", True, "TENSORBOARD.LOG_DIR", str(tmp_path / "file/x")), r"TENSORBOARD\.LOG_DIR: the f"),
        (("TEST.SAVE_RESULTS_PATH", str(tmp_path)), r"TEST\.SAVE_RESULTS_PATH .* is no file that can be written"),
    ):
        with pytest.raises(PreflightError, match=said):
            preflight(run_cfg(*options, *nowhere))


def test_a_training_list_of_one_label_is_remarked_once_and_other_lists_are_not(run_cfg, motion_dir, tmp_path):
    videos = sorted((motion_dir / "train").iterdir())[:4]
    lists = ("TRAIN.DATASET", "kinetics", "TEST.DATASET", "kinetics", "DATA.PATH_TO_DATA_DIR", str(tmp_path))
    for train, remarks in (("3333", 1), ("3331", 0)):
        for split, labels in (("train", train), ("val", "3333"), ("test", "3333")):
            lines = (f"{video} {label}\n" for video, label in zip(videos, labels, strict=True))
            (tmp_path / f"{split}.csv").write_text("".join(lines))
        cfg = run_cfg(*lists, "SOLVER.MAX_EPOCH", 1, "OUTPUT_DIR", str(tmp_path / train))
        launch(cfg, run)
        log = (tmp_path / train / "stdout.log").read_text()
        assert log.count(f"All 4 videos of {tmp_path}/train.csv have label 3") == log.count(" have label ") == remarks
