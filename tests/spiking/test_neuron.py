import re

import pytest
import torch
from spikingjelly.activation_based import functional
from torch.autograd.forward_ad import dual_level, make_dual

from slowfast.spiking import NEURON_REGISTRY, SharedBatchNorm, SpikingNeuron, build_neuron
from slowfast.spiking.neuron import build_surrogate

NEURONS = [name for name, _ in NEURON_REGISTRY]


@pytest.fixture(params=NEURONS)
def neuron(request, tiny_cfg):
    return build_neuron(tiny_cfg("SNN.NEURON", request.param, *published()))()


def published():
    return ("SNN.TAU", 2.0, "SNN.V_THRESHOLD", 0.5, "SNN.SURROGATE", "atan")


def lif_by_hand(x, decay, v_threshold):
    """Charge, fire, hard reset to 0, a step at a time (NEURONS: h = v + (x - v) * decay)."""
    v, spikes = torch.zeros_like(x[0]), []
    for current in x:
        h = v + (current - v) * decay
        spike = (h >= v_threshold).to(x.dtype)
        v = (1 - spike) * h
        spikes.append(spike)
    return torch.stack(spikes)


@pytest.mark.parametrize("name", ["LIF", "PLIF"])
def test_leaky_neurons_follow_their_equation(name, tiny_cfg):
    node = build_neuron(tiny_cfg("SNN.NEURON", name, *published(), "SNN.TAU", 4 / 3))()
    x = torch.rand(6, 2, 50) * 2
    assert torch.equal(node(x), lif_by_hand(x, 0.75, 0.5))


def test_if_sums_its_input(tiny_cfg):
    node = build_neuron(tiny_cfg("SNN.NEURON", "IF", *published(), "SNN.V_THRESHOLD", 1.0))()
    x = torch.full((5, 1, 1), 0.5)
    assert node(x).flatten().tolist() == [0, 1, 0, 1, 0]


@pytest.mark.parametrize("v_threshold", [0.5, 0.7])  # 0.7 is no float: its nearest in fp32 is the threshold
@pytest.mark.parametrize("name", ["IF", "LIF", "PLIF"])
def test_a_threshold_met_exactly_fires(name, v_threshold, where, tiny_cfg):
    """Heaviside(0) = 1, whoever computes it, behind a norm too; the next float below stays silent."""
    met = torch.tensor(v_threshold)
    below = torch.nextafter(met, torch.tensor(0.0))
    current = torch.stack([met, below]) * (1 if name == "IF" else 2)  # a tau of 2 halves it
    x = torch.stack([torch.zeros(2), current])[:, None].to(where)  # [T, B, C]
    norm = SharedBatchNorm(2, 2).eval().to(where)
    norm.eps = 0.0  # so that it changes nothing
    for backend in ("auto", "spikingjelly"):
        node = build_neuron(
            tiny_cfg("SNN.NEURON", name, *published(), "SNN.V_THRESHOLD", v_threshold, "SNN.BACKEND", backend)
        )().to(where)
        spikes, v = node.stream(x)
        for found in (spikes, node(x), node(x, norm)):
            assert found.flatten().tolist() == [0, 0, 1, 0]
        assert v.flatten().tolist() == [0, below.item()]


def test_an_ilif_fires_as_often_as_its_thresholds_are_met(tiny_cfg):
    """It rounds h / V_THRESHOLD, halves to the even number."""
    node = build_neuron(tiny_cfg("SNN.NEURON", "ILIF", *published()))()
    h = torch.tensor([-1e9, 0.25, 0.26, 0.5, 0.75, 1.0, 2.0, 1e9])
    assert node(h[None, None]).flatten().tolist() == [0, 0, 1, 1, 2, 2, 4, 4]


def test_a_call_leaves_nothing_behind(neuron):
    x = torch.rand(4, 2, 3, 5, 5)
    first = neuron(x)
    assert torch.equal(neuron(x), first)
    assert neuron(x[:, :1]).shape == (4, 1, 3, 5, 5)  # another batch size needs no reset
    functional.reset_net(neuron)  # SpikingJelly's own tools still work on it
    assert torch.equal(neuron(x), first)


def test_a_stream_equals_the_whole_sequence(neuron):
    x = torch.rand(7, 2, 9)
    whole, v_whole = neuron.stream(x)
    head, v = neuron.stream(x[:3])
    tail, v = neuron.stream(x[3:], v)
    assert torch.equal(torch.cat([head, tail]), whole)
    assert torch.equal(v, v_whole)


@pytest.mark.parametrize("backend", ["auto", "spikingjelly"])
@pytest.mark.parametrize("shape", [(1, 9), (3, 9), (2, 8), (2, 9, 1), ()], ids=str)
def test_a_state_of_another_shape_is_refused(neuron, shape, backend):
    neuron.backend = backend
    with pytest.raises(
        ValueError, match=re.escape(f"stream is {shape} on cpu, and a time step of its input is (2, 9)")
    ):
        neuron.stream(torch.rand(4, 2, 9), torch.zeros(shape))


@pytest.mark.parametrize("state", [0.0, [0.0]])
def test_a_state_that_is_no_tensor_is_refused(state, neuron):
    with pytest.raises(TypeError, match=f"state of a stream is {type(state).__name__}; pass a tensor"):
        neuron.stream(torch.rand(4, 2, 9), state)


def test_a_state_in_the_place_of_the_norm_is_refused(neuron):
    with pytest.raises(TypeError, match=r"a current and a norm, not Tensor\. For a state call stream"):
        neuron(torch.rand(4, 2, 9), torch.rand(2, 9))


@pytest.mark.parametrize("backend", ["auto", "spikingjelly"])
def test_no_time_step_is_refused_by_one_message(neuron, backend):
    neuron.backend = backend
    for norm in (None, SharedBatchNorm(9, 6)):
        with pytest.raises(ValueError, match="needs at least one time step"):
            neuron(torch.rand(0, 2, 9), norm)


def test_a_state_on_another_device_is_refused(neuron):
    with pytest.raises(ValueError, match=r"stream is \(2, 9\) on meta, .*\(2, 9\) on cpu"):
        neuron.stream(torch.rand(4, 2, 9), torch.zeros(2, 9, device="meta"))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=str)
def test_a_state_of_another_dtype_is_taken_as_its_numbers(neuron, dtype):
    x, v = torch.rand(4, 2, 9), torch.full((2, 9), 0.25)
    for actual, wanted in zip(neuron.stream(x, v.to(dtype)), neuron.stream(x, v), strict=True):
        assert torch.equal(actual, wanted)


def test_potentials_are_kept_where_spikingjellys_switch_asks_for_them(neuron):
    x, norm = torch.rand(6, 2, 9), SharedBatchNorm(9, 6).eval()
    plain, plain_behind_norm = neuron(x), neuron(x, norm)
    neuron.store_v_seq = True
    assert torch.equal(neuron(x, norm), plain_behind_norm)
    assert torch.equal(neuron(x), plain)
    whole = neuron.v_seq
    assert whole.shape == x.shape
    for t in range(len(x)):
        assert torch.equal(whole[t], neuron.stream(x[: t + 1])[1])
        assert torch.equal(neuron.v_seq, whole[: t + 1])


def test_a_surrogate_out_of_spiking_mode_answers_smoothly(tiny_cfg):
    """SpikingJelly's switch to look at gradients: the primitive of the surrogate in place of the step."""
    node = build_neuron(tiny_cfg("SNN.NEURON", "LIF", *published()))()
    node.surrogate_function.set_spiking_mode(False)
    x = torch.rand(1, 2, 9)
    assert torch.equal(node(x)[0], node.surrogate_function(x[0] / 2.0 - 0.5))


def test_switches_that_a_neuron_cannot_follow_are_refused(neuron):
    with pytest.raises(ValueError, match="step_mode can only be"):
        functional.set_step_mode(neuron, "s")
    with pytest.raises(ValueError, match=r"no backend 'torch'.*auto, cupy, spikingjelly"):
        neuron.backend = "torch"
    with pytest.raises(NotImplementedError, match="keeps no state: call stream"):
        neuron.single_step_forward(torch.rand(2, 9))
    assert type(neuron)().step_mode == "m"


def test_a_state_in_the_dtype_of_the_input_is_one_for_spikingjelly_too(tiny_cfg):
    options = ("SNN.NEURON", "LIF", *published(), "SNN.STATE_DTYPE", "input", "SNN.BACKEND")
    for backend in ("auto", "spikingjelly"):
        _, v = build_neuron(tiny_cfg(*options, backend))().stream(torch.rand(3, 2, 9).bfloat16())
        assert torch.equal(v, v.bfloat16().to(v.dtype))


@pytest.mark.parametrize("backend", ["auto", "spikingjelly"])
def test_forward_mode_differentiation_is_right_or_refused(neuron, backend):
    """torch would give zeros for our operators, in silence; it differentiates the ILIF itself."""
    neuron.backend = backend
    x, direction, weights = torch.rand(4, 2, 3, requires_grad=True), torch.randn(4, 2, 3), torch.randn(4, 2, 3)
    if type(neuron).__name__ == "ILIF":
        _, change = torch.func.jvp(neuron, (x,), (direction,))
        (gradient,) = torch.autograd.grad(neuron(x), x, weights)
        torch.testing.assert_close((change * weights).sum(), (gradient * direction).sum())
        return
    with pytest.raises((NotImplementedError, RuntimeError), match=r"forward-mode|autograd.Function with functorch"):
        torch.func.jvp(neuron, (x.detach(),), (direction,))
    for name, parameter in neuron.named_parameters():
        with dual_level(), pytest.raises(NotImplementedError, match=r"forward-mode|forward mode"):
            dual = make_dual(parameter.detach(), torch.ones_like(parameter))
            torch.func.functional_call(neuron, {name: dual}, x)


def test_the_gradient_reaches_input_and_parameters(neuron):
    x = torch.rand(4, 3, 8, requires_grad=True)
    (neuron(x) * torch.randn(4, 3, 8)).sum().backward()
    assert x.grad.abs().sum() > 0
    for name, parameter in neuron.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_half_precision_input_gives_half_precision_spikes_and_fp32_state(neuron):
    spikes, v = neuron.stream(torch.rand(3, 2, 4, dtype=torch.bfloat16))
    assert spikes.dtype == torch.bfloat16
    assert v.dtype == torch.float32


def test_no_time_steps_is_an_error(neuron):
    with pytest.raises(ValueError, match="at least one time step"):
        neuron(torch.zeros(0, 2, 3))


def test_a_soft_reset_keeps_what_is_above_the_threshold(tiny_cfg):
    node = build_neuron(tiny_cfg("SNN.NEURON", "IF", *published(), "SNN.V_RESET", None))()
    _, v = node.stream(torch.tensor([0.75]).view(1, 1, 1))
    assert v.item() == 0.25


def test_unset_values_are_named(tiny_cfg):
    with pytest.raises(ValueError, match=r"SNN\.NEURON, SNN\.TAU"):
        build_neuron(tiny_cfg())


def test_an_unknown_neuron_lists_those_that_exist(tiny_cfg):
    with pytest.raises(KeyError, match="Did you mean PLIF"):
        build_neuron(tiny_cfg("SNN.NEURON", "PLIV", *published()))


def test_surrogates_are_found_by_name_and_sharpness():
    assert build_surrogate("ATan", 3.0).alpha == 3.0
    assert type(build_surrogate("sigmoid")).__name__ == "Sigmoid"
    with pytest.raises(ValueError, match="sigmoid"):
        build_surrogate("tanh2")


def test_a_new_neuron_is_one_class(tiny_cfg):
    from spikingjelly.activation_based import neuron as sj

    class Leaky(SpikingNeuron, sj.LIFNode):
        @classmethod
        def from_config(cls, cfg, **common):
            return cls(tau=8.0, **common)

    NEURON_REGISTRY.register(Leaky)
    try:
        node = build_neuron(tiny_cfg("SNN.NEURON", "Leaky", *published()))()
        x = torch.rand(4, 2, 6) * 4
        assert torch.equal(node(x), lif_by_hand(x, 1 / 8, 0.5))
    finally:
        del NEURON_REGISTRY._obj_map["Leaky"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_our_cuda_kernels_cannot_be_asked_for_without_a_gpu(tiny_cfg):
    with pytest.raises(RuntimeError, match=r"SNN\.BACKEND cupy needs a CUDA device.*Set SNN\.BACKEND auto"):
        build_neuron(tiny_cfg("SNN.NEURON", "LIF", *published(), "SNN.BACKEND", "cupy"))


def test_spikingjelly_can_be_asked_for(tiny_cfg):
    x = torch.rand(6, 2, 50) * 2
    ours, theirs = (
        build_neuron(tiny_cfg("SNN.NEURON", "LIF", *published(), "SNN.BACKEND", name))()
        for name in ("auto", "spikingjelly")
    )
    assert ours.own_operator(x)
    assert not theirs.own_operator(x)
    assert torch.equal(ours(x), theirs(x))
