"""Fixtures made by running upstream: same weights, same input, same everything.

Every `*.pt` of $PARITY_DIR (default: tests/data/parity and, where it exists beside the repository,
../shared/parity) is a case; the format and the tolerances are in tests/data/parity/README.md.
"""

import math
from contextlib import contextmanager
from functools import partial
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from parity_fixtures import (
    UpstreamNames,
    clips_of,
    config_of,
    fixture_files,
    layer_norm_epsilon,
    load_fixture,
    model_name,
    state_of,
)
from torch import Tensor, nn

from slowfast.models import build_model
from slowfast.models.pretrained import load_weights
from slowfast.spiking import SpikingNeuron
from slowfast.spiking.monitor import rates_of, record_firing_rates

EVERY_BLOCK = ("MODEL.USE_CHECKPOINT", True, "MODEL.CHECKPOINT_NUM", [99] * 4)
UNFUSED = ("SNN.FUSE_NORM", False)
WAYS = {"": (), "-checkpointed": EVERY_BLOCK, "-unfused": UNFUSED}
CASES = [
    pytest.param((path, options), id=path.stem + way)
    for path in fixture_files()
    for way, options in WAYS.items()
    if options is not UNFUSED or "v_threshold" in load_fixture(path)["config"]
]


def run(fixture: dict, model: nn.Module) -> Tensor | tuple[Tensor, ...]:
    """Logits; with a token mask the features of the mixed clips, as recorded."""
    clips, *mask = clips_of(fixture)
    return model.forward_features(clips, *mask) if mask else model(clips)


def parts(output) -> list[Tensor]:
    """A distillation head gives a pair of logits in training."""
    return list(output) if isinstance(output, list | tuple) else [output]


@pytest.fixture(scope="module", params=CASES)
def case(request):
    """A fixture and what our model makes of it: evaluated, then trained for one step, from rest each time."""
    path, options = request.param
    fixture = load_fixture(path)
    cfg = config_of(fixture)
    cfg.merge_from_list(list(options))
    model = build_model(cfg)
    state = state_of(fixture)
    names = UpstreamNames(model, load_weights(model, state))
    ours = {}
    for mode in ("eval", "train"):
        model.train(mode == "train")
        with torch.set_grad_enabled(mode == "train"), record_firing_rates(model) as rates:
            ours[f"output_{mode}"] = parts(run(fixture, model))
        ours[f"firing_rates_{mode}"] = {names.module(name): rate for name, rate in rates_of(rates.totals()).items()}
    pairs = zip(ours["output_train"], parts(fixture["cotangent"]), strict=True)
    sum((output * cotangent).sum() for output, cotangent in pairs).backward()
    gradients = {names.tensor(name): parameter.grad for name, parameter in model.named_parameters()}
    # Of token mixing upstream recorded the features: there is no head.
    ours["gradients"] = {name: gradient for name, gradient in gradients.items() if name in state}
    ours["buffers"] = {names.tensor(name): buffer for name, buffer in model.named_buffers()}
    return fixture, ours


def test_there_are_fixtures():
    assert CASES


@pytest.mark.parametrize("path", fixture_files(), ids=lambda path: path.stem)
def test_the_recipe_makes_upstreams_weights(path):
    fixture = load_fixture(path)
    state = state_of(fixture)
    assert state.keys() == fixture["state_checksums"].keys()
    for name, (total, norm) in fixture["state_checksums"].items():
        assert state[name].double().norm().item() == pytest.approx(norm, rel=1e-9), name
        assert state[name].double().sum().item() == pytest.approx(total, rel=1e-9, abs=1e-9 * (norm + 1)), name


@pytest.mark.parametrize("path", fixture_files(), ids=lambda path: path.stem)
def test_epsilons_that_no_tolerance_sees_are_upstreams(path):
    fixture = load_fixture(path)
    modules = list(build_model(config_of(fixture)).modules())
    epsilon = layer_norm_epsilon(fixture)
    assert all(module.eps == epsilon for module in modules if isinstance(module, nn.LayerNorm) and epsilon)
    batch_norms = [module for module in modules if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    assert all((norm.eps, norm.momentum) == (1e-5, 0.1) for norm in batch_norms)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_logits_and_firing_rates_are_upstreams(case, mode):
    fixture, ours = case
    for output, expected in zip(ours[f"output_{mode}"], parts(fixture[f"output_{mode}"]), strict=True):
        torch.testing.assert_close(output, expected, atol=2e-5, rtol=0)
    expected = fixture[f"firing_rates_{mode}"] or {}
    assert ours[f"firing_rates_{mode}"].keys() == expected.keys()
    for name, rate in expected.items():
        assert ours[f"firing_rates_{mode}"][name] == pytest.approx(rate, abs=1e-6), name


def test_gradients_are_upstreams(case):
    fixture, ours = case
    gradients = {name: gradient for name, gradient in ours["gradients"].items() if gradient is not None}
    assert ours["gradients"].keys() - gradients.keys() == set(fixture["no_grad_params"])
    assert gradients.keys() == fixture["grad_norms"].keys()
    total = math.hypot(*fixture["grad_norms"].values())
    for name, norm in fixture["grad_norms"].items():
        tolerance = 5e-3 * norm + 1e-4 * total
        assert gradients[name].norm().item() == pytest.approx(norm, abs=tolerance), name
        # The sum tells a flipped sign, which the norm does not; its entries add up their errors.
        tolerance *= gradients[name].numel() ** 0.5
        assert gradients[name].sum().item() == pytest.approx(fixture["grad_sums"][name], abs=tolerance), name


def test_buffers_after_one_training_step_are_upstreams(case):
    fixture, ours = case
    for name, (total, norm) in fixture["buffers_after_train"].items():
        values = ours["buffers"][name].double()
        assert values.norm().item() == pytest.approx(norm, rel=1e-5, abs=1e-6), name
        assert values.sum().item() == pytest.approx(total, rel=1e-5, abs=1e-5 * (norm + 1)), name


@pytest.mark.parametrize("path", fixture_files(), ids=lambda path: path.stem)
def test_bfloat16_autocast_stays_near(path):
    skip_where_torch_gives_nan(model_name(path))
    fixture = load_fixture(path)
    model = build_model(config_of(fixture)).eval()
    load_weights(model, state_of(fixture))
    with torch.no_grad():
        with recorded_spikes(model) as recorded:
            expected = parts(run(fixture, model))
        with forced_spikes(model, recorded) as flips, torch.autocast("cpu", torch.bfloat16):
            outputs = parts(run(fixture, model))
    for output, reference in zip(outputs, expected, strict=True):
        assert (output.float() - reference).norm() <= 2e-2 * reference.norm()
    assert all(share < 0.005 for share in flips.values())


def skip_where_torch_gives_nan(model: str, convolve=F.conv2d) -> None:
    """Skips ReSpike on CPUs where torch's own bf16 convolution, of maps as small as its last, gives NaN or infinity."""
    if model != "ReSpike":
        return
    x = torch.rand(3, 256, 4, 2, dtype=torch.bfloat16)
    weights = [torch.rand(512, 256, size, size, dtype=torch.bfloat16) for size in (1, 3)]
    # The fault comes and goes: each is tried ten times.
    tries = [convolve(x, weight, stride=2, padding=weight.shape[-1] // 2).isfinite().all() for weight in weights * 10]
    if not all(tries):
        pytest.skip("torch's own bf16 convolution of [3, 256, 4, 2] with stride 2 is not finite on this CPU")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_only_respike_is_skipped_and_only_where_torchs_convolution_is_not_finite(value):
    def convolution(last):
        """Right but for one number of the twentieth call."""
        numbers = iter([0.0] * 19 + [last])

        def convolve(x, weight, **options):
            assert (x.dtype, weight.dtype, options["stride"]) == (torch.bfloat16, torch.bfloat16, 2)
            y = F.conv2d(x.float(), weight.float(), **options)
            y[-1, -1, -1, -1] = next(numbers)
            return y

        return convolve

    skip_where_torch_gives_nan("MetaSpikeFormer", convolution(value))
    skip_where_torch_gives_nan("ReSpike", convolution(1.0))
    with pytest.raises(pytest.skip.Exception, match=r"bf16 convolution of \[3, 256, 4, 2\] with stride 2"):
        skip_where_torch_gives_nan("ReSpike", convolution(value))


@contextmanager
def recorded_spikes(model: nn.Module):
    """Name of each neuron -> the spikes it gave within, and its trains that rounding may change."""
    recorded = {}

    def record(name, neuron, arguments, options, spikes):
        recorded[name] = spikes, near_threshold(neuron, arguments, options)

    with hooked_neurons(model, record):
        yield recorded


def near_threshold(neuron: nn.Module, arguments: tuple, options: dict) -> Tensor:
    """[B, ...], true where a threshold 1 % lower or higher gives another train of spikes.

    Products of spikes are whole multiples of one number, so that many potentials at once can lie near it.
    """
    trains = []
    for factor in (0.99, 1.01):
        with mock.patch.object(neuron, "v_threshold", factor * neuron.v_threshold):
            trains.append(neuron.forward(*arguments, **options))
    return (trains[0] != trains[1]).any(0)


@contextmanager
def forced_spikes(model: nn.Module, recorded: dict[str, tuple[Tensor, Tensor]]):
    """Neurons give the recorded spikes whatever they computed; name -> share of the spikes that differ without cause.

    One flipped spike changes all that follows, so that rounding could not be told from a mistake otherwise.
    """
    flips = {}

    def force(name, neuron, arguments, options, output):
        spikes, near = recorded[name]
        flips[name] = ((output != spikes) & ~near).float().mean().item()
        return spikes.to(output.dtype)

    with hooked_neurons(model, force):
        yield flips


@contextmanager
def hooked_neurons(model: nn.Module, function):
    """Calls `function(name, neuron, arguments, options, spikes)` after every neuron; what it returns replaces them."""
    neurons = [(name, module) for name, module in model.named_modules() if isinstance(module, SpikingNeuron)]
    hooks = [module.register_forward_hook(partial(function, name), with_kwargs=True) for name, module in neurons]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
