import pytest
import torch
from torch import nn

from slowfast.benchmark.stepwise import StepwiseBranch, single_step
from slowfast.config import get_cfg
from slowfast.evaluation.complexity import count_flops, count_parameters
from slowfast.models import build_model
from slowfast.models.pretrained import initial_weights, load_weights
from slowfast.spiking import StepBatchNorm


def tiny(*options):
    cfg = get_cfg()
    cfg.merge_from_list(
        [
            *("MODEL.MODEL_NAME", "ReSpike", "MODEL.NUM_CLASSES", 5, "RESPIKE.WIDTH_MULT", 2),
            *("DATA.NUM_FRAMES", 8, "DATA.TRAIN_CROP_SIZE", 64, "DATA.TEST_CROP_SIZE", 64, *options),
        ]
    )
    return cfg


def random_model(*options):
    """With fusions that do something: their last convolution starts at zero."""
    model = build_model(tiny(*options))
    for name, parameter in model.named_parameters():
        if "proj_out" in name:
            nn.init.normal_(parameter, std=0.1)
    return model


# fvcore's counts of the published code at 16 x 224 x 224, 101 classes.
@pytest.mark.parametrize(
    ("backbone", "downsample", "parameters", "flops"),
    [
        pytest.param("resnet18", False, 30_132_773, 42_622_893_408, marks=pytest.mark.slow),
        ("resnet18", True, 30_132_773, 36_868_573_632),
        pytest.param("resnet50", False, 44_708_389, 54_561_688_928, marks=pytest.mark.slow),
        pytest.param("resnet50", True, 44_708_389, 48_171_538_880, marks=pytest.mark.slow),
    ],
)
def test_published_sizes_have_the_published_cost(backbone, downsample, parameters, flops):
    cfg = get_cfg()
    cfg.merge_from_list(["MODEL.MODEL_NAME", "ReSpike", "MODEL.NUM_CLASSES", 101, "DATA.NUM_FRAMES", 16])
    cfg.merge_from_list(["RESPIKE.BACKBONE", backbone, "RESPIKE.DOWNSAMPLE", downsample])
    with torch.device("meta"):
        model = build_model(cfg)
    assert count_parameters(model) == parameters
    assert count_flops(model.to_empty(device="cpu"), (3, 16, 224, 224)) == flops


@pytest.mark.parametrize("downsample", [False, True])
@pytest.mark.parametrize("training", [True, False])
def test_all_steps_at_once_are_the_steps_one_by_one(downsample, training):
    backbone = random_model("RESPIKE.DOWNSAMPLE", downsample).snn_backbone.double()
    for norm in (module for module in backbone.modules() if isinstance(module, StepBatchNorm)):
        nn.init.uniform_(norm.running_mean, -0.1, 0.1)
        nn.init.uniform_(norm.running_var, 0.05, 0.1)
        nn.init.uniform_(norm.weight, 1.0, 2.0)
    reference = StepwiseBranch(backbone, single_step)
    frames = torch.randn(3, 2, 3, 64, 64, dtype=torch.float64)
    contexts = [torch.randn(2, 64 << i, 16 >> i, 16 >> i, dtype=torch.float64) for i in range(4)]
    spikes = []
    backbone.layer4[-1].lif2.register_forward_hook(lambda _, __, output: spikes.append(output))
    backbone.train(training)
    reference.train(training)
    ours, theirs = backbone(frames, contexts), reference(frames, contexts)
    torch.testing.assert_close(ours, theirs)
    assert 0.01 < spikes[0].mean() < 0.9
    torch.testing.assert_close(dict(backbone.named_buffers()), named_norm_buffers(reference))
    if training:
        cotangent = torch.randn_like(ours)
        (ours * cotangent).sum().backward()
        (theirs * cotangent).sum().backward()
        for (name, one), other in zip(backbone.named_parameters(), reference.parameters(), strict=True):
            assert (one.grad is None) == (other.grad is None) == (name.startswith("fusion1") and not downsample)
            if one.grad is not None:
                torch.testing.assert_close(one.grad, other.grad, msg=lambda message, name=name: f"{name}: {message}")


def named_norm_buffers(module: nn.Module) -> dict:
    return {name: value for name, value in module.named_buffers() if "running" in name or "tracked" in name}


def test_steps_and_key_frames_may_be_of_any_number():
    model = random_model("RESPIKE.KEY_FRAME_STRIDE", 2).eval()
    with torch.no_grad():
        assert model(torch.rand(2, 3, 2, 64, 32)).shape == (2, 5)
        assert model([torch.rand(2, 3, 6, 32, 64)]).shape == (2, 5)


def test_logits_are_the_mean_over_key_frames():
    model = random_model("RESPIKE.PER_KEY_FRAME_LOGITS", True).eval()
    clips = torch.rand(2, 3, 8, 64, 64)
    with torch.no_grad():
        logits = model(clips)
        assert logits.shape == (2, 2, 5)
        groups = torch.stack([model(clips[:, :, :4])[:, 0], model(clips[:, :, 4:])[:, 0]], dim=1)
        torch.testing.assert_close(logits, groups)
        model.per_key_frame = False
        torch.testing.assert_close(model(clips), logits.mean(1))


def test_what_no_fusion_uses_takes_no_gradient():
    """Data parallelism waits for the gradient of every parameter that asks for one."""
    model = random_model()
    model(torch.rand(2, 3, 8, 64, 64)).square().sum().backward()
    without = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert len(without) == 26
    assert without == {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert all(name.startswith("snn_backbone.fusion1.") for name in without)


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_torchvision_weights_start_the_key_frame_branch(backbone, tmp_path):
    from torchvision import models

    image_model = getattr(models, backbone)(weights=None).eval()
    file = tmp_path / "image.pth"
    torch.save(image_model.state_dict(), file)
    model = build_model(tiny("RESPIKE.BACKBONE", backbone, "RESPIKE.PRETRAINED", str(file))).eval()
    kept = {name: value.clone() for name, value in model.state_dict().items() if not name.startswith("ann_")}
    assert initial_weights(model) == file
    report = load_weights(model, file)
    assert report.layout == "torchvision ResNet"
    assert {name for name in report.loaded} == model.state_dict().keys() - kept.keys()
    assert all(torch.equal(model.state_dict()[name], value) for name, value in kept.items())
    features = nn.Sequential(*list(image_model.children())[:-2])
    frames = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model.key_frame_features(frames)[-1], features(frames))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("DATA.NUM_FRAMES", 6), ["DATA.NUM_FRAMES", "RESPIKE.KEY_FRAME_STRIDE 4"]),
        (("RESPIKE.KEY_FRAME_STRIDE", 1), ["RESPIKE.KEY_FRAME_STRIDE is 1", "from 2"]),
        (("DATA.TRAIN_CROP_SIZE", 40), ["DATA.TRAIN_CROP_SIZE", "40"]),
        (("RESPIKE.WIDTH_MULT", 3), ["RESPIKE.WIDTH_MULT 3"]),
        (("RESPIKE.DIM_HEAD", 24), ["RESPIKE.DIM_HEAD 24", "32 channels"]),
        (("RESPIKE.BACKBONE", "resnet34"), ["RESPIKE.BACKBONE", "resnet18, resnet50"]),
    ],
)
def test_mistakes_get_a_message(options, words):
    with pytest.raises(ValueError) as error:
        build_model(tiny(*options))
    assert all(word in str(error.value) for word in words)


def test_a_clip_of_half_a_group_gets_a_message():
    with pytest.raises(ValueError, match=r"DATA\.NUM_FRAMES"):
        build_model(tiny())(torch.rand(1, 3, 6, 64, 64))
