import pytest
import torch
import torch.nn.functional as F

from slowfast.config import get_cfg
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


def test_an_unknown_loss_lists_those_that_exist():
    cfg = get_cfg()
    cfg.MODEL.LOSS_FUNC = "focal"
    with pytest.raises(ValueError, match="soft_cross_entropy"):
        build_loss(cfg)
