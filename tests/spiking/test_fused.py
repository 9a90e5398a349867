"""Norm and neuron as one operator against nn.BatchNorm2d and SpikingJelly's neuron."""

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode

from slowfast.spiking import BATCH_NORMS, build_neuron, checkpointed
from slowfast.spiking.neuron import LIF, PLIF, build_surrogate

T, B, C = 5, 3, 6
PLAIN = ("SNN.NEURON", "LIF", "SNN.TAU", 2.0, "SNN.V_THRESHOLD", 1.0, "SNN.SURROGATE", "atan")


def make(norm_name, neuron_class=PLIF):
    torch.manual_seed(0)
    norm = BATCH_NORMS[norm_name](C, time_steps=T)
    for parameter in norm.parameters():
        nn.init.uniform_(parameter, 0.2, 1.5)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    surrogate = build_surrogate("atan")
    return norm, neuron_class(v_threshold=0.6, surrogate_function=surrogate, detach_reset=True, step_mode="m")


def reference(norm, neuron, y):
    """nn.BatchNorm2d on [B, T * C, ...] (per step) or [T * B, C, ...] (shared), then SpikingJelly's neuron."""
    neuron.backend = "spikingjelly"
    if norm.num_features == C:
        x = nn.BatchNorm2d.forward(norm, y.flatten(0, 1).reshape(T * B, C, -1, 1)).view_as(y)
    else:
        features = y.transpose(0, 1).flatten(1, 2)
        x = nn.BatchNorm2d.forward(norm, features.reshape(B, T * C, -1, 1)).view_as(features)
        x = x.unflatten(1, (T, C)).transpose(0, 1)
    return neuron(x)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("tokens", [False, True], ids=["maps", "tokens"])
@pytest.mark.parametrize("space", [(4, 8), (3, 3), ()], ids=str)
@pytest.mark.parametrize("norm_name", BATCH_NORMS)
def test_fused_equals_norm_then_neuron(norm_name, space, tokens, training, where):
    y = torch.randn(T, B, C, *space) * 2 + 0.5
    if tokens:
        y = y.movedim(2, -1).contiguous().movedim(-1, 2)
    grad = torch.randn(T, B, C, *space)
    results = []
    for compute in (lambda norm, neuron, y: neuron(y, norm), reference):
        norm, neuron = (module.train(training) for module in make(norm_name))
        device = where if compute is not reference else "cpu"
        norm, neuron, leaf = norm.to(device), neuron.to(device), y.to(device).requires_grad_()
        spikes = compute(norm, neuron, leaf)
        gradients = torch.autograd.grad(spikes, [leaf, *norm.parameters(), *neuron.parameters()], grad.to(device))
        results.append([spikes, *gradients, *norm.buffers()])
    fused, expected = results
    assert torch.equal(fused[0].cpu(), expected[0])
    for actual, wanted in zip(fused[1:], expected[1:], strict=True):
        torch.testing.assert_close(actual.cpu(), wanted, rtol=1e-4, atol=1e-5 * max(1, wanted.abs().max().item()))


def test_a_mean_far_from_zero_costs_no_precision(where):
    norm, neuron = make("per_step")
    y = torch.randn(T, B, C, 8, 8, dtype=torch.float64) + 1000
    exact = nn.functional.batch_norm(y.transpose(0, 1).flatten(1, 2), None, None, training=True)
    nn.init.ones_(norm.weight)
    nn.init.zeros_(norm.bias)
    actual = norm.to(where)(y.float().to(where)).transpose(0, 1).flatten(1, 2).cpu()
    torch.testing.assert_close(actual.double(), exact, rtol=0, atol=1e-3)  # the input itself is only good to 6e-5


def test_half_storage_stays_close(where):
    y = torch.randn(T, B, C, 4, 8)
    for dtype in (torch.bfloat16, torch.float16):
        norm, neuron = make("per_step", LIF)
        norm, neuron = norm.to(where), neuron.to(where)
        rounded = y.to(dtype).to(where)
        half, full = neuron(rounded, norm), neuron(rounded.float(), norm)
        assert half.dtype == dtype
        assert torch.equal(half.float(), full)


def test_fusing_can_be_switched_off_and_changes_nothing(tiny_cfg):
    y = torch.randn(T, B, C, 4, 4)
    outputs = []
    for fuse in (True, False):
        torch.manual_seed(0)
        neuron = build_neuron(tiny_cfg(*PLAIN, "SNN.FUSE_NORM", fuse))()
        assert neuron.fuse_norm == fuse
        outputs.append(neuron(y, make("per_step")[0]))
    assert torch.equal(*outputs)


@pytest.mark.parametrize("norm_name", BATCH_NORMS)
def test_a_checkpointed_block_updates_its_norm_once(norm_name):
    y, gradients, buffers = torch.randn(T, B, C, 4, 4), [], []
    for run in (lambda block, x: block(x), checkpointed):
        norm, neuron = make(norm_name)
        conv = nn.Conv2d(C, C, 1)
        nn.init.eye_(conv.weight.data[..., 0, 0])

        def block(x, norm=norm, neuron=neuron, conv=conv):
            return neuron(conv(x.flatten(0, 1)).unflatten(0, x.shape[:2]), norm)

        leaf = y.clone().requires_grad_()
        nn.init.zeros_(conv.bias)
        run(block, leaf).sum().backward()
        gradients.append(leaf.grad)
        buffers.append(norm.running_mean.clone())
    assert torch.equal(*gradients)
    assert torch.equal(*buffers)


def test_a_block_compiles_as_one_graph():
    norm, neuron = make("per_step")
    conv = nn.Conv2d(C, C, 1)

    def block(x):
        return neuron(conv(x.flatten(0, 1)).unflatten(0, x.shape[:2]), norm) + neuron(x)

    x = torch.randn(T, B, C, 4, 4)
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager")
    norm.eval()
    torch.testing.assert_close(compiled(x), block(x))
    norm.train()
    before = norm.running_mean.clone()
    compiled(x).sum().backward()
    assert conv.weight.grad.abs().sum() > 0
    assert not torch.equal(norm.running_mean, before)


def test_the_memory_order_that_is_promised_to_compilers_is_the_one_that_comes():
    """Inductor's programs rely on it; time is not outermost in these currents."""
    (norm, neuron), x = make("per_step"), torch.rand(B, T, C, 4, 4)
    for compute in (neuron, lambda x: neuron(x, norm.eval())):
        real = compute(x.transpose(0, 1))
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            assert compute(mode.from_tensor(x).transpose(0, 1)).stride() == real.stride()


def test_autocast_keeps_the_operators_in_the_low_precision_of_their_input():
    norm, neuron = make("per_step")
    conv = nn.Conv2d(C, C, 1)
    x = torch.randn(T, B, C, 4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = conv(x.flatten(0, 1)).unflatten(0, (T, B))
        spikes = neuron(y, norm)
    assert y.dtype == spikes.dtype == torch.bfloat16
    spikes.sum().backward()
    assert neuron.w.grad.dtype == torch.float32
    assert conv.weight.grad.abs().sum() > 0
