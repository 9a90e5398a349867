import pytest
import torch
from parity_fixtures import clips_of, config_of, fixture_files, load_fixture, model_name, state_of
from tiny_models import tiny_options
from torch import nn

from slowfast.config import ConfigError, assert_and_infer_cfg, get_cfg, preset_model
from slowfast.evaluation.complexity import count_flops, count_flops_from_shapes, count_parameters
from slowfast.models import build_model
from slowfast.models.convert import main as convert
from slowfast.models.pretrained import export_weights, initial_weights, load_weights
from slowfast.models.repconv import PaddedBatchNorm, RepConv
from slowfast.spiking import BatchNorm
from slowfast.utils.files import CheckpointError

FIXTURES = [path for path in fixture_files() if preset_model(model_name(path)) == "MetaSpikeFormer"]
KD = ("METASPIKFORMER.KD", True)
IMAGENET = ("MODEL.NUM_CLASSES", 1000, "DATA.NUM_FRAMES", 1)
VIDEO = ("MODEL.NUM_CLASSES", 101, "DATA.NUM_FRAMES", 16)


def build(*options):
    cfg = get_cfg()
    cfg.merge_from_list([*tiny_options("MetaSpikeFormer"), "MODEL.NUM_CLASSES", 5, *options])
    return build_model(cfg)


def randomise_norms(model: nn.Module) -> nn.Module:
    """Statistics and affines as after training, so that a border is far from zero."""
    for module in model.modules():
        if isinstance(module, BatchNorm):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
            nn.init.normal_(module.weight, 1.0, 0.2)
            nn.init.normal_(module.bias, 0.0, 0.5)
    return model


@pytest.mark.parametrize(
    ("name", "options", "parameters", "buffers", "flops"),
    [
        ("MetaSpikeFormer_15M", IMAGENET, 15_112_208, 84_016, 6_502_307_200),
        ("MetaSpikeFormer_15M", (*IMAGENET, "METASPIKFORMER.TIME_STEPS", 4), 15_112_208, 84_016, 26_009_228_800),
        ("MetaSpikeFormer_31M", IMAGENET, 31_333_864, 121_824, 14_060_359_680),
        ("MetaSpikeFormer_31M", (*IMAGENET, *KD), 31_814_864, 121_824, 14_060_839_680),
        ("MetaSpikeFormer_31M", (*IMAGENET, "METASPIKFORMER.TIME_STEPS", 4), 31_333_864, 121_824, 56_241_438_720),
        ("MetaSpikeFormer_55M", IMAGENET, 55_350_248, 162_432, 24_874_639_360),
        ("MetaSpikeFormer_55M", (*IMAGENET, *KD), 55_991_248, 162_432, 24_875_279_360),
        ("MetaSpikeFormer_55M", (*IMAGENET, "METASPIKFORMER.TIME_STEPS", 4), 55_350_248, 162_432, 99_498_557_440),
        (
            "MetaSpikeFormer",
            (*IMAGENET, "METASPIKFORMER.EMBED_DIM", [192, 384, 768, 960]),
            *(123_741_160, 243_648, 55_694_438_400),
        ),
        (
            "MetaSpikeFormer",
            (*IMAGENET, "METASPIKFORMER.EMBED_DIM", [192, 384, 768, 960], "METASPIKFORMER.TIME_STEPS", 4),
            *(123_741_160, 243_648, 222_777_753_600),
        ),
        ("Metaspikformer", VIDEO, 30_901_445, 121_824, 224_958_850_560),
        ("MetaSpikeFormer_15M", VIDEO, 14_787_669, 84_016, 104_031_736_960),
    ],
)
def test_full_size_models_cost_what_is_published(name, options, parameters, buffers, flops):
    cfg = get_cfg()
    cfg.merge_from_list(["MODEL.MODEL_NAME", name, *options])
    with torch.device("meta"):
        model = build_model(cfg)
    assert count_parameters(model) == parameters
    assert sum(value.numel() for value in model.buffers() if value.is_floating_point()) == buffers
    assert count_flops_from_shapes(model, (3, cfg.DATA.NUM_FRAMES, 224, 224)) == flops


def test_flops_are_fvcores():
    model = build()
    assert count_flops_from_shapes(model, (3, 3, 32, 32)) == count_flops(model, (3, 3, 32, 32))


def test_a_border_is_what_the_norm_makes_of_zeros():
    norm = randomise_norms(PaddedBatchNorm(4)).eval()
    x = torch.randn(2, 4, 3, 5)
    expected = norm.bn(nn.functional.pad(x, (1, 1, 1, 1)))
    torch.testing.assert_close(norm(x), expected)


def test_in_training_a_border_follows_the_updated_statistics_and_has_no_gradient():
    norm = randomise_norms(PaddedBatchNorm(4)).train()
    before = norm.bn.running_mean.clone()
    padded = norm(torch.randn(2, 4, 3, 5))
    assert not torch.equal(norm.bn.running_mean, before)
    zeros = norm.eval().bn(torch.zeros(1, 4, 1, 1))
    torch.testing.assert_close(padded[:, :, 0], zeros[..., 0].expand(2, 4, 7).detach())
    torch.testing.assert_close(padded[:, :, 1:-1, -1], zeros[..., 0].expand(2, 4, 3).detach())
    gradients = torch.autograd.grad(padded[:, :, 0].sum(), list(norm.parameters()), materialize_grads=True)
    assert not any(gradient.any() for gradient in gradients)


def test_a_rep_conv_folds_into_one_convolution_borders_included():
    conv = randomise_norms(RepConv(6)).eval()
    x = torch.randn(2, 6, 5, 4)
    folded = conv.folded()
    assert type(folded) is nn.Conv2d
    assert folded.weight.shape == (6, 6, 3, 3)
    with torch.no_grad():
        torch.testing.assert_close(folded(x), conv(x), atol=1e-5, rtol=0)


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_a_folded_model_gives_upstreams_logits(path):
    fixture = load_fixture(path)
    model = build_model(config_of(fixture)).eval()
    load_weights(model, state_of(fixture))
    assert model.fold() is model
    assert not any(isinstance(module, RepConv) for module in model.modules())
    with torch.no_grad():
        torch.testing.assert_close(model(*clips_of(fixture)), fixture["output_eval"], atol=1e-5, rtol=0)


def test_a_model_in_training_is_not_folded():
    with pytest.raises(RuntimeError, match=r"eval\(\) before fold"):
        build().train().fold()


def test_distillation_trains_two_classifiers_and_evaluates_their_mean():
    model, x = build(*KD), torch.randn(2, 3, 3, 32, 32)
    logits, distilled = model.train()(x)
    assert logits.shape == distilled.shape == (2, 5)
    assert not torch.equal(logits, distilled)
    model.eval()
    features = []
    model.lif.register_forward_hook(lambda _, __, spikes: features.append(spikes))
    with torch.no_grad():
        together = model(x)
        heads = [head(features[0]).mean(0) for head in (model.head, model.head_kd)]
    torch.testing.assert_close(together, (heads[0] + heads[1]) / 2)


def test_distillation_is_not_trained_without_a_teacher():
    cfg = get_cfg()
    cfg.merge_from_list(["MODEL.MODEL_NAME", "MetaSpikeFormer_55M", "NUM_GPUS", 0, *KD])
    with pytest.raises(ConfigError, match="no teacher"):
        assert_and_infer_cfg(cfg)
    cfg.TRAIN.ENABLE = False
    assert_and_infer_cfg(cfg)


def test_an_image_is_a_clip_that_stands_still():
    """Both ways to the time steps: one frame and TIME_STEPS, or as many frames."""
    model, video = randomise_norms(build("METASPIKFORMER.TIME_STEPS", 3)).eval(), build().eval()
    video.load_state_dict(model.state_dict())
    image = torch.randn(2, 3, 1, 32, 32)
    with torch.no_grad():
        logits = model(image)
        assert torch.equal(logits, model(image.expand(-1, -1, 3, -1, -1)))
        assert torch.equal(logits, video(image.expand(-1, -1, 3, -1, -1)))
        assert not torch.equal(logits, video(image))
        assert video(torch.randn(2, 3, 5, 48, 40)).shape == (2, 5)  # other T and size, same weights


def test_the_attentions_neuron_has_half_the_threshold():
    attention = build("SNN.V_THRESHOLD", 1.0).block4[1].attn
    assert attention.attn_lif.v_threshold == 0.5
    assert attention.q_lif.v_threshold == 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("METASPIKFORMER.EMBED_DIM", [7, 8, 16, 16]), r"first is halved\. Set an even"),
        (("METASPIKFORMER.NUM_HEADS", 3), r"does not divide 16 of METASPIKFORMER\.EMBED_DIM\. Set"),
        (("METASPIKFORMER.TIME_STEPS", 4), "TIME_STEPS 4 is for images, and DATA.NUM_FRAMES is 3"),
    ],
)
def test_what_does_not_go_together_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build(*options)


def test_weights_with_and_without_the_second_classifier():
    distilled, plain = build(*KD), build()
    report = load_weights(plain, {"model": export_weights(distilled)}, new_head=False)
    assert report.unused == ["head_kd.weight", "head_kd.bias"]
    assert torch.equal(plain.head.weight, distilled.head.weight)
    assert load_weights(distilled, export_weights(plain)).missing == ["head_kd.weight", "head_kd.bias"]
    with pytest.raises(CheckpointError, match="head of the model finds no weights"):
        load_weights(distilled, export_weights(plain), new_head=False)


def test_training_starts_from_the_weights_the_config_names(tmp_path):
    path = tmp_path / "image.pth"
    assert initial_weights(build()) is None
    assert initial_weights(build("METASPIKFORMER.PRETRAIN_NAME", str(path))) == path


def test_a_checkpoint_is_known_by_its_names(tmp_path, capsys):
    torch.save({"model": export_weights(build(*KD))}, tmp_path / "in.pth")
    assert convert([str(tmp_path / "in.pth"), str(tmp_path / "out.safetensors"), "--explain"]) == 0
    said = capsys.readouterr().out
    assert "kind: Meta-SpikeFormer / Spike-Driven Transformer V2" in said
    assert "read by MODEL.MODEL_NAME: MetaSpikeFormer" in said
    assert "classes: 5 (head_kd.weight)" in said
