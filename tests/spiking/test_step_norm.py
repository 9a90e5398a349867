import torch
from torch import nn

from slowfast.spiking import LIF, StepBatchNorm
from slowfast.spiking.norm import frozen_statistics


def pair():
    """Our norm and torch's, with the same random affine and statistics, in fp64."""
    ours, theirs = StepBatchNorm(6).double(), nn.BatchNorm2d(6).double()
    for tensor in (theirs.weight, theirs.bias, theirs.running_mean, theirs.running_var):
        nn.init.uniform_(tensor, 0.5, 1.5)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def steps():
    """Steps [T, B, C, H, W] of different means and deviations."""
    x = torch.randn(4, 2, 6, 3, 5, dtype=torch.float64) * torch.rand(4, 1, 6, 1, 1) + torch.randn(4, 1, 6, 1, 1)
    return x.requires_grad_()


def test_training_is_one_call_a_step():
    ours, theirs = pair()
    x = steps()
    again = x.detach().clone().requires_grad_()
    one, other = ours(x), torch.stack([theirs(step) for step in again])
    torch.testing.assert_close(one, other)
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())
    assert ours.num_batches_tracked == 4
    cotangent = torch.randn_like(one)
    one.backward(cotangent)
    other.backward(cotangent)
    for mine, reference in ((x, again), (ours.weight, theirs.weight), (ours.bias, theirs.bias)):
        torch.testing.assert_close(mine.grad, reference.grad)


def test_evaluation_uses_the_running_statistics_for_every_step():
    ours, theirs = (norm.eval() for norm in pair())
    x = steps()
    torch.testing.assert_close(ours(x), torch.stack([theirs(step) for step in x]))


def test_a_neuron_behind_it_is_fused():
    neuron = LIF(tau=4 / 3, detach_reset=True, step_mode="m")
    x = steps().detach()
    for training in (True, False):
        norm = StepBatchNorm(6).double().train(training)
        nn.init.constant_(norm.weight, 2.0)
        before = {name: value.clone() for name, value in norm.state_dict().items()}
        fused = neuron(x, norm=norm)
        after = {name: value.clone() for name, value in norm.state_dict().items()}
        norm.load_state_dict(before)
        assert torch.equal(fused, neuron(norm(x))) and 0 < fused.mean() < 1
        torch.testing.assert_close(after, norm.state_dict())


def test_a_recomputation_leaves_the_statistics_alone():
    ours, _ = pair()
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    x = steps()
    with frozen_statistics():
        recomputed = ours(x)
    assert all(torch.equal(value, before[name]) for name, value in ours.state_dict().items())
    torch.testing.assert_close(recomputed, ours(x))
