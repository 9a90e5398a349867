import pytest
import torch
from torch import nn

from slowfast.config import ConfigError, get_cfg
from slowfast.evaluation.complexity import count_flops, count_flops_from_shapes, count_parameters
from slowfast.models import build_model
from slowfast.models.layers import Attention
from slowfast.models.pretrained import load_weights


def tiny(*options):
    cfg = get_cfg()
    cfg.merge_from_list(
        [
            *("MODEL.MODEL_NAME", "Uniformer", "MODEL.NUM_CLASSES", 5),
            *("DATA.NUM_FRAMES", 4, "DATA.TRAIN_CROP_SIZE", 32, "DATA.TEST_CROP_SIZE", 32),
            *("UNIFORMER.EMBED_DIM", [8, 8, 16, 16], "UNIFORMER.DEPTH", [1, 1, 2, 1]),
            *("UNIFORMER.HEAD_DIM", 8, "UNIFORMER.MLP_RATIO", 2, "UNIFORMER.DROP_DEPTH_RATE", 0.0),
            *options,
        ]
    )
    return cfg


VARIANTS = {"joint": (), "split": ("UNIFORMER.SPLIT", True), "std": ("UNIFORMER.STD", True)}


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS.keys())
def variant(request):
    return request.param


# fvcore's counts of the published code at 224 x 224, 400 classes.
@pytest.mark.parametrize(
    ("name", "frames", "options", "parameters", "flops"),
    [
        ("Uniformer_S", 8, (), 21_400_400, 17_613_435_904),
        ("Uniformer_S", 16, ("UNIFORMER.SPLIT", True), 27_847_504, 36_797_175_808),
        ("Uniformer_B", 8, (), 49_813_200, 40_228_160_512),
    ],
)
@pytest.mark.parametrize("count", [count_flops_from_shapes, pytest.param(count_flops, marks=pytest.mark.slow)])
def test_published_sizes_have_the_published_cost(name, frames, options, parameters, flops, count):
    cfg = get_cfg()
    cfg.merge_from_list(["MODEL.MODEL_NAME", name, "DATA.NUM_FRAMES", frames, *options])
    with torch.device("meta"):
        model = build_model(cfg)
    assert count_parameters(model) == parameters
    assert count(model.to_empty(device="cpu"), (3, frames, 224, 224)) == flops


def test_a_clip_of_any_length_and_size_gives_logits_and_gradients_everywhere(variant):
    model = build_model(tiny(*variant))
    if variant == VARIANTS["split"]:
        wake_temporal_attention(model)
    model([torch.rand(2, 3, 6, 48, 40)]).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    assert model(torch.rand(2, 3, 4, 32, 32)).shape == (2, 5)


def wake_temporal_attention(model):
    """Its initial zeros hide it from everything."""
    for name, parameter in model.named_parameters():
        if ".t_attn." in name:
            nn.init.normal_(parameter, std=0.1)


def test_a_clip_does_not_see_its_neighbours(variant):
    model = build_model(tiny(*variant)).eval()
    clips = torch.rand(3, 3, 4, 32, 32)
    torch.testing.assert_close(model(clips)[1:2], model(clips[1:2]))


def test_split_attention_starts_without_time_and_learns_it():
    model = build_model(tiny("UNIFORMER.SPLIT", True)).eval()
    clips = torch.rand(2, 3, 4, 32, 32)
    before = model(clips)
    wake_temporal_attention(model)
    assert not torch.allclose(model(clips), before)
    block = build_model(tiny("UNIFORMER.SPLIT", True)).blocks3[0]
    tokens = torch.rand(1, 4, 2, 2, 16)  # [B, T, H, W, C]
    residual = block.t_attn(block.t_norm(tokens.flatten(2, 3).transpose(1, 2).flatten(0, 1)))
    assert not residual.any()


def test_bfloat16_autocast_stays_near(variant):
    model = build_model(tiny(*variant)).eval()
    clips = torch.rand(4, 3, 4, 32, 32)
    with torch.no_grad():
        expected = model(clips)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(clips).float()
    assert (logits - expected).norm() < 2e-2 * expected.norm()


def test_epsilons_are_upstreams():
    model = build_model(tiny("UNIFORMER.SPLIT", True))
    for name, module in model.named_modules():
        if isinstance(module, nn.LayerNorm):
            assert module.eps == (1e-5 if "patch_embed" in name else 1e-6), name


def test_recomputed_blocks_give_the_same_step(variant):
    clips = torch.rand(2, 3, 4, 32, 32)
    steps = []
    for options in ((), ("MODEL.USE_CHECKPOINT", True, "MODEL.CHECKPOINT_NUM", [1, 1, 2, 1])):
        torch.manual_seed(0)
        model = build_model(tiny(*variant, *options, "UNIFORMER.DROP_DEPTH_RATE", 0.5))
        torch.manual_seed(1)
        model(clips).sum().backward()
        steps.append(([p.grad for p in model.parameters()], dict(model.named_buffers())))
    torch.testing.assert_close(steps[0], steps[1], rtol=0, atol=0)


def test_image_weights_give_a_still_clip_the_images_activations():
    model = build_model(tiny()).eval()
    state = {key: torch.randn_like(value) for key, value in model.state_dict().items() if "num_batches" not in key}
    image = {key: value[:, :, 0] if value.dim() == 5 else value for key, value in state.items()}
    image["head.weight"], image["head.bias"] = torch.rand(1000, 16), torch.rand(1000)
    report = load_weights(model, {"model": image})
    assert "patch_embed1.proj.weight: (8, 3, 4, 4) -> (8, 3, 3, 4, 4)" in report.reshaped
    assert sum("head" in line for line in report.mismatched) == 2
    kernel = model.blocks1[0].attn
    frame = torch.rand(1, 8, 1, 6, 6)
    still = kernel(frame.expand(-1, -1, 9, -1, -1))[:, :, 4]
    expected = nn.functional.conv2d(
        frame[:, :, 0], image["blocks1.0.attn.weight"], image["blocks1.0.attn.bias"], padding=2, groups=8
    )
    torch.testing.assert_close(still, expected, rtol=1e-4, atol=1e-4)


def test_joint_weights_start_a_split_model():
    joint, split = build_model(tiny()), build_model(tiny("UNIFORMER.SPLIT", True))
    report = load_weights(split, joint.state_dict())
    assert report.missing and all(".t_" in name for name in report.missing)


def test_attention_keys_reach_every_attention():
    model = build_model(tiny("UNIFORMER.SPLIT", True, "UNIFORMER.QKV_BIAS", False, "UNIFORMER.QKV_SCALE", 0.5))
    assert not any(name.endswith("qkv.bias") for name, _ in model.named_parameters())
    assert {module.scale for module in model.modules() if isinstance(module, Attention)} == {0.5}
    clips = torch.rand(1, 3, 4, 32, 32).expand(2, -1, -1, -1, -1)
    for key in ("UNIFORMER.DROPOUT_RATE", "UNIFORMER.ATTENTION_DROPOUT_RATE", "UNIFORMER.DROP_DEPTH_RATE"):
        first, second = build_model(tiny(key, 0.5))(clips)
        assert not torch.equal(first, second), key


def test_attention_is_the_softmax_of_scaled_products():
    attention = Attention(16, 2, scale=0.3).double()
    x = torch.rand(2, 5, 16, dtype=torch.double)
    q, k, v = attention.qkv(x).view(2, 5, 3, 2, 8).permute(2, 0, 3, 1, 4)
    expected = (0.3 * q @ k.transpose(-2, -1)).softmax(-1) @ v
    torch.testing.assert_close(attention(x), attention.proj(expected.transpose(1, 2).reshape(2, 5, 16)))


def test_a_head_dimension_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match=r"UNIFORMER\.HEAD_DIM 5 does not divide 16 of UNIFORMER\.EMBED_DIM"):
        build_model(tiny("UNIFORMER.HEAD_DIM", 5))


@pytest.mark.parametrize("name", ["Uniformer_light", "Uniformer_light_xxs", "uniformer_light_LS_fp32"])
def test_the_light_models_are_refused_by_name(name):
    with pytest.raises(
        ConfigError, match=rf"MODEL\.MODEL_NAME {name} is not supported: this light variant of UniFormer"
    ):
        build_model(tiny("MODEL.MODEL_NAME", name))
