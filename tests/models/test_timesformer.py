import pytest
import torch
from torch import nn

from slowfast.config import get_cfg
from slowfast.evaluation.complexity import count_flops, count_flops_from_shapes, count_parameters
from slowfast.models import build_model
from slowfast.models.pretrained import export_weights, load_weights
from slowfast.models.timesformer import mix_tokens, resized_in_time
from slowfast.utils.files import CheckpointError

TYPES = ("divided_space_time", "joint_space_time", "space_only")


def tiny(*options):
    cfg = get_cfg()
    cfg.merge_from_list(
        [
            *("MODEL.MODEL_NAME", "TimeSformer", "MODEL.NUM_CLASSES", 5),
            *("DATA.NUM_FRAMES", 4, "DATA.TRAIN_CROP_SIZE", 32, "DATA.TEST_CROP_SIZE", 32),
            *("TIMESFORMER.EMBED_DIM", 16, "TIMESFORMER.DEPTH", 2, "TIMESFORMER.NUM_HEADS", 2),
            *("TIMESFORMER.DROP_PATH_RATE", 0.0, *options),
        ]
    )
    return cfg


def random_model(*options):
    """With weights that leave nothing at its initial zero."""
    model = build_model(tiny(*options))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


@pytest.fixture(params=TYPES)
def attention(request):
    return ("TIMESFORMER.ATTENTION_TYPE", request.param)


# fvcore's counts of the published code at 8 x 224 x 224, 400 classes.
@pytest.mark.parametrize(
    ("name", "attention_type", "parameters", "flops"),
    [
        ("vit_base_patch16_224", "divided_space_time", 121_566_352, 196_053_480_192),
        ("vit_base_patch16_224", "joint_space_time", 86_112_400, 179_713_429_248),
        ("vit_base_patch16_224", "space_only", 86_106_256, 140_650_789_632),
    ],
)
@pytest.mark.parametrize("count", [count_flops_from_shapes, pytest.param(count_flops, marks=pytest.mark.slow)])
def test_published_sizes_have_the_published_cost(name, attention_type, parameters, flops, count):
    cfg = get_cfg()
    cfg.merge_from_list(["MODEL.MODEL_NAME", name, "TIMESFORMER.ATTENTION_TYPE", attention_type])
    with torch.device("meta"):
        model = build_model(cfg)
    assert count_parameters(model) == parameters
    assert count(model.to_empty(device="cpu"), (3, 8, 224, 224)) == flops


def test_a_clip_of_any_length_and_size_gives_logits_and_gradients_everywhere(attention):
    model = random_model(*attention)
    model([torch.rand(2, 3, 6, 48, 32)]).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_only_attention_over_space_ignores_the_order_of_frames(attention):
    model = random_model(*attention).eval()
    clips = torch.rand(2, 3, 4, 32, 32)
    same = torch.allclose(model(clips), model(clips.flip(2)), atol=1e-5)
    assert same == (attention[1] == "space_only")


def test_time_starts_without_effect():
    model = build_model(tiny())
    assert not model.time_embed.any()
    for block in model.blocks:
        assert not block.temporal_fc.weight.any() and not block.temporal_fc.bias.any()
        assert block.attn.qkv.weight.std().item() == pytest.approx(0.02, rel=0.1)


def test_recomputed_blocks_give_the_same_step(attention):
    clips = torch.rand(2, 3, 4, 32, 32)
    steps = []
    for options in ((), ("MODEL.USE_CHECKPOINT", True, "MODEL.CHECKPOINT_NUM", [2, 0, 0, 0])):
        torch.manual_seed(0)
        model = random_model(*attention, *options, "TIMESFORMER.DROP_PATH_RATE", 0.5)
        torch.manual_seed(1)
        model(clips).sum().backward()
        steps.append([parameter.grad for parameter in model.parameters()])
    torch.testing.assert_close(steps[0], steps[1], rtol=0, atol=0)


def test_a_token_mask_chooses_between_the_clips_of_a_pair():
    model = random_model().eval()
    first, second = torch.rand(2, 2, 3, 4, 32, 32)
    both = torch.cat([first, second])
    ones = torch.ones(2, 4, 4)
    torch.testing.assert_close(model(both, ones), model(first))
    torch.testing.assert_close(model(both, 0 * ones), model(second))
    mask = ones.clone()
    mask[:, 1] = 0  # the second frame comes from the second clip
    mixed = first.clone()
    mixed[:, :, 1] = second[:, :, 1]
    torch.testing.assert_close(model(both, mask), model(mixed))


def test_a_mask_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"2B clips and a mask \[B, T, N\]: got tokens .* \(4, 4, 9\) and a mask"):
        mix_tokens(torch.rand(4, 4, 9, 16), torch.ones(2, 4, 8))
    with pytest.raises(ValueError, match="2B clips"):
        mix_tokens(torch.rand(3, 4, 9, 16), torch.ones(1, 4, 9))


def test_bfloat16_autocast_stays_near(attention):
    model = random_model(*attention).eval()
    clips = torch.rand(4, 3, 4, 32, 32)
    with torch.no_grad():
        expected = model(clips)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(clips).float()
    assert (logits - expected).norm() < 2e-2 * expected.norm()


def test_epsilons_are_upstreams():
    for module in build_model(tiny()).modules():
        assert not isinstance(module, nn.LayerNorm) or module.eps == 1e-6


# Image weights


def image_weights(grid=14, cls=1, **more):
    """A timm ViT of the tiny model's width and depth."""
    own = random_model("TIMESFORMER.ATTENTION_TYPE", "space_only").state_dict()
    own["pos_embed"] = torch.rand(1, cls + grid**2, 16)
    own["head.weight"], own["head.bias"] = torch.rand(1000, 16), torch.rand(1000)
    return own | more


def test_image_weights_start_attention_over_time_as_a_copy_of_that_over_space():
    model = build_model(tiny())
    image = image_weights()
    report = load_weights(model, image, max_unloaded=0.01)
    assert report.layout == "timm ViT"
    own = model.state_dict()
    for key, copy in {
        "blocks.1.attn.qkv.weight": "blocks.1.temporal_attn.qkv.weight",
        "blocks.0.norm1.bias": "blocks.0.temporal_norm1.bias",
    }.items():
        torch.testing.assert_close(own[key], image[key])
        torch.testing.assert_close(own[copy], image[key])
    assert [line.partition(":")[0] for line in report.mismatched] == ["head.weight", "head.bias"]
    assert set(report.missing) == {"time_embed"} | {
        f"blocks.{i}.temporal_fc.{kind}" for i in (0, 1) for kind in ("weight", "bias")
    }
    still = torch.rand(1, 3, 1, 32, 32).expand(-1, -1, 4, -1, -1)
    space = build_model(tiny("TIMESFORMER.ATTENTION_TYPE", "space_only"))
    load_weights(space, image)
    torch.testing.assert_close(model.forward_features(still), space.forward_features(still))


def test_positions_of_another_grid_are_interpolated():
    model = build_model(tiny())
    ramp = torch.linspace(0, 1, 24).repeat(24, 1).flatten()
    positions = torch.cat([torch.full((1,), 7.0), ramp]).view(1, -1, 1).expand(-1, -1, 16)
    report = load_weights(model, image_weights(pos_embed=positions))
    assert "pos_embed: (1, 577, 16) -> (1, 197, 16)" in report.reshaped
    assert model.pos_embed[0, 0, 0] == 7
    columns = model.pos_embed[0, 1:, 0].detach().view(14, 14)
    torch.testing.assert_close(columns, columns[:1].expand(14, -1))
    assert (columns[0].diff() > 0).all() and columns[0, 6:8].mean().item() == pytest.approx(0.5, abs=1e-3)


def test_a_distillation_token_is_left_out():
    model = build_model(tiny())
    image = image_weights(cls=2) | {"dist_token": torch.rand(1, 1, 16), "head_dist.weight": torch.rand(1000, 16)}
    report = load_weights(model, image)
    assert set(report.unused) == {"dist_token", "head_dist.weight"}
    torch.testing.assert_close(model.pos_embed[:, 0].data, image["pos_embed"][:, 0])
    torch.testing.assert_close(model.pos_embed[:, 1:].data, image["pos_embed"][:, 2:])


def test_layer_scale_and_a_class_token_without_position_are_the_same_function_here():
    model = build_model(tiny("TIMESFORMER.ATTENTION_TYPE", "space_only"))
    image = image_weights(cls=0)
    scales = {f"blocks.{i}.{name}": torch.rand(16) for i in (0, 1) for name in ("gamma_1", "gamma_2")}
    report = load_weights(model, image | scales)
    assert not report.unused
    assert not model.pos_embed[:, 0].any()
    folded = image["blocks.1.mlp.fc2.weight"] * scales["blocks.1.gamma_2"][:, None]
    torch.testing.assert_close(model.blocks[1].mlp.fc2.weight.data, folded)
    torch.testing.assert_close(
        model.blocks[0].attn.proj.bias.data, image["blocks.0.attn.proj.bias"] * scales["blocks.0.gamma_1"]
    )


def test_weights_for_other_lengths_take_the_nearest_frames():
    model, longer = random_model(), build_model(tiny("DATA.NUM_FRAMES", 8))
    report = load_weights(longer, model.state_dict())
    assert report.reshaped == ["time_embed: (1, 4, 16) -> (1, 8, 16)"]
    torch.testing.assert_close(longer.time_embed[:, [0, 1, 6, 7]], model.time_embed[:, [0, 0, 3, 3]])
    clips = torch.rand(1, 3, 8, 32, 32)
    torch.testing.assert_close(model.eval()(clips), longer.eval()(clips))
    assert resized_in_time(model.time_embed, 2).shape == (1, 2, 16)


def test_both_of_upstreams_wrappings_load_into_either_model():
    plain = random_model()
    mix = build_model(tiny("MODEL.MODEL_NAME", "TimeSformerMix"))
    wrapped = export_weights(plain)
    assert "model.head.weight" in wrapped and "model.cls_token" in wrapped
    load_weights(mix, {"model_state": wrapped}, new_head=False)
    students = export_weights(mix)
    assert "head.weight" in students and "model.head.weight" not in students and "model.norm.bias" in students
    other = build_model(tiny())
    report = load_weights(other, students, new_head=False)
    assert "model.norm.bias -> norm.bias" in report.renamed
    torch.testing.assert_close(other.state_dict(), plain.state_dict())
    assert export_weights(plain, "semi-supervised SVFormer with token mixing").keys() == students.keys()
    with pytest.raises(ValueError, match=r"not written as 'timm ViT'\. There are: upstream, semi-supervised SVFormer,"):
        export_weights(plain, "timm ViT")


def test_each_kind_of_attention_reads_its_own_checkpoints(attention):
    model = random_model(*attention)
    other = build_model(tiny(*attention))
    load_weights(other, model.state_dict(), new_head=False)
    torch.testing.assert_close(other.state_dict(), model.state_dict())


def test_weights_of_another_width_or_depth_are_refused():
    with pytest.raises(CheckpointError, match=r"missing \d+: time_embed, .*blocks\.2"):
        load_weights(build_model(tiny("TIMESFORMER.DEPTH", 3)), image_weights())
    with pytest.raises(CheckpointError, match=r"mismatched \d+: cls_token: file"):
        load_weights(build_model(tiny("TIMESFORMER.EMBED_DIM", 32)), image_weights())
