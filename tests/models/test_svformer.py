import pytest
import torch

from slowfast.config import get_cfg
from slowfast.evaluation.complexity import count_flops, count_flops_from_shapes, count_parameters
from slowfast.models import build_model

VARIANTS = {
    "published": (),
    "shared norms": ("UNIFORMER.TIME_NORM", "shared"),
    "mean head": ("UNIFORMER.TIME_HEAD", "mean"),
    "no local path": ("UNIFORMER.LOCAL_GLOBAL_FUSION", False),
    "token attention": ("UNIFORMER.ATTENTION", "qk_token"),
    "LIF": ("SNN.NEURON", "LIF"),
    "IF, soft reset": ("SNN.NEURON", "IF", "SNN.V_RESET", None),
    "sigmoid": ("SNN.SURROGATE", "sigmoid", "SNN.SURROGATE_ALPHA", 4.0),
}


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS.keys())
def model(request, tiny_cfg):
    return build_model(tiny_cfg(*request.param))


def published_cfg():
    cfg = get_cfg()
    cfg.merge_from_list(
        [
            *("MODEL.MODEL_NAME", "Uniformer2d_psnn_try", "MODEL.NUM_CLASSES", 101),
            *("DATA.NUM_FRAMES", 16, "DATA.TEST_CROP_SIZE", 224),
            *(
                "UNIFORMER.EMBED_DIM",
                [128, 256, 384, 512],
                "UNIFORMER.DEPTH",
                [1, 1, 3, 1],
                "UNIFORMER.MLP_RATIO",
                2,
            ),
        ]
    )
    return cfg


@pytest.mark.parametrize(
    ("time_steps", "parameters", "flops"),
    [(16, 13_801_612, 38_346_109_952), (4, 12_237_964, 9_586_606_592), (24, 14_844_044, None)],
)
@pytest.mark.parametrize("count", [count_flops_from_shapes, pytest.param(count_flops, marks=pytest.mark.slow)])
def test_the_published_model_has_the_published_size(time_steps, parameters, flops, count):
    cfg = published_cfg()
    cfg.DATA.NUM_FRAMES = time_steps
    model = build_model(cfg)
    assert count_parameters(model) == parameters
    if flops is not None:
        assert count(model, (3, time_steps, 224, 224)) == flops


def test_a_gradient_reaches_every_parameter(model):
    logits = model.train()(torch.randn(4, 3, 3, 32, 32))
    assert logits.shape == (4, 5)
    (logits * torch.randn(4, 5)).sum().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None]
    assert not silent


def test_a_clip_does_not_see_its_neighbours(model):
    model.eval()
    clips = torch.randn(4, 3, 3, 32, 32)
    with torch.no_grad():
        together = model(clips)
        alone = torch.cat([model(clip[None]) for clip in clips])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_a_forward_leaves_nothing_behind(model):
    model.eval()
    clips = torch.randn(2, 3, 3, 32, 32)
    with torch.no_grad():
        first = model(clips)
        model(torch.randn(3, 3, 3, 32, 32))
        assert torch.equal(model(clips), first)


def test_slowfasts_list_of_one_tensor_is_taken_too(tiny_cfg):
    model = build_model(tiny_cfg()).eval()
    clips = torch.randn(2, 3, 3, 32, 32)
    assert torch.equal(model([clips]), model(clips))


def test_weights_survive_a_state_dict(model, tiny_cfg):
    clips = torch.randn(2, 3, 3, 32, 32)
    state = model.state_dict()
    expected = model.eval()(clips)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    model.load_state_dict({key: value.clone() for key, value in state.items()})
    assert model(clips).shape == expected.shape


def test_recomputing_activations_changes_nothing(tiny_cfg):
    options = (
        "MODEL.USE_CHECKPOINT",
        True,
        "MODEL.CHECKPOINT_NUM",
        [1, 0, 1, 1],
        "UNIFORMER.DROP_DEPTH_RATE",
        0.5,
    )
    clips = torch.randn(4, 3, 3, 32, 32)
    results = []
    for extra in ((), options[:4]):
        torch.manual_seed(1)
        model = build_model(tiny_cfg("UNIFORMER.DROP_DEPTH_RATE", 0.5, *extra)).train()
        torch.manual_seed(2)
        model(clips).square().sum().backward()
        results.append(([p.grad for p in model.parameters()], list(model.buffers())))
    for plain, recomputed in zip(*results, strict=True):
        for a, b in zip(plain, recomputed, strict=True):
            torch.testing.assert_close(a, b)


def test_weights_without_time_serve_any_clip(tiny_cfg):
    model = build_model(tiny_cfg("UNIFORMER.TIME_NORM", "shared", "UNIFORMER.TIME_HEAD", "mean")).eval()
    assert model(torch.randn(2, 3, 7, 64, 96)).shape == (2, 5)


def test_a_clip_of_another_size_or_length_says_what_to_set(tiny_cfg):
    model = build_model(tiny_cfg()).eval()
    with pytest.raises(ValueError, match=r"DATA\.NUM_FRAMES"):
        model(torch.randn(2, 3, 4, 32, 32))
    with pytest.raises(ValueError, match=r"DATA\.TEST_CROP_SIZE"):
        model(torch.randn(2, 3, 3, 64, 64))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("DATA.TRAIN_CROP_SIZE", 112), r"DATA\.TRAIN_CROP_SIZE 112. Set (96|128)"),
        (("UNIFORMER.HEAD_DIM", 12), r"UNIFORMER\.HEAD_DIM 12 does not divide"),
        (("UNIFORMER.TIME_NORM", "per_frame"), "per_step, shared"),
        (("UNIFORMER.ATTENTION", "softmax"), "qkv, qk_token"),
        (("UNIFORMER.TIME_HEAD", "last"), "conv, mean"),
    ],
)
def test_impossible_settings_say_what_to_set(options, message, tiny_cfg):
    with pytest.raises(ValueError, match=message):
        build_model(tiny_cfg(*options))


def test_an_unknown_model_lists_those_that_exist(tiny_cfg):
    with pytest.raises(KeyError, match="Did you mean SVFormer"):
        build_model(tiny_cfg("MODEL.MODEL_NAME", "SVFromer"))
