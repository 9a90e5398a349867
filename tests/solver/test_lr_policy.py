import pytest

from slowfast.config import get_cfg
from slowfast.solver import build_lr_schedule


def schedule(*options):
    cfg = get_cfg()
    cfg.merge_from_list(list(options))
    return build_lr_schedule(cfg)


def test_the_cosine_runs_from_base_to_end():
    lr = schedule("SOLVER.BASE_LR", 0.4, "SOLVER.COSINE_END_LR", 0.2, "SOLVER.MAX_EPOCH", 10)
    assert [lr(0), lr(5), lr(10)] == pytest.approx([0.4, 0.3, 0.2])
    assert lr(2.5) == pytest.approx(0.3 + 0.1 * 0.5**0.5)  # a fraction of an epoch counts


def test_the_warm_up_is_linear_and_meets_the_policy():
    options = (
        "SOLVER.BASE_LR",
        1.0,
        "SOLVER.MAX_EPOCH",
        10,
        "SOLVER.WARMUP_EPOCHS",
        2.0,
        "SOLVER.WARMUP_START_LR",
        0.1,
    )
    lr = schedule(*options)
    after = lr(2.0)  # the cosine has run since epoch 0
    assert after == pytest.approx(0.5 * (1 + 0.8090169943749475))
    assert lr(0) == pytest.approx(0.1)
    assert lr(1) == pytest.approx((0.1 + after) / 2)
    late = schedule(*options, "SOLVER.COSINE_AFTER_WARMUP", True)
    assert late(2.0) == pytest.approx(1.0)
    assert late(6.0) == pytest.approx(0.5)
    assert late(10.0) == pytest.approx(0.0)


def test_steps_take_their_factor_from_their_epoch_on():
    lr = schedule(
        *("SOLVER.LR_POLICY", "steps_with_relative_lrs", "SOLVER.BASE_LR", 0.005),
        *("SOLVER.STEPS", [0, 25, 28], "SOLVER.LRS", [1, 0.1, 0.01], "SOLVER.MAX_EPOCH", 30),
    )
    assert [lr(0), lr(24.99), lr(25), lr(29)] == pytest.approx([0.005, 0.005, 0.0005, 0.00005])


def test_factors_beyond_the_steps_are_never_taken():
    """The factor of a step is the one at its place, whatever follows."""
    options = ("SOLVER.LR_POLICY", "steps_with_relative_lrs", "SOLVER.BASE_LR", 1.0, "SOLVER.MAX_EPOCH", 30)
    lr = schedule(*options, "SOLVER.STEPS", [0, 10], "SOLVER.LRS", [1, 0.1, 7, 0.01])
    assert [lr(0), lr(9.99), lr(10), lr(29.9), lr(30)] == pytest.approx([1, 1, 0.1, 0.1, 0.1])


def test_a_warm_up_as_long_as_the_training_never_divides_by_zero():
    lr = schedule(
        *("SOLVER.BASE_LR", 1.0, "SOLVER.MAX_EPOCH", 1, "SOLVER.WARMUP_EPOCHS", 1.0),
        *("SOLVER.WARMUP_START_LR", 0.0, "SOLVER.COSINE_AFTER_WARMUP", True),
    )
    assert lr(0.5) == pytest.approx(0.5)
