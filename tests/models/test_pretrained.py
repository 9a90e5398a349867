import pytest
import torch

from slowfast.models import build_model
from slowfast.models.pretrained import load_weights
from slowfast.utils.checkpoint import CheckpointError


@pytest.fixture
def model(tiny_cfg):
    return build_model(tiny_cfg())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"model_state": state, "epoch": 3},
        lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}},
        lambda state: {"model": {f"_orig_mod.{key}": value for key, value in state.items()}},
    ],
)
def test_weights_are_found_wherever_a_project_keeps_them(wrap, model, tiny_cfg, tmp_path):
    torch.save(wrap(model.state_dict()), tmp_path / "w.pyth")
    other = build_model(tiny_cfg())
    report = load_weights(other, tmp_path / "w.pyth")
    assert len(report.loaded) == len(model.state_dict())
    assert not report.missing
    assert torch.equal(other.head.weight, model.head.weight)


def test_a_head_for_other_classes_is_left_and_reported(model, tiny_cfg):
    other = build_model(tiny_cfg("MODEL.NUM_CLASSES", 9))
    before = other.head.weight.clone()
    report = load_weights(other, model.state_dict())
    assert torch.equal(other.head.weight, before)
    assert "head.weight: file (5, 32), model (9, 32)" in str(report)
    assert torch.equal(other.lpDWConv.weight, model.lpDWConv.weight)


def test_too_little_loaded_is_an_error_with_the_names(model, tiny_cfg):
    state = {key: value for key, value in model.state_dict().items() if "blocks4" not in key}
    with pytest.raises(CheckpointError, match=r"MODEL\.MAX_UNLOADED 0\.0%[\s\S]*missing \d+: blocks4"):
        load_weights(build_model(tiny_cfg()), state)
    report = load_weights(build_model(tiny_cfg()), state, max_unloaded=0.5)
    assert all(name.startswith("blocks4") for name in report.missing)


def test_weights_for_another_length_say_which_keys_to_check(model, tiny_cfg):
    with pytest.raises(CheckpointError, match=r"DATA\.NUM_FRAMES"):
        load_weights(build_model(tiny_cfg("DATA.NUM_FRAMES", 5)), model.state_dict())


def test_parts_of_names_can_be_cleared(model, tiny_cfg):
    state = {f"backbone.{key}": value for key, value in model.state_dict().items()}
    with pytest.raises(CheckpointError):
        load_weights(build_model(tiny_cfg()), state)
    assert not load_weights(build_model(tiny_cfg()), state, clear_patterns=("backbone.",)).missing


def test_a_file_without_weights_says_what_it_has():
    with pytest.raises(CheckpointError, match="holds no weights; its keys are epoch, note"):
        load_weights(torch.nn.Linear(1, 1), {"epoch": 3, "note": "x"})
