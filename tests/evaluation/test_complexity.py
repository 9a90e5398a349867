import pytest
import torch
from torch import nn

from slowfast.evaluation.complexity import count_flops, count_flops_from_shapes, count_parameters
from slowfast.models import build_model


class Everything(nn.Module):
    """An operator of each kind that is counted, and some that are not."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv3d(3, 32, 3, groups=1),
            nn.BatchNorm3d(32),
            nn.BatchNorm3d(32, affine=False),
            nn.GroupNorm(4, 32),
            nn.GroupNorm(4, 32, affine=False),
            nn.MaxPool3d((2, 1, 1)),
        )
        self.tokens = nn.Sequential(nn.LayerNorm(32), nn.LayerNorm(32, elementwise_affine=False), nn.Linear(32, 48))
        self.up = nn.Upsample(scale_factor=2, mode="bilinear")
        self.pools = nn.ModuleList([nn.AdaptiveAvgPool2d(1), nn.AdaptiveAvgPool2d(3), nn.AvgPool2d(2)])
        self.transposed = nn.ConvTranspose2d(32, 8, 2)

    def forward(self, clips):
        x = self.up(self.conv(clips).mean(2))
        tokens = self.tokens(x.flatten(2).transpose(1, 2))
        attended = (tokens @ tokens.transpose(1, 2)).softmax(-1) @ tokens
        return attended.sum() + self.transposed(x).sum() + sum(pool(x).sum() for pool in self.pools)


@pytest.mark.parametrize("deterministic", [False, True])
def test_flops_from_shapes_are_fvcores(deterministic):
    model = Everything().train()
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    try:
        assert count_flops_from_shapes(model, (3, 4, 10, 10)) == count_flops(model, (3, 4, 10, 10)) > 0
    finally:
        torch.use_deterministic_algorithms(before, warn_only=True)
    assert model.training


@pytest.mark.parametrize("options", [(), ("UNIFORMER.TIME_HEAD", "mean", "UNIFORMER.ATTENTION", "qk_token")])
def test_a_spiking_model_is_counted_without_computing(options, tiny_cfg):
    model = build_model(tiny_cfg(*options))
    expected = count_flops(model, (3, 3, 32, 32))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(float("nan"))
    assert count_flops_from_shapes(model, (3, 3, 32, 32)) == expected
    assert all(parameter.device.type == "cpu" for parameter in model.parameters())


def test_parameters_are_those_that_train_or_not():
    assert count_parameters(nn.Linear(3, 4)) == 16
