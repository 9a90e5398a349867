"""A neuron of which there is a charge alone: it works wherever SpikingJelly's neurons do."""

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import neuron as sj
from spikingjelly.activation_based import surrogate
from torch import nn
from torch._subclasses import FakeTensorMode

from slowfast.spiking import LIF, NEURON_REGISTRY, SpikingNeuron, TimeStepBatchNorm, build_neuron, ops
from slowfast.spiking.node import LEAKY_FULL_INPUT

PLAIN = ("SNN.NEURON", "LIF", "SNN.TAU", 2.0, "SNN.V_THRESHOLD", 1.0, "SNN.SURROGATE", "atan")


@pytest.fixture
def toy():
    """A neuron that exists only here: quadratic integrate and fire with a learnt rate."""
    from spikingjelly.activation_based import neuron

    class Quadratic(SpikingNeuron, neuron.BaseNode):
        charge = "v + k * v * (v - 0.5) + x"

        def __init__(self, **common):
            super().__init__(**common)
            self.rate = nn.Parameter(torch.tensor(0.2))

        def k(self):
            return self.rate

    NEURON_REGISTRY.register()(Quadratic)
    yield "Quadratic"
    NEURON_REGISTRY._obj_map.pop("Quadratic")


def test_a_new_neuron_is_a_class_with_a_charge(toy, tiny_cfg, where):
    torch.manual_seed(0)
    neuron = build_neuron(tiny_cfg(*PLAIN, "SNN.NEURON", toy))().to(where)
    x = torch.rand(6, 4, 10, device=where, requires_grad=True)
    v, expected, rate = torch.zeros(4, 10, device=where), [], neuron.rate
    for current in x:
        h = v + rate * v * (v - 0.5) + current
        expected.append(neuron.surrogate_function(h - neuron.v_threshold))
        v = torch.where(expected[-1].detach() == 1, 0.0, h)
    weights = torch.randn(6, 4, 10, device=where)
    wanted = torch.autograd.grad((torch.stack(expected) * weights).sum(), [x, rate])
    spikes = neuron(x)
    assert torch.equal(spikes, torch.stack(expected))
    for actual, gradient in zip(torch.autograd.grad((spikes * weights).sum(), [x, rate]), wanted, strict=True):
        torch.testing.assert_close(actual, gradient, rtol=1e-4, atol=1e-5)


def test_a_new_neuron_trains(toy, tiny_cfg):
    """It learns to fire as often as asked: the gradient through spikes and rate points the right way."""
    torch.manual_seed(0)
    neuron = build_neuron(tiny_cfg(*PLAIN, "SNN.NEURON", toy))()
    gain = nn.Parameter(torch.tensor(0.1))
    optimizer = torch.optim.Adam([gain, neuron.rate], 0.05)
    x, losses = torch.rand(8, 16, 20), []
    for _ in range(60):
        loss = (neuron(x * gain).mean() - 0.5).square()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 0.2
    assert losses[-1] < 0.01


def spikes_and_gradients(neuron, x, norm=None):
    x = x.clone().requires_grad_()
    spikes = neuron(x, norm)
    weights = torch.linspace(-1, 1, spikes.numel()).view_as(spikes)
    return spikes, torch.autograd.grad((spikes * weights).sum(), [x, *neuron.parameters()])


@pytest.mark.parametrize("detach_reset", [True, False])
@pytest.mark.parametrize("v_reset", [0.0, 0.1, None])
def test_spikingjellys_backend_computes_it_from_its_charge(v_reset, detach_reset, toy, tiny_cfg):
    torch.manual_seed(0)
    options = (*PLAIN, "SNN.NEURON", toy, "SNN.V_RESET", v_reset, "SNN.DETACH_RESET", detach_reset, "SNN.BACKEND")
    ours, theirs = (build_neuron(tiny_cfg(*options, name))() for name in ("auto", "spikingjelly"))
    x = torch.rand(6, 4, 10)
    spikes, gradients = spikes_and_gradients(ours, x)
    found, found_gradients = spikes_and_gradients(theirs, x)
    assert ours.own_operator(x)
    assert not theirs.own_operator(x)
    assert torch.equal(found, spikes)
    for actual, wanted in zip(found_gradients, gradients, strict=True):
        torch.testing.assert_close(actual, wanted, rtol=1e-4, atol=1e-5)
    head, v = theirs.stream(x[:2])
    assert torch.equal(torch.cat([head, theirs.stream(x[2:], v)[0]]), spikes)


def test_it_takes_surrogates_that_only_spikingjelly_computes(toy, tiny_cfg):
    torch.manual_seed(0)
    neurons = [build_neuron(tiny_cfg(*PLAIN, "SNN.NEURON", toy, "SNN.SURROGATE", name))() for name in ("atan", "S2NN")]
    x, norm = torch.rand(6, 4, 10) * 2, TimeStepBatchNorm(10, 6)
    (spikes, gradients), (found, found_gradients) = (spikes_and_gradients(neuron, x, norm) for neuron in neurons)
    assert torch.equal(found, spikes)
    assert not torch.allclose(found_gradients[0], gradients[0])  # another surrogate, another gradient
    assert all(gradient.abs().sum() > 0 for gradient in found_gradients)


def neuron_with(charge_text, base=sj.BaseNode):
    return type("Neuron", (SpikingNeuron, base), {"charge": charge_text, "k": lambda self: 0.5})


@pytest.mark.parametrize("charge", ["v * (1 / 2) + x", "v * exp(-k) + x", "v * sigmoid(x) + square(x) * 3 / 4 + x"])
@pytest.mark.parametrize("backend", ["auto", "spikingjelly"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_charge_means_the_same_wherever_it_is_computed(charge, backend, dtype, where):
    """Numbers are real numbers, also where the text becomes C, and functions take tensors and numbers."""
    neuron = neuron_with(charge)(v_threshold=0.8, surrogate_function=surrogate.ATan()).to(where)
    neuron.backend = backend
    x = torch.rand(6, 2, 40, dtype=dtype, device=where)
    spikes, gradients = spikes_and_gradients(neuron, x)
    leaf, v, expected = x.clone().requires_grad_(), torch.zeros_like(x[0]), []
    for current in leaf:
        names = {"v": v, "x": current, "k": torch.tensor(0.5), "square": torch.square}
        h = eval(charge, names | {"exp": torch.exp, "sigmoid": torch.sigmoid})
        expected.append(neuron.surrogate_function(h - 0.8))
        v = h * (1 - expected[-1])
    expected = torch.stack(expected)
    weights = torch.linspace(-1, 1, x.numel()).view_as(x).to(x)
    (wanted,) = torch.autograd.grad((expected * weights).sum(), leaf)
    assert (spikes != expected).sum() <= 1  # exp rounds in its own way
    if torch.equal(spikes, expected):
        torch.testing.assert_close(gradients[0], wanted, rtol=1e-4, atol=1e-5)


REFUSED = {
    "v ** 2 + x": r"v \*\* 2 is none of its operations",
    "v + tanh(x)": "tanh.x. calls no function of one value",
    "v + x if x > 0 else v": "none of its operations",
    "abs(v) + x": "abs.v. calls no function",
    "v + y": "y is not known",
    "v +": "it is no expression .invalid syntax",
    "v + x\0": "it is no expression",
    "v(v - 0.5) + x": r"v.v - 0.5. calls no function of one value .a product needs its \*",
    "2(v) + x": "calls no function",
    "exp(v, x)": "exp.v, x. calls no function of one value",
    "exp() + x": "calls no function",
    "v + exp(a=x)": "calls no function",
    "sigmoid + x": "sigmoid is a function, and here it has no value in brackets",
    "exp(exp) + x": "exp is a function",
    "v + x # leak": "'#' has no place in it",
    "v * 1_0 + x": "1_0 is no plain decimal number",
    "v * 0x10 + x": "0x10 is no plain decimal number",
    " v + x": "it is no expression .unexpected indent",
    "\nv + x": "it begins with white space",
    "\\\nv + x": "has no place in it",
    "v + \r x": "it is no expression",
    "--v + x": "'--' has no place in it .two signs need",
    "v ++x": "has no place in it",
    "exp(x,)": "calls no function of one value",
    "v + x * 123456789012345678901234567890": "no plain decimal number that a float holds",
    "v + \U0001d431": "not all of it is ASCII",
    "v * 1e39 + x": "1e39 is no plain decimal number that a float holds",
    "v * 1e400 + x": "1e400 is no plain decimal number",
    "v * 2j + x": "2j is no plain decimal number",
    "v * True + x": "True is no plain decimal number",
    "v + 'x'": "is no plain decimal number",
    "2": "it does not depend on x",
    "v * 0.5": "it does not depend on x",
    3: "it is int and no text",
}


@pytest.mark.filterwarnings("ignore:.*is not callable:SyntaxWarning", "ignore:invalid decimal:SyntaxWarning")
@pytest.mark.parametrize("charge", REFUSED)
@pytest.mark.parametrize("backend", ["auto", "spikingjelly"])
def test_a_charge_that_cannot_be_computed_everywhere_is_refused(charge, backend):
    """By one message, also where it is a slip that Python or sympy would take for something else."""
    with pytest.raises(ValueError, match=f"Charge .*{REFUSED[charge]}"):
        neuron_with(charge)
    if isinstance(charge, str):
        neuron = neuron_with(property(lambda self: charge))()
        neuron.backend = backend
        with pytest.raises(ValueError, match=f"Charge .*{REFUSED[charge]}"):
            neuron(torch.rand(4, 2, 3))


@pytest.mark.parametrize(
    ("charge", "said"),
    [
        ("x / 0", "divides by zero"),
        ("v + x / (v - v)", "divides by zero"),
        ("v + 0 * x", "does not depend on x"),
        ("v + x - x", "does not depend on x"),
    ],
)
@pytest.mark.parametrize("backend", ["auto", "spikingjelly"])
def test_a_charge_of_no_use_is_refused_when_it_is_computed(charge, said, backend):
    neuron = neuron_with(charge)()
    neuron.backend = backend
    with pytest.raises(ValueError, match=said):
        neuron(torch.rand(4, 2, 3))


@pytest.mark.parametrize("k", ["0.5", None, torch.ones(2), [0.5]], ids=str)
@pytest.mark.parametrize("backend", ["auto", "spikingjelly"])
def test_a_k_of_another_kind_is_refused(k, backend):
    neuron = type("Odd", (SpikingNeuron, sj.BaseNode), {"charge": "v * k + x", "k": lambda self: k})()
    neuron.backend = backend
    with pytest.raises(TypeError, match=r"Odd\.k\(\) gives .* a number or a tensor of one element"):
        neuron(torch.rand(4, 2, 3))


@pytest.mark.parametrize("backend", ["auto", "spikingjelly"])
def test_a_k_that_the_charge_has_and_the_class_has_not_is_missed(backend):
    """Else it would be 0: a neuron that is silent, and learns nothing."""
    neuron = type("Forgotten", (SpikingNeuron, sj.BaseNode), {"charge": "v + k * x"})()
    neuron.backend = backend
    with pytest.raises(TypeError, match=r"The charge of Forgotten has a k, and the class no method k\(\)"):
        neuron(torch.rand(4, 2, 3))
    with pytest.raises(TypeError, match="class Odd: k is a method that gives a number"):
        type("Odd", (SpikingNeuron, sj.BaseNode), {"charge": "v + k * x", "k": 0.5})


@pytest.mark.parametrize("backend", ["auto", "spikingjelly"])
def test_a_k_on_another_device_is_refused(backend):
    far = {"charge": "v + k * x", "k": lambda self: torch.ones(1, device="meta")}
    neuron = type("Far", (SpikingNeuron, sj.BaseNode), far)()
    neuron.backend = backend
    with pytest.raises((ValueError, RuntimeError), match="meta"):
        neuron(torch.rand(4, 2, 3))


def test_many_step_calls_of_spikingjelly_compute_the_charge_and_keep_no_state():
    neuron = neuron_with("v * 0.5 + x", sj.LIFNode)(tau=2.0)
    x = torch.rand(6, 2, 9)
    assert torch.equal(neuron.multi_step_forward(x), neuron(x))
    assert torch.equal(neuron.multi_step_forward(x), neuron(x))


def test_a_class_that_only_computes_whole_sequences_needs_no_charge():
    def forward(self, inputs, states):
        return (inputs[0].cumsum(0),), states

    neuron = type("Sums", (SpikingNeuron, sj.BaseNode), {"multi_step_functional_forward": forward})()
    assert torch.equal(neuron(torch.ones(3, 2)), torch.tensor([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]))


class Slow(LIF):
    """A k of its own."""

    def k(self):
        return 0.9


class Full(LIF):
    """The other charge than `decay_input` says."""

    charge = LEAKY_FULL_INPUT


@pytest.mark.parametrize("kind", [Slow, Full])
def test_spikingjelly_computes_only_its_own_k_and_charge(kind):
    neuron = kind(tau=2.0, surrogate_function=surrogate.ATan())
    x = torch.rand(6, 2, 40) * 2
    spikes = neuron(x)
    assert not torch.equal(spikes, LIF(tau=2.0)(x))
    neuron.backend = "spikingjelly"
    assert torch.equal(neuron(x), spikes)


@pytest.mark.parametrize("charge", ["- -v + x", "v - -x", "-(-v) + x"])
def test_signs_mean_the_same_everywhere(charge):
    neuron = neuron_with(charge)()
    x = torch.rand(6, 2, 40)
    spikes = neuron(x)
    assert torch.equal(neuron(x.double()).float(), spikes)
    neuron.backend = "spikingjelly"
    assert torch.equal(neuron(x), spikes)


def test_numbers_of_numpy_are_numbers():
    for k in (np.float32(0.5), np.int64(1)):
        numbers = {"charge": "v * k + x", "k": lambda self, k=k: k}
        assert type("Numpy", (SpikingNeuron, sj.BaseNode), numbers)()(torch.rand(4, 2, 3)).shape == (4, 2, 3)


def test_a_class_that_nothing_computes_is_refused():
    neuron = type("Empty", (SpikingNeuron, sj.BaseNode), {})()
    with pytest.raises(TypeError, match=r"how Empty computes\. Set its charge"):
        neuron(torch.rand(4, 2, 3))
    with pytest.raises(TypeError, match=r"class Late: SpikingNeuron goes before the other bases"):
        type("Late", (sj.LIFNode, SpikingNeuron), {"charge": "v + x"})


@pytest.mark.parametrize("base", [sj.LIFNode, LIF], ids=lambda base: base.__module__)
def test_a_charge_of_its_own_counts_also_on_a_base_that_has_another(base):
    bases = (base,) if issubclass(base, SpikingNeuron) else (SpikingNeuron, base)
    neuron = type("Odd", bases, {"charge": "v * 0.5 + x + x"})(tau=2.0, surrogate_function=surrogate.ATan())
    x = torch.rand(6, 2, 40)
    spikes = neuron(x)
    neuron.backend = "spikingjelly"
    assert torch.equal(neuron(x), spikes)
    assert not torch.equal(LIF(tau=2.0)(x), spikes)


@pytest.mark.parametrize("backend", ["auto", "spikingjelly"])
def test_a_nan_shows_whoever_computes(backend, toy, tiny_cfg):
    x = torch.zeros(3, 1, 2)
    x[1, 0, 0] = float("nan")
    spikes = build_neuron(tiny_cfg(*PLAIN, "SNN.NEURON", toy, "SNN.BACKEND", backend))()(x)
    assert spikes.isnan().flatten().tolist() == [False, False, True, False, True, False]


@pytest.mark.skipif(torch.cuda.is_available(), reason="test_gpu.py does it on the GPU")
def test_cuda_without_cupy_needs_no_kernel_of_ours(toy, tiny_cfg):
    """On tensors that have a device and no values: what would be launched must be torch's own operators."""
    neuron = build_neuron(tiny_cfg(*PLAIN, "SNN.NEURON", toy))()
    with FakeTensorMode(allow_non_fake_inputs=True):
        x = torch.empty(6, 4, 10, device="cuda")
        assert not neuron.own_operator(x)
        assert ops.backend(x) is ops.eager  # of the norms
        spikes, v = neuron.cuda().stream(x)
    assert (spikes.shape, v.shape, spikes.device.type) == ((6, 4, 10), (4, 10), "cuda")
