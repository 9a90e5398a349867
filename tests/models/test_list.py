from pathlib import Path

import pytest
from tiny_models import TINY

from slowfast.config import load_config, preset_model
from slowfast.config.files import flatten
from slowfast.config.presets import PRESETS, apply_preset
from slowfast.models import MODEL_REGISTRY
from slowfast.models.list import Entry, cells, config_of, entries, published, size_of
from slowfast.utils.markdown import row_line

REPOSITORY = Path(__file__).parents[2]
DOCUMENTED = (REPOSITORY / "docs/models.md").read_text().splitlines()
EXPERIMENTS = [entry for entry in published() if entry.exp]
TRAINING_ONLY = ("DROP_DEPTH_RATE", "PRETRAIN_NAME", "PRETRAINED")


def test_every_model_and_preset_is_listed():
    listed = {entry.model for entry in entries()}
    names = {name for name, _ in MODEL_REGISTRY} | set(PRESETS)
    # A model that another preset stands for has its rows under that name.
    assert names - listed <= {preset_model(name) for name in listed}
    assert listed <= names


def test_every_published_accuracy_has_a_source_and_a_data_set():
    for entry in published():
        assert entry.source and entry.data and entry.name
        assert 0 < entry.top1 < 100


@pytest.mark.parametrize(
    ("name", "parameters", "flops", "time_steps"),
    [
        ("SVFormer 16x4", 13_801_612, 38_346_109_952, 16),
        ("UniFormer-S 8x8", 21_400_400, 17_613_435_904, None),
        ("UniFormer-B 32x4", 49_813_200, 258_627_579_904, None),
    ],
)
def test_sizes_are_computed_and_are_the_published_ones(name, parameters, flops, time_steps):
    entry = next(entry for entry in published() if entry.name == name)
    size = size_of(config_of(entry))
    assert (size.parameters, size.flops, size.time_steps) == (parameters, flops, time_steps)


@pytest.mark.parametrize("entry", EXPERIMENTS, ids=lambda entry: entry.exp)
def test_an_experiment_trains_the_model_its_row_describes(entry):
    ours, theirs = config_of(entry), load_config(REPOSITORY / "exp" / entry.exp / "config.yaml")
    for cfg in (ours, theirs):
        apply_preset(cfg)
    assert preset_model(ours.MODEL.MODEL_NAME) == preset_model(theirs.MODEL.MODEL_NAME)
    sections = {key.split(".")[0] for key in entry.config} | {"UNIFORMER", "SNN"}
    values, in_experiment = flatten(ours), flatten(theirs)
    for key in values:
        if key.split(".")[0] in sections - {"DATA", "MODEL"} and not key.endswith(TRAINING_ONLY):
            assert in_experiment[key] == values[key], key
    for key in ("MODEL.NUM_CLASSES", "DATA.NUM_FRAMES", "DATA.TRAIN_CROP_SIZE"):
        assert in_experiment[key] == values[key], key
    views = f"{theirs.TEST.NUM_ENSEMBLE_VIEWS} x {theirs.TEST.NUM_SPATIAL_CROPS}"
    assert entry.views in ("", views)


def test_the_documentation_has_the_table():
    """Every row as the command prints it; the computed cells of two are computed again."""
    for entry in entries():
        start = f"| {entry.model} | {entry.name} |"
        top1 = "" if entry.top1 is None else f"| {entry.top1:.2f} |"
        assert [line for line in DOCUMENTED if line.startswith(start) and top1 in line and entry.source in line], start
    for name in ("SEW-ResNet-18", "Uniformer2d_psnn"):
        entry = next(entry for entry in entries() if name in (entry.model, entry.name))
        assert row_line(cells(entry, size_of(config_of(entry)))) in DOCUMENTED


def test_the_command_filters_and_says_when_nothing_matches(run_python):
    found = run_python("-m", "slowfast.models.list", "sew*18")
    assert found.returncode == 0
    header, rule, row = found.stdout.splitlines()
    assert "GFLOPs" in header
    assert row.split(" | ")[1:6] == ["SEW-ResNet-18", "3x4x224x224", "4", "11.69", "7.28"]
    missing = run_python("-m", "slowfast.models.list", "no such model")
    assert missing.returncode == 1
    assert "matches" in missing.stderr


@pytest.mark.parametrize("model", TINY)
def test_an_entry_without_a_result_is_a_row_too(model):
    size = size_of(config_of(Entry(model, {"RESNET.DEPTH": 18, "MODEL.ARCH": "slow", "DATA.TRAIN_CROP_SIZE": 64})))
    row = cells(Entry(model, {}), size)
    assert row[2] == "3x8x64x64"
    assert float(row[4]) > 0
    assert row[6:] == ("", "", "", "")
