import pytest
import torch

from slowfast.models import build_model
from slowfast.solver import build_optimizer, describe_groups, set_learning_rate


def groups_of(cfg):
    """Group name -> names of its parameters."""
    model = build_model(cfg)
    names = {id(p): name for name, p in model.named_parameters()}
    optimizer = build_optimizer(model, cfg)
    return {group["name"]: [names[id(p)] for p in group["params"]] for group in optimizer.param_groups}, names


def test_every_parameter_is_in_exactly_one_group(tiny_cfg):
    for options in ((), ("SOLVER.ZERO_WD_1D_PARAM", True), ("SOLVER.LEGACY_PARAM_GROUPS", True)):
        groups, names = groups_of(tiny_cfg(*options))
        grouped = [name for group in groups.values() for name in group]
        assert sorted(grouped) == sorted(names.values())


def test_neurons_scalars_and_norms_are_not_decayed(tiny_cfg):
    groups, _ = groups_of(tiny_cfg())
    assert "lplif.w" in groups["undecayed"]
    assert "patch_embed1.norm.weight" in groups["norms"]
    assert "head.weight" in groups["decayed"]
    assert "head.bias" in groups["decayed"]


def test_vectors_and_biases_are_spared_on_request(tiny_cfg):
    groups, _ = groups_of(tiny_cfg("SOLVER.ZERO_WD_1D_PARAM", True))
    assert "head.bias" in groups["undecayed"]
    assert all(not name.endswith(".bias") for name in groups["decayed"])


def test_legacy_groups_decay_the_neurons_scalars(tiny_cfg):
    groups, _ = groups_of(tiny_cfg("SOLVER.LEGACY_PARAM_GROUPS", True, "SOLVER.ZERO_WD_1D_PARAM", True))
    assert "lplif.w" in groups["decayed"]
    assert "head.bias" in groups["undecayed"]


@pytest.mark.parametrize(("name", "kind"), [("sgd", "SGD"), ("adam", "Adam"), ("adamw", "AdamW")])
def test_optimizers_are_chosen_by_name_and_step(name, kind, tiny_cfg):
    cfg = tiny_cfg("SOLVER.OPTIMIZING_METHOD", name, "SOLVER.WEIGHT_DECAY", 0.05)
    model = build_model(cfg)
    optimizer = build_optimizer(model, cfg)
    assert type(optimizer).__name__ == kind
    set_learning_rate(optimizer, 0.5)
    assert {group["lr"] for group in optimizer.param_groups} == {0.5}
    before = model.head.weight.clone()
    model(torch.randn(3, 3, 3, 32, 32)).sum().backward()
    optimizer.step()
    assert not torch.equal(model.head.weight, before)
    assert "weight decay 0.05" in describe_groups(optimizer)
