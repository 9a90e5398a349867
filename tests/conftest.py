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
