import pytest
import torch
from spikingjelly.activation_based import surrogate
from torch import nn

from slowfast.models import build_model
from slowfast.spiking import IF, per_step
from slowfast.spiking.packing import pack_spikes


class Block(nn.Module):
    """One neuron read by two convolutions, so that both save the same spikes."""

    def __init__(self):
        super().__init__()
        self.neuron = IF(v_threshold=0.5, step_mode="m")
        self.first, self.second = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3)

    def forward(self, x):
        spikes = self.neuron(x)
        return per_step(self.first, spikes).sum() + per_step(self.second, spikes[:, 1:]).sum()


def test_the_gradients_are_the_same():
    x, gradients = torch.rand(3, 2, 4, 9, 9), []
    for wrap in (lambda model: model, pack_spikes):
        torch.manual_seed(0)
        block = wrap(Block())
        leaf = x.clone().requires_grad_()
        block(leaf).backward()
        gradients.append([leaf.grad, *(parameter.grad for parameter in block.parameters())])
    for plain, packed in zip(*gradients, strict=True):
        assert torch.equal(plain, packed)


def test_what_is_not_zero_or_one_is_not_packed():
    """SpikingJelly's switch: a surrogate out of spiking mode answers smoothly."""
    x, gradients = torch.rand(3, 2, 4, 9, 9), []
    for wrap in (lambda model: model, pack_spikes):
        torch.manual_seed(0)
        block = Block()
        block.neuron.surrogate_function = surrogate.Sigmoid(spiking=False)
        wrap(block)(x).backward()
        gradients.append(block.first.weight.grad)
    assert torch.equal(*gradients)


def test_both_views_of_the_spikes_share_one_bit_a_spike(monkeypatch):
    import slowfast.spiking.packing as module

    made = []

    class Noted(module.PackedSpikes):
        def __init__(self, flat):
            super().__init__(flat)
            made.append((flat.numel(), self.bits[0].numel()))

    monkeypatch.setattr(module, "PackedSpikes", Noted)
    x = torch.rand(3, 2, 4, 9, 9, requires_grad=True)
    loss = pack_spikes(Block())(x)
    assert made == [(x.numel(), x.numel() // 8)]
    loss.backward()


def test_an_error_in_the_forward_leaves_no_hooks_behind():
    block = pack_spikes(Block())
    with pytest.raises(ValueError, match="at least one time step"):
        block(torch.empty(0, 1, 4, 9, 9))
    weight = torch.ones(3, requires_grad=True)
    product = weight * 2 * weight
    product.sum().backward()
    assert weight.grad.tolist() == [4, 4, 4]
    pack_spikes(Block())(torch.rand(2, 1, 4, 9, 9)).backward()


def test_a_model_trains_to_the_same_gradients(tiny_cfg):
    gradients = []
    for packs in (False, True):
        torch.manual_seed(0)
        options = ("SNN.NEURON", "PLIF", "SNN.TAU", 2.0, "SNN.SURROGATE", "atan", "SNN.PACK_SPIKES", packs)
        model = build_model(tiny_cfg(*options)).train()
        torch.manual_seed(1)
        model([torch.randn(2, 3, 3, 32, 32)]).square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for plain, packed in zip(*gradients, strict=True):
        assert torch.equal(plain, packed)
