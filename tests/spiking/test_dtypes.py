"""Models in half and double precision: parameters and states of every dtype are read as the numbers they hold."""

import copy
import inspect

import pytest
import torch
from spikingjelly.activation_based import surrogate
from tiny_models import tiny_options
from torch import nn

from slowfast.config import get_cfg
from slowfast.models import build_model
from slowfast.spiking import BATCH_NORMS, ops
from slowfast.spiking.kernels import cpu
from slowfast.spiking.neuron import IF, LIF, PLIF, build_surrogate

T, B, C = 4, 3, 5
OTHER_DTYPES = (torch.bfloat16, torch.float16, torch.float64)
SURROGATES = sorted(
    name
    for name, kind in vars(surrogate).items()
    if inspect.isclass(kind)
    and issubclass(kind, surrogate.SurrogateFunctionBase)
    and "alpha" in inspect.signature(kind.__init__).parameters
)


def randomized(module, dtype):
    """The module in `dtype` with parameters and statistics away from what they start as."""
    torch.manual_seed(0)
    for values in (*module.parameters(), *module.buffers()):
        if values.is_floating_point():
            nn.init.uniform_(values, 0.5, 1.5)
    return module.to(dtype)


def plif():
    return PLIF(init_tau=2.0, v_threshold=0.5, surrogate_function=build_surrogate("atan"))


@pytest.mark.parametrize("dtype", OTHER_DTYPES, ids=str)
def test_a_learnt_time_constant_is_read_in_its_dtype(dtype, where):
    neuron = randomized(plif(), dtype).to(where)
    full = copy.deepcopy(neuron).float()
    x = torch.randn(T, B, C, 7, device=where).to(dtype)
    spikes, expected = neuron(x), full(x.float())
    assert torch.equal(spikes.float(), expected)
    assert spikes.mean() > 0.1
    spikes.sum().backward()
    expected.sum().backward()
    assert neuron.w.grad.dtype == dtype
    torch.testing.assert_close(neuron.w.grad.float(), full.w.grad, rtol=2e-2, atol=1e-3)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("norm_name", BATCH_NORMS)
@pytest.mark.parametrize("dtype", OTHER_DTYPES, ids=str)
def test_a_norm_and_its_neuron_are_read_in_their_dtype(dtype, norm_name, training, where):
    norm, neuron = randomized(BATCH_NORMS[norm_name](C, T), dtype), randomized(plif(), dtype)
    norm, neuron = norm.to(where).train(training), neuron.to(where)
    full_norm, full_neuron = copy.deepcopy(norm).float(), copy.deepcopy(neuron).float()
    y = (torch.randn(T, B, C, 4, 4, device=where) * 2).to(dtype)
    spikes, expected = neuron(y, norm), full_neuron(y.float(), full_norm)
    assert (spikes.float() != expected).float().mean() < 1e-2  # a value beside the threshold may round over it
    assert spikes.dtype == dtype
    assert 0.1 < spikes.mean() < 0.9
    spikes.sum().backward()
    expected.sum().backward()
    for own, wanted in zip(norm.parameters(), full_norm.parameters(), strict=True):
        assert own.grad.dtype == dtype
        assert (own.grad.float() - wanted.grad).norm() < 0.05 * wanted.grad.norm() + 1e-3


@pytest.mark.parametrize("name", ["SVFormer", "MetaSpikeFormer"])
@pytest.mark.parametrize("dtype", OTHER_DTYPES, ids=str)
def test_the_kernels_compute_a_model_in_another_dtype_as_torch_does(name, dtype, monkeypatch):
    if cpu.compiler() is None:
        pytest.skip("no C++ compiler")
    cfg = get_cfg()
    cfg.merge_from_list(["MODEL.NUM_CLASSES", 5, *tiny_options(name)])
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    x = torch.rand(2, 3, 3, 32, 32)
    with torch.no_grad():
        full, other = model(x), copy.deepcopy(model).to(dtype)
        compiled = other(x.to(dtype)).float()
        monkeypatch.setattr(ops, "backend", lambda tensor: ops.eager)
        plain = other(x.to(dtype)).float()
    torch.testing.assert_close(compiled, plain, rtol=0, atol=1e-3)
    # In bf16 spikes near the threshold flip; with garbage for parameters nothing is near fp32.
    assert (compiled - full).norm() < 0.9 * full.norm()


@pytest.mark.parametrize("name", SURROGATES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_spikes_have_the_dtype_of_the_current(name, dtype):
    for neuron in (LIF(tau=2.0), IF(), plif()):
        neuron.v_threshold, neuron.surrogate_function = 0.5, build_surrogate(name)
        x = (torch.rand(3, 2, 4) * 2).to(dtype).requires_grad_()
        spikes = neuron(x)
        assert spikes.dtype == dtype
        assert set(spikes.unique().tolist()) == {0, 1}
        spikes.sum().backward()
        assert x.grad.dtype == dtype


WRONG = {
    "a row in bf16": {"scale": torch.ones(T, C, dtype=torch.bfloat16)},
    "a row in fp64": {"scale": torch.ones(T, C, dtype=torch.float64)},
    "one row for all steps": {"scale": torch.ones(1, C)},
    "strided rows": {"scale": torch.ones(C, T).t()},
    "rows on another device": {"scale": torch.ones(T, C, device="meta")},
    "k in bf16": {"k": torch.ones(C, dtype=torch.bfloat16)},
    "one k for all channels": {"k": torch.ones(1)},
    "a state in fp64": {"v": torch.zeros(B, C, dtype=torch.float64)},
    "a state of another batch": {"v": torch.zeros(1, C)},
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("where", ["cpu", "cuda text"], indirect=True)
def test_no_kernel_starts_on_an_argument_that_it_would_misread(wrong, where):
    kernels, (dynamics, _) = ops.backend(torch.ones(1)), plif().dynamics()
    y = torch.rand(T, B, C)
    right = {"scale": torch.ones(T, C), "shift": torch.zeros(T, C), "k": torch.ones(C), "v": torch.zeros(B, C)}
    assert kernels.fire(y, **right, dynamics=dynamics)[0].shape == y.shape
    with pytest.raises(RuntimeError, match="Kernel forward takes as"):
        kernels.fire(y, **(right | WRONG[wrong]), dynamics=dynamics)
