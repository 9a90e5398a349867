"""What holds for every registered model and every preset."""

import pytest
import torch
from tiny_models import TINY, tiny_options

from slowfast.config import get_cfg
from slowfast.config.presets import PRESETS
from slowfast.models import MODEL_REGISTRY, build_model

MODELS = sorted(name for name, _ in MODEL_REGISTRY)
PRESET_NAMES = sorted(PRESETS.keys() - set(MODELS))


def build(name, *options):
    cfg = get_cfg()
    cfg.merge_from_list([*tiny_options(name), "MODEL.NUM_CLASSES", 5, *options])
    return build_model(cfg)


@pytest.fixture(params=MODELS)
def model(request):
    return build(request.param)


def clips(batch=3):
    return torch.randn(batch, 3, 3, 32, 32)


def test_every_model_has_a_tiny_form():
    assert set(MODELS) == TINY.keys()


@pytest.mark.parametrize("name", MODELS + PRESET_NAMES)
def test_a_training_step_reaches_every_parameter(name):
    model = build(name).train()
    logits = model(clips())
    assert logits.shape == (3, 5)
    (logits * torch.randn(3, 5)).sum().backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None]
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_a_clip_does_not_see_its_neighbours(model):
    model.eval()
    x = clips()
    with torch.no_grad():
        alone = torch.cat([model(clip[None]) for clip in x])
        torch.testing.assert_close(model(x), alone, atol=1e-5, rtol=1e-4)


def test_a_forward_leaves_nothing_behind(model):
    model.eval()
    x = clips()
    with torch.no_grad():
        first = model(x)
        model(clips(4))
        assert torch.equal(model(x), first)


def test_frames_in_another_order_are_another_clip(model):
    model.train()  # norms of a fresh model in evaluation would keep many neurons silent
    x = clips()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)  # what mixes time may start at zero
        assert not torch.allclose(model(x), model(x.flip(2)), atol=1e-4)


def test_slowfasts_list_of_one_tensor_is_taken_too(model):
    model.eval()
    x = clips()
    with torch.no_grad():
        assert torch.equal(model([x]), model(x))


@pytest.mark.parametrize("name", MODELS)
def test_weights_survive_a_state_dict(name):
    torch.manual_seed(1)
    model, other = build(name).eval(), build(name).eval()
    x = clips()
    with torch.no_grad():
        before = other(x)
        other.load_state_dict(model.state_dict())
        assert torch.equal(other(x), model(x))
        assert not torch.equal(before, model(x)) or not before.any()


@pytest.mark.parametrize("name", MODELS)
def test_recomputing_activations_changes_nothing(name):
    x, results = clips(), []
    for options in ((), ("MODEL.USE_CHECKPOINT", True, "MODEL.CHECKPOINT_NUM", [9] * 4)):
        torch.manual_seed(1)
        model = build(name, *options).train()
        kept = memory_kept_by(model, x)
        results.append(([p.grad for p in model.parameters()], list(model.buffers()), kept))
    (gradients, buffers, kept), (again, buffers_again, kept_again) = results
    for plain, recomputed in zip(gradients + buffers, again + buffers_again, strict=True):
        torch.testing.assert_close(plain, recomputed)
    assert kept_again < kept


def memory_kept_by(model, x) -> int:
    """Values of all tensors a training step keeps for backward."""
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        logits = model(x)
    kept_in_forward = sum(kept)
    logits.square().sum().backward()
    return kept_in_forward
