"""What only GPUs can show: streams, graphs, several devices, and tensors of more than 2^31 elements."""

import pytest
import torch
from spikingjelly.activation_based import neuron

from slowfast.spiking import LIF, SpikingNeuron, TimeStepBatchNorm
from slowfast.spiking.kernels import cuda
from slowfast.spiking.neuron import build_surrogate

pytestmark = pytest.mark.skipif(not cuda.available(), reason="no CUDA device with CuPy")
SHAPE = (4, 2, 64, 32, 32)


class Quadratic(SpikingNeuron, neuron.BaseNode):
    charge = "v + 0.2 * v * (v - 0.5) + x"


def lif() -> LIF:
    return LIF(tau=2.0, surrogate_function=build_surrogate("atan", 2.0), detach_reset=True, step_mode="m")


def test_kernels_run_on_the_current_stream():
    neuron, x, side = lif(), torch.randn(SHAPE, device="cuda"), torch.cuda.Stream()
    expected = neuron(3 * x)
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        torch.cuda._sleep(50_000_000)  # a kernel on another stream would read the current before it is written
        spikes = neuron(3 * x)
    side.synchronize()
    assert torch.equal(spikes, expected)


def test_a_training_step_is_captured_in_a_graph():
    neuron, norm = lif(), TimeStepBatchNorm(SHAPE[2], SHAPE[0]).cuda()
    x = torch.randn(SHAPE, device="cuda", requires_grad=True)
    grad = torch.randn(SHAPE, device="cuda")

    def step():
        spikes = neuron(x, norm=norm)
        return spikes, torch.autograd.grad(spikes, x, grad)[0]

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        step()  # compiles
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    with torch.no_grad():
        x.copy_(2 * torch.randn(SHAPE, device="cuda"))
    graph.replay()
    for ours, expected in zip(captured, step(), strict=True):
        assert torch.equal(ours, expected)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one GPU")
def test_each_tensor_is_computed_on_its_own_device():
    neuron, x = lif(), torch.randn(SHAPE)
    spikes = [neuron(x.to(f"cuda:{index}")) for index in (1, 0)]
    assert [found.device.index for found in spikes] == [1, 0]
    assert torch.equal(spikes[0].cpu(), spikes[1].cpu())


@pytest.mark.parametrize("node", [LIF, Quadratic])
def test_a_gpu_without_cupy_computes_the_same(node, monkeypatch):
    """By SpikingJelly or torch's operators; so do the norms."""
    torch.manual_seed(0)
    node, norm = node().cuda(), TimeStepBatchNorm(SHAPE[2], SHAPE[0]).cuda()
    x = torch.randn(SHAPE, device="cuda")
    spikes, normalised = node(x), norm(x)
    monkeypatch.setattr(cuda, "available", lambda: False)
    assert torch.equal(node(x), spikes)
    torch.testing.assert_close(norm(x), normalised)
    assert node(x.double(), norm).dtype == torch.float64


def test_more_elements_than_32_bits_count():
    block = torch.randn(4, 1 << 20, device="cuda", dtype=torch.bfloat16)
    x = block.repeat(1, 513)  # 2,151,677,952
    neuron = lif()
    with torch.no_grad():
        spikes, expected = neuron(x), neuron(block)
    assert all(torch.equal(part, expected) for part in spikes.split(1 << 20, dim=1))
