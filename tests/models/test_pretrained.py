import re
from pathlib import Path

import pytest
import torch

from slowfast.models import build_model
from slowfast.models.layouts import SLOWFAST_RESNET, Layout
from slowfast.models.pretrained import export_weights, initial_weights, load_weights
from slowfast.utils.files import CheckpointError


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


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda value: value * float("nan"), "NaN"),
        (lambda value: value / 0, "NaN|infinite"),
        (lambda value: value.bool(), "bool"),
        (lambda value: value.long(), "int64"),
        (lambda value: value.to(torch.complex64), "complex64"),
    ],
)
@pytest.mark.parametrize("name", ["head.weight", "lpDWConv.weight", "lpBN.running_var"])
def test_weights_that_are_no_finite_floats_are_refused_by_name(harm, said, name, model, tiny_cfg, tmp_path):
    state = model.state_dict()
    name = next(key for key in state if key.startswith(name))
    torch.save({"model_state": state | {name: harm(state[name])}}, tmp_path / "w.pyth")
    other = build_model(tiny_cfg())
    before = {key: value.clone() for key, value in other.state_dict().items()}
    with pytest.raises(CheckpointError, match=rf"w\.pyth is not loaded.* {re.escape(name)} \(({said})\)"):
        load_weights(other, tmp_path / "w.pyth", max_unloaded=1.0)
    torch.testing.assert_close(other.state_dict(), before)


def test_what_a_conversion_would_hide_is_refused_too():
    """A 2-D convolution of whole numbers is divided by the frames, which makes floats of it."""
    model = Classifier()
    state = export_weights(model)
    name = "s1.pathway0_stem.conv.weight"
    model.conv1 = torch.nn.Conv3d(3, 4, (3, 7, 7), bias=False)
    with pytest.raises(CheckpointError, match=rf"{re.escape(name)} \(int64\)"):
        load_weights(model, state | {name: state[name].squeeze(2).long()})
    load_weights(model, state | {name: state[name].squeeze(2)})


def test_weights_in_another_precision_load_and_counters_may_count(model, tiny_cfg):
    state = {key: value.bfloat16() if value.is_floating_point() else value for key, value in model.state_dict().items()}
    assert not load_weights(build_model(tiny_cfg()), state).missing


def test_parts_of_names_can_be_cleared(model, tiny_cfg):
    state = {f"backbone.{key}": value for key, value in model.state_dict().items()}
    with pytest.raises(CheckpointError):
        load_weights(build_model(tiny_cfg()), state)
    assert not load_weights(build_model(tiny_cfg()), state, clear_patterns=("backbone.",)).missing


def test_a_file_without_weights_says_what_it_has():
    with pytest.raises(CheckpointError, match="holds no weights; its keys are epoch, note"):
        load_weights(torch.nn.Linear(1, 1), {"epoch": 3, "note": "x"})


def test_a_test_never_scores_a_random_head(model, tiny_cfg):
    with pytest.raises(
        CheckpointError, match=r"head\.weight: file \(5, 32\), model \(9, 32\)[\s\S]*MODEL\.NUM_CLASSES"
    ):
        load_weights(build_model(tiny_cfg("MODEL.NUM_CLASSES", 9)), model.state_dict(), new_head=False)
    headless = {key: value for key, value in model.state_dict().items() if not key.startswith("head.")}
    with pytest.raises(CheckpointError, match="a random one is not tested"):
        load_weights(build_model(tiny_cfg()), headless, new_head=False)


def test_weights_of_a_deeper_model_are_not_cut_off_in_silence(model, tiny_cfg):
    deeper = build_model(tiny_cfg("UNIFORMER.DEPTH", [1, 1, 2, 1])).state_dict()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"0\.0% of the model .* \d+\.\d% of the file unused[\s\S]*blocks3\.1"):
        load_weights(model, deeper)
    torch.testing.assert_close(model.state_dict(), before)


def test_the_message_names_the_model_a_file_is_for(model, tiny_cfg):
    svformer = model.state_dict()
    with pytest.raises(CheckpointError, match=r"look like weights for MODEL\.MODEL_NAME SVFormer\."):
        load_weights(build_model(tiny_cfg("MODEL.MODEL_NAME", "Uniformer")), svformer)
    uniformer = build_model(tiny_cfg("MODEL.MODEL_NAME", "Uniformer")).state_dict()
    with pytest.raises(CheckpointError, match=r"look like weights for MODEL\.MODEL_NAME Uniformer\."):
        load_weights(model, uniformer)


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("s1.pathway0_stem.conv.weight", "s1.pathway1_stem.conv.weight"), "SlowFast with two pathways"),
        (("s1.pathway0_stem.conv_xy.weight", "s2.pathway0_res0.branch2.a.weight"), "SlowFast X3D"),
        (("patch_embed.proj.weight", "blocks.0.attn.pool_q.weight"), "SlowFast MViT"),
    ],
)
def test_a_file_that_no_model_reads_is_named(names, kind, model):
    with pytest.raises(CheckpointError, match=f"These are weights of {kind}, which no model here reads"):
        load_weights(model, {"model_state": {name: torch.zeros(1) for name in names}})


def test_image_weights_are_found_by_path_or_in_the_checkpoint_folder(tmp_path, monkeypatch):
    named = torch.nn.Linear(1, 1)
    assert initial_weights(named) is None
    named.pretrained = "folder/vit.safetensors"
    assert initial_weights(named) == Path("folder/vit.safetensors")
    named.pretrained = "uniformer_small_in1k"
    monkeypatch.delenv("CKPT_ROOT", raising=False)
    with pytest.raises(CheckpointError, match=r"CKPT_ROOT to the folder of uniformer_small_in1k\.pth"):
        initial_weights(named)
    monkeypatch.setenv("CKPT_ROOT", str(tmp_path))
    assert initial_weights(named) == tmp_path / "uniformer_small_in1k.pth"


class Classifier(torch.nn.Module):
    """The first stage of an image ResNet by torchvision's names, its convolutions over time."""

    layouts = (SLOWFAST_RESNET,)
    heads = ("fc.*",)

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = torch.nn.Conv3d(3, 4, (1, 7, 7), bias=False), torch.nn.BatchNorm3d(4)
        block = torch.nn.ModuleDict(
            {
                **{f"conv{i}": torch.nn.Conv3d(4, 4, 1, bias=False) for i in (1, 2, 3)},
                **{f"bn{i}": torch.nn.BatchNorm3d(4) for i in (1, 2, 3)},
                "downsample": torch.nn.ModuleList([torch.nn.Conv3d(4, 4, 1, bias=False), torch.nn.BatchNorm3d(4)]),
            }
        )
        self.layer1, self.layer4 = torch.nn.ModuleList([block]), torch.nn.ModuleList([block])
        self.fc = torch.nn.Linear(4, 5)


def test_slowfasts_resnets_go_to_torchvisions_names_and_back():
    model = Classifier()
    theirs = export_weights(model)
    names = {name for name in theirs if "num_batches" not in name and "running" not in name}
    stage = {f"branch{part}.weight" for part in ("1", "2.a", "2.b", "2.c")}
    stage |= {f"branch{part}_bn.{kind}" for part in ("1", "2.a", "2.b", "2.c") for kind in ("weight", "bias")}
    assert names == {
        *("s1.pathway0_stem.conv.weight", "s1.pathway0_stem.bn.weight", "s1.pathway0_stem.bn.bias"),
        *(f"s{stage_number}.pathway0_res0.{name}" for stage_number in (2, 5) for name in stage),
        *("head.projection.weight", "head.projection.bias"),
    }
    other = Classifier()
    report = load_weights(other, {"model_state": theirs}, new_head=False)
    assert report.layout == "SlowFast ResNet (C2D, I3D, Slow)"
    assert len(report.renamed) == len(theirs)
    torch.testing.assert_close(other.state_dict(), model.state_dict())


def test_the_name_of_a_tensor_goes_there_and_back():
    pairs = (("s{}.res{}.a.", "layer{}.{}.conv1."), ("model.", ""))
    layout = Layout("some", has=("s*",), lacks=("*.gamma",), names=pairs)
    assert layout.own_name("s2.res10.a.weight") == "layer2.10.conv1.weight"
    assert layout.their_name("layer2.10.conv1.weight") == "s2.res10.a.weight"
    assert layout.own_name("model.norm.bias") == "norm.bias"
    assert layout.their_name("norm.bias") == "model.norm.bias"
    assert layout.recognises(["s2.res10.a.weight"])
    assert not layout.recognises(["layer2.10.conv1.weight"])
    assert not layout.recognises(["s2.res10.a.weight", "s2.res10.gamma"])
