"""Upstream's recorded runs as cases: where they are, the config each stands for, its weights, its clips.

A fixture's `config` holds either yacs-like keys (`cfg`) or the arguments of upstream's constructor (`ctor`), and
facts beside them. The tables below say what each means here; a name in none of them is an error, never skipped.
"""

import os
from pathlib import Path

import torch
from torch import Tensor

from slowfast.config import get_cfg

REPOSITORY = Path(__file__).parents[2]
FOLDERS = [REPOSITORY / "tests/data/parity", REPOSITORY.parent / "shared/parity"]
if "PARITY_DIR" in os.environ:
    FOLDERS = [Path(os.environ["PARITY_DIR"])]

# Facts that every kind may state, and the key each is here; None: told by something else, or of no consequence.
FACTS = {
    "TN": "DATA.NUM_FRAMES",
    "tau": "SNN.TAU",
    "init_tau": "SNN.TAU",
    "v_threshold": "SNN.V_THRESHOLD",
    "v_reset": "SNN.V_RESET",
    "detach_reset": "SNN.DETACH_RESET",
    "decay_input": "SNN.DECAY_INPUT",
    "seed": None,  # the weights are stored or made by the recipe
    "input_layout": None,  # clips_of
    "attn_lif_v_threshold": None,  # 0.5 by the paper; fires otherwise at other rates, which are compared
}

# Constructor arguments of upstream's classes.
RESPIKE = {
    "backbone": "RESPIKE.BACKBONE",
    "key_frame_stride": "RESPIKE.KEY_FRAME_STRIDE",
    "width_mult": "RESPIKE.WIDTH_MULT",
    "num_classes": "MODEL.NUM_CLASSES",
    "downsample": "RESPIKE.DOWNSAMPLE",
    "as_pretrained": "RESPIKE.PER_KEY_FRAME_LOGITS",
    "transformer_depth": "RESPIKE.TRANSFORMER_DEPTH",
    "dim_head": "RESPIKE.DIM_HEAD",
    "dropout": "RESPIKE.DROPOUT",
    "num_heads": None,  # upstream ignores these two
    "ann_backbone": None,
}
METASPIKFORMER = {
    "embed_dim": "METASPIKFORMER.EMBED_DIM",
    "num_heads": "METASPIKFORMER.NUM_HEADS",
    "mlp_ratios": "METASPIKFORMER.MLP_RATIO",
    "kd": "METASPIKFORMER.KD",
    "num_classes": "MODEL.NUM_CLASSES",
    "in_channels": "DATA.INPUT_CHANNEL_NUM",
    "img_size_h": "DATA.TRAIN_CROP_SIZE",
    # Upstream takes these and does nothing with them.
    **dict.fromkeys(("img_size_w", "patch_size", "qkv_bias", "qk_scale", "depths", "sr_ratios")),
    **dict.fromkeys(("drop_rate", "attn_drop_rate", "drop_path_rate", "norm_layer")),
}
TIMESFORMER = {
    "embed_dim": "TIMESFORMER.EMBED_DIM",
    "depth": "TIMESFORMER.DEPTH",
    "num_heads": "TIMESFORMER.NUM_HEADS",
    "mlp_ratio": "TIMESFORMER.MLP_RATIO",
    "qkv_bias": "TIMESFORMER.QKV_BIAS",
    "patch_size": "TIMESFORMER.PATCH_SIZE",
    "attention_type": "TIMESFORMER.ATTENTION_TYPE",
    "drop_rate": "TIMESFORMER.DROP_RATE",
    "attn_drop_rate": "TIMESFORMER.ATTN_DROP_RATE",
    "drop_path_rate": "TIMESFORMER.DROP_PATH_RATE",
    "num_frames": "DATA.NUM_FRAMES",
    "img_size": "DATA.TRAIN_CROP_SIZE",
    "num_classes": "MODEL.NUM_CLASSES",
    "in_chans": "DATA.INPUT_CHANNEL_NUM",
    "norm_layer": None,  # layer_norm_epsilon
}
# An argument only this class has -> the registered model and its table.
KINDS = {
    "backbone": ("ReSpike", RESPIKE),
    "sr_ratios": ("MetaSpikeFormer", METASPIKFORMER),
    "attention_type": ("vit_base_patch16_224", TIMESFORMER),
}


def fixture_files() -> list[Path]:
    """Every fixture once; of two with one name the repository's compact copy."""
    found = {}
    for folder in FOLDERS:
        for path in sorted(folder.glob("*.pt")):
            found.setdefault(path.name, path)
    return list(found.values())


def model_name(path: Path) -> str:
    """MODEL.MODEL_NAME of a fixture."""
    facts = load_fixture(path)["config"]
    return facts["cfg"]["MODEL"]["MODEL_NAME"] if "cfg" in facts else model_of(facts["ctor"])[0]


def load_fixture(path: Path) -> dict:
    return torch.load(path, weights_only=True)


def config_of(fixture: dict):
    """The config tree a fixture's facts stand for.

    Raises:
        KeyError: a fact, argument or config key that no table knows.
    """
    facts = dict(fixture["config"])
    cfg = get_cfg()
    options = {}
    if "cfg" in facts:
        cfg.merge_from_other_cfg(facts.pop("cfg"))
    if "ctor" in facts:
        arguments = facts.pop("ctor")
        options |= constructor_options(arguments)
        if "T" in facts:
            options["METASPIKFORMER.TIME_STEPS"] = facts.pop("T")
    if "neuron" in facts:
        options["SNN.NEURON"] = neuron_name(facts.pop("neuron"))
    if "surrogate" in facts:
        name, _, alpha = facts.pop("surrogate").rstrip(")").partition("(alpha=")
        options |= {"SNN.SURROGATE": name, "SNN.SURROGATE_ALPHA": float(alpha)}
    options |= translate(facts, FACTS)
    cfg.merge_from_list([part for pair in options.items() for part in pair])
    if "DATA.NUM_FRAMES" not in options and "ctor" in fixture["config"]:
        cfg.DATA.NUM_FRAMES = clips_of(fixture)[0].shape[2]
    cfg.DATA.TEST_CROP_SIZE = cfg.DATA.TRAIN_CROP_SIZE = clips_of(fixture)[0].shape[-1]
    return cfg


def constructor_options(arguments: dict) -> dict:
    """Arguments of one of upstream's classes as config keys, MODEL.MODEL_NAME included."""
    model, table = model_of(arguments)
    return {"MODEL.MODEL_NAME": model} | translate(arguments, table)


def model_of(arguments: dict) -> tuple[str, dict]:
    """The registered model whose upstream class takes these arguments, and the table of what they mean."""
    for argument, kind in KINDS.items():
        if argument in arguments:
            return kind
    raise KeyError(f"no class upstream takes the arguments {sorted(arguments)}")


def translate(facts: dict, table: dict) -> dict:
    unknown = sorted(facts.keys() - table.keys())
    if unknown:
        raise KeyError(f"the fixture states {unknown}, which the test does not know how to set")
    options = {table[name]: value for name, value in facts.items() if table[name]}
    if "DATA.INPUT_CHANNEL_NUM" in options:
        options["DATA.INPUT_CHANNEL_NUM"] = [options["DATA.INPUT_CHANNEL_NUM"]]
    return options


def neuron_name(upstream: str) -> str:
    """'clock_driven.MultiStepLIFNode', 'ParametricLIFNode', 'clock_driven.LIFNode single step' -> LIF, PLIF, LIF."""
    name = upstream.split()[0].rpartition(".")[2].removeprefix("MultiStep")
    return {"ParametricLIFNode": "PLIF", "LIFNode": "LIF", "IFNode": "IF"}[name]


def state_of(fixture: dict) -> dict[str, Tensor]:
    """The weights of a fixture: as stored, or made again from its recipe."""
    if fixture["state_dict"]:
        return fixture["state_dict"]
    generator = torch.Generator().manual_seed(fixture["recipe_seed"])
    draws = {
        "zero": torch.Tensor.zero_,
        "normal": lambda tensor: tensor.normal_(0, 1, generator=generator),
        "uniform": lambda tensor: tensor.uniform_(0, 1, generator=generator),
    }
    return {
        key: (draws[kind](torch.empty(shape)) * scale + shift).to(getattr(torch, dtype))
        for key, shape, dtype, kind, scale, shift in fixture["recipe"]
    }


def clips_of(fixture: dict) -> list[Tensor]:
    """The model's arguments: clips [B, C, T, H, W], and for token mixing the mask [B, T, N]."""
    inputs = fixture["input"]
    clips, *others = inputs if isinstance(inputs, list | tuple) else [inputs]
    layout = fixture["config"]["input_layout"]
    if "[B,T,C,H,W]" in layout:
        clips = clips.transpose(1, 2)
    elif "[B,C,H,W]" in layout:
        clips = clips.unsqueeze(2)
    elif "[B,C,T,H,W]" not in layout:
        raise KeyError(f"input layout {layout!r} is not known")
    return [clips, *others]


def layer_norm_epsilon(fixture: dict) -> float | None:
    """The epsilon of every layer norm, where the fixture states it: 'LayerNorm(eps=1e-6)' -> 1e-6."""
    stated = fixture["config"].get("ctor", {}).get("norm_layer")
    return float(stated.partition("eps=")[2].rstrip(")")) if stated else None


class UpstreamNames:
    """Upstream's names of a model's tensors and modules, as loading its weights found them."""

    def __init__(self, model, report):
        layouts = [layout for layout in getattr(model, "layouts", ()) if layout.name == report.layout]
        self.layout = layouts[0] if report.renamed else None

    def tensor(self, name: str) -> str:
        return self.layout.their_name(name) if self.layout else name

    def module(self, name: str) -> str:
        return self.tensor(f"{name}.").removesuffix(".")
