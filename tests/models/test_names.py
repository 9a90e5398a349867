"""Full-size models have upstream's names and shapes, read upstream's files, and write files upstream reads."""

import re
from ast import literal_eval
from pathlib import Path

import pytest
import torch

from slowfast.config import get_cfg
from slowfast.models import build_model
from slowfast.models.pretrained import export_weights, load_weights

REPOSITORY = Path(__file__).parents[2]
FOLDERS = [REPOSITORY / "tests/data/names", REPOSITORY.parent / "shared/models/names"]

# File -> the config it is of, and what stands before its names in a checkpoint.
K400 = ("MODEL.NUM_CLASSES", 400, "DATA.TRAIN_CROP_SIZE", 224, "DATA.TEST_CROP_SIZE", 224)
SVFORMER = (
    *(*K400, "DATA.NUM_FRAMES", 16, "MODEL.NUM_CLASSES", 101, "UNIFORMER.EMBED_DIM", [128, 256, 384, 512]),
    *("UNIFORMER.DEPTH", [1, 1, 3, 1], "UNIFORMER.MLP_RATIO", 2),
)
RESPIKE = ("MODEL.MODEL_NAME", "ReSpike", *K400, "DATA.NUM_FRAMES", 16, "MODEL.NUM_CLASSES", 101)
CONFIGS = {
    "uniformer_s_k400": (("MODEL.MODEL_NAME", "Uniformer_S", *K400), ""),
    "uniformer_s_split_k400": (("MODEL.MODEL_NAME", "Uniformer_S", *K400, "UNIFORMER.SPLIT", True), ""),
    "timesformer_vitb_k400_8f": (("MODEL.MODEL_NAME", "vit_base_patch16_224", *K400, "DATA.NUM_FRAMES", 8), "model."),
    "svformer_ucf101_T16": (("MODEL.MODEL_NAME", "SVFormer", *SVFORMER), ""),
    "uniformer2d_psnn_ucf101": (("MODEL.MODEL_NAME", "Uniformer2d_psnn", *SVFORMER), ""),
    "uniformer2d_if_lgf_ucf101": (("MODEL.MODEL_NAME", "Uniformer2d_if_lgf", *SVFORMER), ""),
    "respike_resnet18_down0_ucf101": (RESPIKE, ""),
    "respike_resnet18_down1_ucf101": ((*RESPIKE, "RESPIKE.DOWNSAMPLE", True), ""),
    "respike_resnet50_down1_ucf101": ((*RESPIKE, "RESPIKE.DOWNSAMPLE", True, "RESPIKE.BACKBONE", "resnet50"), ""),
    "metaspikformer_8_384_kd": (
        ("MODEL.MODEL_NAME", "MetaSpikeFormer_31M", "MODEL.NUM_CLASSES", 1000, "METASPIKFORMER.KD", True),
        "",
    ),
    "metaspikformer_video_default": (("MODEL.MODEL_NAME", "Metaspikformer", "MODEL.NUM_CLASSES", 101), ""),
}
FILES = [folder / f"{name}.txt" for folder in FOLDERS for name in CONFIGS if (folder / f"{name}.txt").exists()]


def read_names(path: Path) -> dict[str, tuple[int, ...]]:
    """Name -> shape, every `{first-last}` written out."""
    shapes = {}
    for line in path.read_text().splitlines():
        _, name, shape = line.split(" ", 2)
        numbers = re.search(r"\{(\d+)(?:-(\d+))?\}", name)
        if not numbers:
            shapes[name] = literal_eval(shape)
            continue
        first, last = int(numbers[1]), int(numbers[2] or numbers[1])
        shapes |= {name.replace(numbers[0], str(i)): literal_eval(shape) for i in range(first, last + 1)}
    return shapes


@pytest.fixture(params=FILES, ids=lambda path: f"{path.parent.parent.name}-{path.stem}")
def published(request):
    """Upstream's names with shapes, and our model without memory for its weights."""
    options, prefix = CONFIGS[request.param.stem]
    cfg = get_cfg()
    cfg.merge_from_list(list(options))
    with torch.device("meta"):
        model = build_model(cfg)
    return {prefix + name: shape for name, shape in read_names(request.param).items()}, model


def test_exported_weights_have_upstreams_names_and_shapes(published):
    shapes, model = published
    exported = {name: tuple(value.shape) for name, value in export_weights(model, "upstream").items()}
    assert exported == shapes


@pytest.mark.filterwarnings("ignore:.*meta parameter")
def test_upstreams_files_load_whole(published):
    shapes, model = published
    report = load_weights(
        model, {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}, new_head=False
    )
    assert len(report.loaded) == len(shapes) == len(model.state_dict())
    assert not (report.missing or report.unused or report.mismatched or report.reshaped)


def test_the_projects_own_copies_are_there():
    assert {path.stem for path in FILES if path.parent == FOLDERS[0]} == CONFIGS.keys()
