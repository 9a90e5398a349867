import pytest
import torch
from torch import nn

from slowfast.config import get_cfg
from slowfast.evaluation.complexity import count_flops_from_shapes, count_parameters
from slowfast.models import build_model
from slowfast.models.pretrained import load_weights
from slowfast.spiking import BatchNorm, SpikingNeuron


def build(name, *options):
    cfg = get_cfg()
    cfg.merge_from_list(["MODEL.MODEL_NAME", name, *options])
    return build_model(cfg)


@pytest.mark.parametrize(
    ("name", "options", "millions"),
    [
        ("C2D", (), 24.33),  # PyTorchVideo's model zoo
        ("Slow", (), 32.45),
        ("SEWResNet", ("MODEL.NUM_CLASSES", 1000, "SEWRESNET.LAYERS", [3, 4, 6, 3]), 25.56),  # as ResNet-50
        ("Spikformer", ("MODEL.NUM_CLASSES", 1000), 16.80),
    ],
)
def test_full_size_models_have_the_published_number_of_parameters(name, options, millions):
    assert count_parameters(build(name, *options)) == pytest.approx(millions * 1e6, abs=0.005e6)


def test_blocks_may_be_named_as_they_are_and_not_otherwise():
    tiny = ("MODEL.NUM_CLASSES", 5)
    build("Slow", *tiny, "RESNET.DEPTH", 18, "RESNET.TRANS_FUNC", "basic_transform")
    build(
        "Slow", *tiny, "RESNET.TRANS_FUNC", "bottleneck_transform", "RESNET.NUM_BLOCK_TEMP_KERNEL", [[3], [4], [6], [3]]
    )
    for depth, key, value in (
        (50, "TRANS_FUNC", "basic_transform"),
        (18, "TRANS_FUNC", "x3d_transform"),
        (18, "NUM_BLOCK_TEMP_KERNEL", [[2], [2], [2], [1]]),
    ):
        with pytest.raises(ValueError, match=rf"RESNET\.{key} .* is not built with RESNET\.DEPTH {depth}.*or set "):
            build("Slow", *tiny, "RESNET.DEPTH", depth, f"RESNET.{key}", value)


def test_c2d_pools_pairs_of_frames_and_slow_does_not():
    c2d, slow = (build(name, "RESNET.DEPTH", 18) for name in ("C2D", "Slow"))
    flops = {model: [count_flops_from_shapes(model, (3, t, 64, 64)) for t in (1, 2)] for model in (c2d, slow)}
    assert flops[c2d][1] < 1.6 * flops[c2d][0]
    assert flops[slow][1] == pytest.approx(2 * flops[slow][0], rel=0.01)


def test_c2d_sees_pairs_of_frames_and_slow_a_neighbourhood():
    clips = torch.randn(1, 3, 8, 64, 64)
    changed = clips.clone()
    changed[:, :, 0] += 1
    for name, frames_told_apart in (("C2D", 1), ("Slow", 5)):  # of C2D's 4 pairs of frames, of Slow's 8 frames
        model = build(name, "RESNET.DEPTH", 18, "MODEL.NUM_CLASSES", 5).eval()
        with torch.no_grad():
            one, other = (last_stage(model, x) for x in (clips, changed))
        differs = (one != other).any(dim=(0, 1, 3, 4))
        assert differs.tolist() == [frame < frames_told_apart for frame in range(len(differs))]


def last_stage(model, x):
    """Features [B, C, T, h, w] that the classifier averages."""
    kept = {}
    hook = model.layer4.register_forward_hook(lambda _, __, output: kept.update(features=output))
    model(x)
    hook.remove()
    return kept["features"]


def test_c2d_with_image_weights_is_the_image_model_on_a_still_clip():
    from torchvision.models import resnet18

    image_model = resnet18(weights=None).train()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        image_model(images)  # running statistics that are not the initial ones
    model = build("C2D", "RESNET.DEPTH", 18, "MODEL.NUM_CLASSES", 1000)
    report = load_weights(model, image_model.state_dict())
    assert report.layout == "torchvision ResNet"
    assert not report.missing
    with torch.no_grad():
        still = model.eval()(images.unsqueeze(2).expand(-1, -1, 4, -1, -1))
        torch.testing.assert_close(still, image_model.eval()(images), atol=1e-5, rtol=1e-4)


def test_slowfasts_architecture_names_select_them():
    for arch, kernels in (("c2d", 1), ("slow", 3)):
        for name in ("ResNet", "SlowFast"):
            model = build(name, "MODEL.ARCH", arch, "RESNET.DEPTH", 18)
            assert model.layer4[0].conv1.kernel_size[0] == kernels
    with pytest.raises(ValueError, match=r"MODEL\.MODEL_NAME"):
        build("ResNet")


@pytest.mark.parametrize("name", ["SEWResNet", "Spikformer"])
def test_zoo_models_use_our_neurons_and_norms(name):
    model = build(name, "SNN.NEURON", "PLIF", "SNN.V_THRESHOLD", 0.7)
    neurons = [module for module in model.modules() if hasattr(module, "v_threshold")]
    assert all(isinstance(neuron, SpikingNeuron) and type(neuron).__name__ == "PLIF" for neuron in neurons)
    assert {neuron.v_threshold for neuron in neurons} == ({0.7, 0.35} if name == "Spikformer" else {0.7})
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    assert norms and all(isinstance(norm, BatchNorm) for norm in norms)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("SEWResNet", ("SEWRESNET.CNF", "OR"), r"SEWRESNET\.CNF is 'OR' .*one of: ADD, AND, IAND"),
        ("SEWResNet", ("SEWRESNET.BLOCK", "plain"), "one of: basic, bottleneck"),
        ("Spikformer", ("SPIKFORMER.PATCH_SIZE", 8), "one of: 4, 16"),
        ("C2D", ("RESNET.DEPTH", 20), "18, 34, 50, 101, 152"),
    ],
)
def test_impossible_settings_say_what_to_set(name, options, message):
    with pytest.raises(ValueError, match=message):
        build(name, *options)
