"""The operators against SpikingJelly's: on the CPU, as CUDA text compiled for the host, and on a GPU."""

import importlib.util
import os
from itertools import product

import pytest
import torch

from slowfast.spiking import TimeStepBatchNorm, ops
from slowfast.spiking.dynamics import SURROGATES, Dynamics
from slowfast.spiking.kernels import cuda
from slowfast.spiking.kernels.source import STORAGE, Variant, kernel_source
from slowfast.spiking.neuron import IF, LIF, PLIF, build_surrogate

V_THRESHOLD, TAU = 0.7, 1.7
KINDS = {
    "IF": lambda **common: IF(**common),
    "LIF": lambda **common: LIF(tau=TAU, **common),
    "LIF, input not decayed": lambda **common: LIF(tau=TAU, decay_input=False, **common),
    "PLIF": lambda **common: PLIF(init_tau=TAU, **common),
    "PLIF, input not decayed": lambda **common: PLIF(init_tau=TAU, decay_input=False, **common),
}
RESETS = (0.0, 0.1, None)
OPTIONS = list(product(KINDS, RESETS, (True, False), ("atan", "sigmoid")))
DTYPES = tuple(STORAGE)
STEPS = (1, 2, 4, 16, 17, 33)
# All options at one length and all lengths with one set of options; the whole product where it is asked for.
if os.environ.get("ALL_KERNELS"):
    COMBINATIONS = list(product(OPTIONS, DTYPES, STEPS))
else:
    COMBINATIONS = [(options, torch.float32, 4) for options in OPTIONS]
    COMBINATIONS += [((kind, 0.0, True, "atan"), dtype, 4) for kind in KINDS for dtype in DTYPES[1:]]
    COMBINATIONS += [(("PLIF", 0.0, True, "atan"), dtype, steps) for dtype in DTYPES for steps in STEPS]


def make_neuron(kind, v_reset=0.0, detach_reset=True, surrogate="atan"):
    return KINDS[kind](
        v_threshold=V_THRESHOLD,
        v_reset=v_reset,
        detach_reset=detach_reset,
        surrogate_function=build_surrogate(surrogate),
        step_mode="m",
    )


def run(neuron, x, grad, backend):
    """Spikes and gradients of input and parameters in fp32."""
    neuron.backend = backend
    x = x.clone().requires_grad_()
    spikes = neuron(x)
    gradients = torch.autograd.grad(spikes, [x, *neuron.parameters()], grad)
    return spikes.float(), [gradient.float() for gradient in gradients]


def assert_close(actual, expected, dtype):
    """To 1e-5 of the largest gradient in fp32, to 2e-2 in the half types."""
    tolerance = (1e-5 if dtype == torch.float32 else 2e-2) * expected.abs().max().item()
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance + 1e-6)


@pytest.mark.parametrize("options, dtype, steps", COMBINATIONS, ids=str)
def test_neurons_equal_spikingjelly(options, dtype, steps, where):
    torch.manual_seed(0)
    neuron = make_neuron(*options)
    x = (1.5 * torch.randn(steps, 3, 7)).to(dtype)  # 21 neurons: no multiple of any vector width
    grad = torch.randn(steps, 3, 7).to(dtype)
    spikes, gradients = run(neuron.to(where), x.to(where), grad.to(where), "auto")
    expected, expected_gradients = run(neuron.cpu(), x.float(), grad.float(), "spikingjelly")
    assert torch.equal(spikes.cpu(), expected)
    for actual, wanted in zip(gradients, expected_gradients, strict=True):
        assert_close(actual.cpu(), wanted, dtype)


@pytest.mark.parametrize("size", [8, 49, 64, 1000])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_vector_widths_and_grids(size, dtype, where):
    torch.manual_seed(0)
    neuron = make_neuron("PLIF")
    x, grad = torch.randn(2, 4, 2, size).mul(1.5).to(dtype)
    spikes, gradients = run(neuron.to(where), x.to(where), grad.to(where), "auto")
    expected, expected_gradients = run(neuron.cpu(), x.float(), grad.float(), "spikingjelly")
    assert torch.equal(spikes.cpu(), expected)
    for actual, wanted in zip(gradients, expected_gradients, strict=True):
        assert_close(actual.cpu(), wanted, dtype)


def test_memory_order_does_not_matter(where):
    torch.manual_seed(0)
    neuron = make_neuron("PLIF").to(where)
    whole = torch.randn(4, 6, 5, 8, device=where)
    grad = torch.randn(4, 6, 5, 8, device=where)
    spikes, gradients = run(neuron, whole, grad, "auto")
    for order in ((0, 2, 1, 3), (0, 3, 2, 1), (1, 0, 2, 3)):
        back = sorted(range(4), key=order.__getitem__)
        stored = whole.permute(order).contiguous().permute(back)
        other, other_gradients = run(neuron, stored, grad, "auto")
        assert torch.equal(other, spikes)
        assert torch.equal(other_gradients[0], gradients[0])
    misaligned = torch.empty(whole.numel() + 1, device=where)[1:].view_as(whole).copy_(whole)
    assert torch.equal(run(neuron, misaligned, grad, "auto")[0], spikes)
    misaligned.copy_(grad)
    assert torch.equal(run(neuron, whole, misaligned, "auto")[1][0], gradients[0])
    step = torch.randn(4, 12, 5, 8, device=where)
    assert torch.equal(neuron(step[:, ::2]), neuron(step[:, ::2].contiguous()))


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_equals_the_whole_sequence_to_the_last_bit(kind, where):
    neuron = make_neuron(kind).to(where)
    x = 2 * torch.randn(9, 4, 33, device=where)
    whole, last = neuron.stream(x)
    v, pieces = None, []
    for piece in x.split((1, 3, 4, 1)):
        spikes, v = neuron.stream(piece, v)
        pieces.append(spikes)
    assert torch.equal(torch.cat(pieces), whole)
    assert torch.equal(v, last)
    assert torch.equal(neuron(x), whole)


def test_gradients_flow_through_the_state_of_a_stream(where):
    torch.manual_seed(0)
    neuron = make_neuron("PLIF", detach_reset=False).to(where)
    x = torch.randn(6, 40, device=where).requires_grad_()
    (whole, *at_once) = torch.autograd.grad(neuron(x).sum(), [x, neuron.w])
    first, v = neuron.stream(x[:2])
    second, _ = neuron.stream(x[2:], v)
    (pieces, *in_pieces) = torch.autograd.grad(first.sum() + second.sum(), [x, neuron.w])
    torch.testing.assert_close(pieces, whole)
    torch.testing.assert_close(in_pieces, at_once)


def test_the_state_has_the_derivatives_that_finite_differences_find():
    dynamics = Dynamics("v + (x - (v - v_reset)) * k", "ATan", 2.0, 1e9, 0.1, False)  # never fires: smooth

    def last_potential(x, k, v):
        return ops.fire(x, dynamics, k, v)[1]

    x, k, v = torch.randn(5, 4).double(), torch.tensor([0.3]).double(), torch.randn(4).double()
    assert torch.autograd.gradcheck(last_potential, [value.requires_grad_() for value in (x, k, v)])


@pytest.mark.parametrize("name", SURROGATES)
def test_surrogates_are_spikingjellys(name, where):
    torch.manual_seed(0)
    for alpha in (None, 1.3):
        neuron = IF(v_threshold=0.0, v_reset=None, surrogate_function=build_surrogate(name, alpha), step_mode="m")
        x, grad = torch.randn(2, 1, 200)
        spikes, (gradient,) = run(neuron.to(where), x.to(where), grad.to(where), "auto")
        expected, (expected_gradient,) = run(neuron, x, grad, "spikingjelly")
        assert torch.equal(spikes.cpu(), expected)
        torch.testing.assert_close(gradient.cpu(), expected_gradient)


def test_an_infinite_current_fires_once(where):
    """fp16 overflows soon: 6e4 * 2 is infinite. The reset leaves nothing of it."""
    x = torch.tensor([0, float("inf"), 0.2, 0.7, 0.7], device=where).view(5, 1, 1)
    neuron = LIF(tau=2.0, v_threshold=0.5, surrogate_function=build_surrogate("atan"))
    assert neuron(x).flatten().tolist() == [0, 1, 0, 0, 1]
    assert neuron(x.double()).flatten().tolist() == [0, 1, 0, 0, 1]


def test_a_sequence_too_long_for_a_threads_stack_is_computed():
    x = torch.rand(20000, 2, 64, requires_grad=True)
    norm = TimeStepBatchNorm(64, len(x))
    PLIF(init_tau=2.0)(x, norm).sum().backward()
    assert x.grad.isfinite().all()


def test_nan_shows_and_stays(where):
    x = torch.ones(4, 2, 8, device=where)
    x[1, 0, 3] = float("nan")
    spikes = make_neuron("LIF").to(where)(x)
    assert spikes[:, 0, 3].isnan().tolist() == [False, True, True, True]
    assert spikes.isnan().sum() == 3


def test_states_can_be_rounded_to_the_dtype_of_the_input(where):
    neuron = make_neuron("LIF").to(where)
    x = torch.full((3, 1, 8), 0.01, device=where, dtype=torch.bfloat16)
    exact = neuron.stream(x)[1]
    neuron.round_state = True
    rounded = neuron.stream(x)[1]
    assert not torch.equal(rounded, exact)
    assert torch.equal(rounded, rounded.bfloat16().float())


def test_nothing_is_a_valid_batch(where):
    neuron = make_neuron("PLIF").to(where)
    x = torch.empty(4, 0, 3, device=where, requires_grad=True)
    neuron(x).sum().backward()
    assert x.grad.shape == x.shape
    assert neuron.w.grad == 0


def test_bad_inputs_are_named(where):
    neuron = make_neuron("LIF").to(where)
    with pytest.raises(ValueError, match=r"at least one time step; got an input of shape \(0, 2, 3\)"):
        neuron(torch.empty(0, 2, 3, device=where))
    with pytest.raises(TypeError, match=r"got torch.int64"):
        neuron(torch.ones(2, 3, dtype=torch.int64, device=where))


def test_the_kernels_name_the_dtypes_they_take():
    with pytest.raises(TypeError, match=r"float32.*got torch.float64"):
        kernel_source(Variant(None, torch.float64, 2, 1))


def test_the_number_of_threads_changes_no_bit():
    x, grad = torch.randn(2, 4, 8, 4096)
    results = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        spikes, gradients = run(make_neuron("PLIF"), x, grad, "auto")
        results.append([spikes, *gradients])
    torch.set_num_threads(1)
    for one, three in zip(*results, strict=True):
        assert torch.equal(one, three)


def kernel_variants():
    """What the models use: neurons alone, norms alone, both; each reset, surrogate and dtype at least once."""
    leaky = "v + (x - (v - v_reset)) * k"
    plif = Dynamics(leaky, "ATan", 2.0, 1.0, 0.0, True)
    lif = Dynamics(leaky, "Sigmoid", 4.0, 1.0, None, False, 0.5)
    integrate = Dynamics("v + x", "ATan", 2.0, 1.0, 0.0, False, 0.0, True)
    for dynamics, dtype, steps in zip((plif, lif, integrate), DTYPES, (16, 4, 33), strict=True):
        for affine, channels_last in ((False, False), (True, False), (True, True)):
            yield Variant(dynamics, dtype, steps, 2, channels_last, affine)
    for channels_last in (False, True):
        yield Variant(None, torch.bfloat16, 16, 2, channels_last, True)
    for surrogate in SURROGATES:
        yield Variant(Dynamics("v + x", surrogate, 2.0, 1.0, 0.0, True, 0.0), torch.float32, 2, 1)


@pytest.mark.skipif(importlib.util.find_spec("cupy") is None, reason="CuPy brings the compiler; it is not installed")
@pytest.mark.parametrize("architecture", [pytest.param("sm_80", marks=pytest.mark.slow), "sm_90"])
def test_the_text_compiles_for_gpus(architecture):
    from cupy.cuda import nvrtc

    variants = list(kernel_variants())
    if os.environ.get("ALL_KERNELS"):
        for (kind, *options), dtype, steps in COMBINATIONS:
            variants.append(Variant(make_neuron(kind, *options).dynamics()[0], dtype, steps, 2))
    for variant in variants:
        program = nvrtc.createProgram(kernel_source(variant), "neuron.cu", (), ())
        try:
            nvrtc.compileProgram(program, (*cuda.OPTIONS, f"-arch={architecture}"))
        except nvrtc.NVRTCError:
            pytest.fail(f"{variant}\n{nvrtc.getProgramLog(program)}")
        assert len(nvrtc.getCUBIN(program)) > 1000
        nvrtc.destroyProgram(program)
