"""Upstream's variants of SVFormer by their names: the values and sizes of those that are presets, and the others."""

from typing import NamedTuple

import pytest
import torch

from slowfast.config import ConfigError, apply_preset, get_cfg, preset_model, presets
from slowfast.config.presets import preset_value
from slowfast.evaluation.complexity import count_flops_from_shapes, count_parameters
from slowfast.models import build_model
from slowfast.models.pretrained import load_weights
from slowfast.spiking import BatchNorm, SpikingNeuron
from slowfast.utils.files import CheckpointError


class Values(NamedTuple):
    """What makes a variant, as measured on upstream's."""

    neuron: str = "PLIF"
    tau: float = 2.0
    threshold: float = 1.0
    surrogate: str = "ATan"
    alpha: float = 2.0
    local_path: bool = True
    num_frames: int | None = None  # None: the config's


VALUES = {
    "SVFormer": Values(),
    "Uniformer2d_psnn": Values(local_path=False),
    "Uniformer2d_psnn_try": Values(),
    "Uniformer2d_psnn_lgf": Values(threshold=0.5),
    "Uniformer2d_psnn_lgfT": Values(threshold=2.0),
    "Uniformer2d_psnn_lgfT_t8_T24": Values(num_frames=24),
    "Uniformer2d_psnn_tri": Values(surrogate="Sigmoid", alpha=4.0),
    "Uniformer2d_if_lgf": Values(neuron="LIF"),
}


class Size(NamedTuple):
    """Of upstream's model at 224 x 224; `by_default` with the config's own EMBED_DIM, DEPTH, MLP_RATIO, 400 classes."""

    parameters: int
    buffers: int  # numbers in them, without the counters of batches
    neurons: int
    batch_norms: int
    entries: int  # of the state dict
    flops: int
    by_default: int


PUBLISHED = Size(13_801_612, 481_280, 39, 28, 247, 38_346_109_952, 27_072_055)
SIZES = dict.fromkeys(VALUES, PUBLISHED) | {
    "Uniformer2d_psnn": Size(12_326_795, 463_872, 38, 27, 237, 38_187_200_000, 25_477_558),
    "Uniformer2d_psnn_lgfT_t8_T24": Size(14_844_044, 720_896, 39, 28, 247, 57_519_112_192, 28_556_855),
    "Uniformer2d_if_lgf": Size(13_801_573, 481_280, 39, 28, 208, 38_346_109_952, 27_071_952),
}
UCF101 = (
    *("MODEL.NUM_CLASSES", 101, "UNIFORMER.EMBED_DIM", [128, 256, 384, 512]),
    *("UNIFORMER.DEPTH", [1, 1, 3, 1], "UNIFORMER.MLP_RATIO", 2),
)
NOT_BUILT = (
    *("Uniformer2d_snn", "Uniformer2d_prsnn", "Uniformer_snn", "Uniformer_psnn"),
    *("Uniformer2d_psnn_act", "Uniformer2d_psnn_norm", "Uniformer2d_psnn_bn", "Uniformer2d_psnn_convBnLif"),
    *("Uniformer2d_psnn_head", "Uniformer2d_psnn_qkf", "Uniformer2d_psnn_convqkf"),
    *("Uniformer3d_psnn", "Uniformer3d_psnn_lgf"),
)


def neurons_of(model):
    return [module for module in model.modules() if isinstance(module, SpikingNeuron)]


def full_size(name, *options):
    """The model at 224 x 224, without memory for its weights; 16 frames where the preset leaves them to the config."""
    cfg = get_cfg()
    frames = VALUES[name].num_frames or 16
    cfg.merge_from_list(["MODEL.MODEL_NAME", name, "DATA.NUM_FRAMES", frames, "DATA.TRAIN_CROP_SIZE", 224, *options])
    with torch.device("meta"):
        return build_model(cfg)


def test_every_preset_of_the_model_is_compared():
    assert {name for name in presets.PRESETS if preset_model(name) == "SVFormer"} == VALUES.keys()


@pytest.mark.parametrize("name", VALUES)
def test_a_preset_has_upstreams_values(name, tiny_cfg):
    model = build_model(tiny_cfg("MODEL.MODEL_NAME", name, "SNN.V_THRESHOLD", None))
    found = {
        Values(
            type(neuron).__name__,
            1 / float(torch.as_tensor(neuron.k()).detach()),
            neuron.v_threshold,
            type(neuron.surrogate_function).__name__,
            neuron.surrogate_function.alpha,
            model.fusion,
            preset_value(name, "DATA.NUM_FRAMES"),
        )
        for neuron in neurons_of(model)
    }
    assert found == {VALUES[name]}
    assert {(n.v_reset, n.detach_reset, n.decay_input) for n in neurons_of(model)} == {(0.0, True, True)}


@pytest.mark.parametrize("name", SIZES)
def test_a_preset_has_upstreams_size(name):
    model = full_size(name, *UCF101)
    buffers = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
    found = Size(
        count_parameters(model),
        sum(buffer.numel() for buffer in buffers),
        len(neurons_of(model)),
        sum(isinstance(module, BatchNorm) for module in model.modules()),
        len(model.state_dict()),
        count_flops_from_shapes(model, (3, VALUES[name].num_frames or 16, 224, 224)),
        count_parameters(full_size(name, "MODEL.NUM_CLASSES", 400)),
    )
    assert found == SIZES[name]


@pytest.mark.parametrize("fusion", [True, False])
def test_the_heads_convolution_has_a_group_for_each_channel_of_stage_4(fusion, tiny_cfg):
    convolution = build_model(tiny_cfg("UNIFORMER.LOCAL_GLOBAL_FUSION", fusion)).dwconv_bf_head
    assert (convolution.groups, convolution.in_channels) == (16, 32 if fusion else 16)


@pytest.mark.parametrize("name", [name for name in VALUES if name != "SVFormer"])
def test_upstreams_architecture_alone_selects_the_preset(name):
    cfg = get_cfg()
    cfg.merge_from_list(["MODEL.ARCH", name.lower()])
    apply_preset(cfg)
    assert name == cfg.MODEL.MODEL_NAME


def test_what_the_user_sets_wins_over_a_preset(tiny_cfg):
    model = build_model(tiny_cfg("MODEL.MODEL_NAME", "Uniformer2d_psnn_lgf", "SNN.V_THRESHOLD", 0.7))
    assert model.lplif.v_threshold == 0.7


@pytest.mark.parametrize("new_head", [True, False])
@pytest.mark.parametrize("fusion", [True, False])
def test_weights_with_or_without_the_local_path_say_which_key_they_need(fusion, new_head, tiny_cfg):
    name = "Uniformer2d_psnn" if fusion else "Uniformer2d_psnn_try"
    model = build_model(tiny_cfg("MODEL.MODEL_NAME", name))
    state = build_model(tiny_cfg("UNIFORMER.LOCAL_GLOBAL_FUSION", fusion)).state_dict()
    with pytest.raises(CheckpointError, match=f"UNIFORMER.LOCAL_GLOBAL_FUSION {fusion}") as error:
        load_weights(model, state, new_head=new_head)
    assert "NUM_CLASSES" not in str(error.value)
    model = build_model(tiny_cfg("MODEL.MODEL_NAME", name, "UNIFORMER.LOCAL_GLOBAL_FUSION", fusion))
    assert len(load_weights(model, state, new_head=False).loaded) == len(state)


@pytest.mark.parametrize("key", ["MODEL.MODEL_NAME", "MODEL.ARCH"])
@pytest.mark.parametrize("name", NOT_BUILT)
def test_a_variant_that_is_not_built_is_refused_and_no_other_model_is_offered(name, key, tiny_cfg):
    name = name.lower() if key == "MODEL.ARCH" else name
    with pytest.raises(ConfigError, match=f"{key} {name} is not supported: this variant of SVFormer is not") as error:
        build_model(tiny_cfg("MODEL.MODEL_NAME", "SlowFast", key, name))
    assert not any(section in str(error.value) for section in ("UNIFORMER.", "SNN.", "MODEL_NAME SVFormer"))


def test_every_architecture_of_the_family_is_known_or_refused():
    names = [name.lower() for name in get_cfg().MODEL.SINGLE_PATHWAY_ARCH]
    family = {name for name in names if name.startswith("uniformer")}
    assert family <= presets.ARCHITECTURES.keys() | presets.UNSUPPORTED.keys()
