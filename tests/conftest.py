"""Settings of every test: one thread, fixed seed, no GPU unless a test asks for one."""

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def tiny_cfg():
    """A function of KEY VALUE pairs: the config of an SVFormer that runs in milliseconds."""
    from slowfast.config import get_cfg

    def make(*options):
        cfg = get_cfg()
        cfg.merge_from_list(
            [
                *("MODEL.MODEL_NAME", "SVFormer", "MODEL.NUM_CLASSES", 5),
                *("DATA.NUM_FRAMES", 3, "DATA.TRAIN_CROP_SIZE", 32, "DATA.TEST_CROP_SIZE", 32),
                *("DATA.TRAIN_JITTER_SCALES", [36, 40]),
                *("UNIFORMER.EMBED_DIM", [8, 8, 16, 16], "UNIFORMER.DEPTH", [1, 1, 1, 1]),
                *("UNIFORMER.HEAD_DIM", 8, "UNIFORMER.MLP_RATIO", 2, "UNIFORMER.DROP_DEPTH_RATE", 0.0),
                *("SNN.V_THRESHOLD", 0.2),
                *options,
            ]
        )
        return cfg

    return make


@pytest.fixture(scope="session")
def motion_dir(tmp_path_factory):
    """A small embedded data set: 16 videos to train on, 8 to validate, 8 to test, one of each class."""
    from slowfast.datasets.motion import write_motion

    return write_motion(
        tmp_path_factory.mktemp("data") / "motion", counts={"train": 16, "val": 8, "test": 8}, workers=1
    )


@pytest.fixture
def run_cfg(tiny_cfg, motion_dir, tmp_path):
    """A function of KEY VALUE pairs: a checked config that trains two epochs of two steps on `motion_dir`."""
    from slowfast.config import assert_and_infer_cfg

    def make(*options):
        cfg = tiny_cfg(
            *("NUM_GPUS", 0, "LOG_PERIOD", 1, "OUTPUT_DIR", str(tmp_path / "out")),
            *("TRAIN.DATASET", "motion", "TEST.DATASET", "motion", "DATA.PATH_TO_DATA_DIR", str(motion_dir)),
            *("TRAIN.BATCH_SIZE", 8, "TEST.BATCH_SIZE", 12, "DATA_LOADER.NUM_WORKERS", 0),
            *("TEST.NUM_ENSEMBLE_VIEWS", 2, "TEST.NUM_SPATIAL_CROPS", 3, "MODEL.NUM_CLASSES", 8),
            *("TRAIN.EVAL_PERIOD", 1, "TRAIN.CHECKPOINT_PERIOD", 1, "LOG_MODEL_INFO", False),
            *("SOLVER.OPTIMIZING_METHOD", "adamw", "SOLVER.BASE_LR", 1e-3, "SOLVER.MAX_EPOCH", 2),
            *("DATA.DECODING_BACKEND", "decord", "UNIFORMER.DROP_DEPTH_RATE", 0.1),
            *options,
        )
        return assert_and_infer_cfg(cfg)

    return make
