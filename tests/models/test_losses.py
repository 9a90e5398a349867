import math

import pytest
import torch
import torch.nn.functional as F

from slowfast.config import ConfigError, assert_and_infer_cfg, get_cfg
from slowfast.models.losses import LOSSES, build_loss


@pytest.mark.parametrize("name", LOSSES)
def test_classes_and_their_one_hot_rows_give_the_same_loss(name):
    cfg = get_cfg()
    cfg.MODEL.LOSS_FUNC = name
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    loss = build_loss(cfg)
    torch.testing.assert_close(loss(logits, labels), loss(logits, F.one_hot(labels, 4).float()))


def test_soft_cross_entropy_is_the_mean_of_minus_p_log_q():
    logits, targets = torch.randn(3, 4), torch.rand(3, 4).softmax(1)
    expected = -(targets * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(LOSSES["soft_cross_entropy"](logits, targets), expected)


# Softmax gives 1/4 and 3/4 of the first row, 5/6 and 1/6 of the second.
LOGITS = [[0.0, math.log(3)], [math.log(5), 0.0]]
SHARES = [[1 / 4, 3 / 4], [5 / 6, 1 / 6]]
CLASSES, DISTRIBUTIONS = [1, 0], [[0.2, 0.8], [0.5, 0.5]]
ONE_HOT = [[0.0, 1.0], [1.0, 0.0]]


def binary_entropy(target: float, probability: float) -> float:
    return -target * math.log(probability) - (1 - target) * math.log(1 - probability)


def by_hand(entry, targets: list, values: list) -> float:
    """The mean of entry(target, value) over all entries of two tables."""
    pairs = [pair for rows in zip(targets, values, strict=True) for pair in zip(*rows, strict=True)]
    return sum(entry(*pair) for pair in pairs) / len(pairs)


@pytest.mark.parametrize(("targets", "rows"), [(CLASSES, ONE_HOT), (DISTRIBUTIONS, DISTRIBUTIONS)])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bce", lambda rows: by_hand(binary_entropy, rows, SHARES)),
        ("bce_logit", lambda rows: by_hand(lambda t, x: binary_entropy(t, 1 / (1 + math.exp(-x))), rows, LOGITS)),
        ("mse", lambda rows: by_hand(lambda t, x: (x - t) ** 2, rows, LOGITS)),
    ],
)
def test_the_losses_of_each_class_alone_have_the_value_computed_by_hand(name, expected, targets, rows):
    loss = LOSSES[name](torch.tensor(LOGITS), torch.tensor(targets))
    assert loss.item() == pytest.approx(expected(rows), rel=1e-6)


def test_two_of_these_values_as_numbers():
    logits, labels = torch.tensor(LOGITS[:1]), torch.tensor([1])
    assert LOSSES["bce"](logits, labels).item() == pytest.approx(0.2876821)  # -ln 3/4
    assert LOSSES["bce_logit"](logits, labels).item() == pytest.approx(0.4904146)  # -(ln 1/2 + ln 3/4) / 2


def test_an_unknown_loss_lists_those_that_exist():
    cfg = get_cfg()
    cfg.MODEL.LOSS_FUNC = "focal"
    with pytest.raises(ConfigError, match=r"MODEL\.LOSS_FUNC is 'focal' .*one of: .*soft_cross_entropy"):
        assert_and_infer_cfg(cfg)
