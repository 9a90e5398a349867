"""Fixtures made by running upstream: same weights, same input, same everything.

Every `*.pt` of $PARITY_DIR (default: tests/data/parity and, where it exists beside the repository,
../shared/parity) is a case; the format and the tolerances are in tests/data/parity/README.md.
"""

import os
from pathlib import Path

import pytest
import torch

from slowfast.config import get_cfg
from slowfast.models import MODEL_REGISTRY, build_model
from slowfast.models.pretrained import load_weights
from slowfast.spiking.monitor import rates_of, record_firing_rates

REPOSITORY = Path(__file__).parents[2]
FOLDERS = [REPOSITORY / "tests/data/parity", REPOSITORY.parent / "shared/parity"]
if "PARITY_DIR" in os.environ:
    FOLDERS = [Path(os.environ["PARITY_DIR"])]

# Which prefix of a fixture's name is which model, and whether this package has it.
NEURONS = {"ParametricLIFNode": "PLIF", "LIFNode": "LIF", "IFNode": "IF"}


def fixture_files() -> list[Path]:
    found = {}
    for folder in FOLDERS:
        for path in sorted(folder.glob("*.pt")):
            found.setdefault(path.name, path)
    return list(found.values())


def config_of(fixture: dict):
    """The config a fixture's facts stand for."""
    facts = fixture["config"]
    cfg = get_cfg()
    cfg.merge_from_other_cfg(facts["cfg"])
    cfg.DATA.TEST_CROP_SIZE = cfg.DATA.TRAIN_CROP_SIZE
    if "neuron" not in facts:
        return cfg
    name, _, alpha = facts["surrogate"].partition("(alpha=")
    cfg.merge_from_list(
        [
            *("DATA.NUM_FRAMES", facts["TN"]),
            *("SNN.NEURON", NEURONS[facts["neuron"]], "SNN.TAU", facts["init_tau"]),
            *("SNN.V_THRESHOLD", facts["v_threshold"], "SNN.V_RESET", facts["v_reset"]),
            *("SNN.SURROGATE", name, "SNN.SURROGATE_ALPHA", alpha.rstrip(")")),
            *("SNN.DETACH_RESET", facts["detach_reset"]),
        ]
    )
    return cfg


def state_of(fixture: dict) -> dict:
    """The weights of a fixture: as stored, or made again from its recipe."""
    if fixture["state_dict"]:
        return fixture["state_dict"]
    generator = torch.Generator().manual_seed(fixture["recipe_seed"])
    state = {}
    for key, shape, _, kind, scale, shift in fixture["recipe"]:
        tensor = torch.zeros(shape)
        if kind == "normal":
            tensor = tensor.normal_(0, 1, generator=generator) * scale + shift
        elif kind == "uniform":
            tensor = tensor.uniform_(0, 1, generator=generator) * scale + shift
        state[key] = tensor
    return state


def is_supported(path: Path) -> bool:
    facts = torch.load(path, weights_only=True)["config"]
    name = facts.get("cfg", {}).get("MODEL", {}).get("MODEL_NAME")
    from slowfast.config import preset_model

    return name is not None and preset_model(name) in MODEL_REGISTRY


CASES = [path for path in fixture_files() if is_supported(path)]


@pytest.fixture(scope="module", params=CASES, ids=lambda path: path.stem)
def case(request):
    """A fixture and what our model makes of it: evaluated, then trained for one step, from rest each time."""
    fixture = torch.load(request.param, weights_only=True)
    model = build_model(config_of(fixture))
    load_weights(model, state_of(fixture))
    clips = fixture["input"]
    ours = {}
    model.eval()
    with torch.no_grad(), record_firing_rates(model) as rates:
        ours["output_eval"] = model([clips])
    ours["firing_rates_eval"] = rates_of(rates.totals())
    model.train()
    with record_firing_rates(model) as rates:
        ours["output_train"] = model(clips)
    ours["firing_rates_train"] = rates_of(rates.totals())
    (ours["output_train"] * fixture["cotangent"]).sum().backward()
    return fixture, model, ours


def test_there_are_fixtures():
    assert CASES


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_logits_and_firing_rates_are_upstreams(case, mode):
    fixture, _, ours = case
    torch.testing.assert_close(ours[f"output_{mode}"], fixture[f"output_{mode}"], atol=2e-5, rtol=0)
    expected = fixture[f"firing_rates_{mode}"] or {}
    assert ours[f"firing_rates_{mode}"].keys() == expected.keys()
    for name, rate in expected.items():
        assert ours[f"firing_rates_{mode}"][name] == pytest.approx(rate, abs=1e-6), name


def test_gradients_are_upstreams(case):
    fixture, model, _ = case
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert {name for name, p in model.named_parameters() if p.grad is None} == set(fixture["no_grad_params"])
    total = sum(norm**2 for norm in fixture["grad_norms"].values()) ** 0.5
    for name, norm in fixture["grad_norms"].items():
        tolerance = 5e-3 * norm + 1e-4 * total
        assert gradients[name].norm().item() == pytest.approx(norm, abs=tolerance), name
        # The sum tells a flipped sign, which the norm does not; its entries add up their errors.
        tolerance *= gradients[name].numel() ** 0.5
        assert gradients[name].sum().item() == pytest.approx(fixture["grad_sums"][name], abs=tolerance), name


def test_buffers_after_one_training_step_are_upstreams(case):
    fixture, model, _ = case
    buffers = dict(model.named_buffers())
    for name, (total, norm) in fixture["buffers_after_train"].items():
        values = buffers[name].double()
        assert values.norm().item() == pytest.approx(norm, rel=1e-5, abs=1e-6), name
        assert values.sum().item() == pytest.approx(total, rel=1e-5, abs=1e-5 * (norm + 1)), name
