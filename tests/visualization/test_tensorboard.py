"""TensorBoard: event files are read back with TensorBoard's own reader."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from slowfast.config import get_cfg
from slowfast.visualization import TensorboardWriter, tensorboard

NAMES = ["walk", "run", "jump"]
LOGITS = np.array([[2.0, 1, 0], [0, 2, 1], [0, 2, 1], [0, 0, 3]])
LABELS = np.array([0, 1, 2, 2])


@pytest.fixture
def make_cfg(tmp_path):
    """A function of KEY VALUE pairs: a config that writes events, of three named classes."""

    def make(*options):
        (tmp_path / "names.json").write_text('{"walk": 0, "run": 1, "jump": 2}')
        cfg = get_cfg()
        cfg.merge_from_list(
            [
                *("OUTPUT_DIR", str(tmp_path / "out"), "TRAIN.DATASET", "hmdb", "MODEL.NUM_CLASSES", 3),
                *("TENSORBOARD.ENABLE", True, "TENSORBOARD.CLASS_NAMES_PATH", str(tmp_path / "names.json")),
                *("TENSORBOARD.CONFUSION_MATRIX.FIGSIZE", [4, 3], "TENSORBOARD.HISTOGRAM.FIGSIZE", [3, 2]),
                *options,
            ]
        )
        return cfg

    return make


@pytest.fixture
def subset(tmp_path):
    """A function of a text: the path of a class subset file with it."""

    def write(text):
        (tmp_path / "subset.txt").write_text(text)
        return str(tmp_path / "subset.txt")

    return write


def evaluate(cfg):
    writer = TensorboardWriter(cfg)
    writer.add_evaluation("Val", LOGITS.argmax(1), LABELS, NAMES, 7)
    writer.close()
    return read(cfg)


def read(cfg, folder="runs-hmdb"):
    return EventAccumulator(f"{cfg.OUTPUT_DIR}/{folder}").Reload()


def test_scalars_are_read_back_at_their_steps(make_cfg):
    cfg = make_cfg()
    writer = TensorboardWriter(cfg)
    writer.add_scalars({"Train/loss": 2.5, "Train/lr": 0.5}, 1)
    writer.add_scalars({"Train/loss": 1.25}, 2)
    writer.close()
    events = read(cfg)
    assert [(event.step, event.value) for event in events.Scalars("Train/loss")] == [(1, 2.5), (2, 1.25)]
    assert [(event.step, event.value) for event in events.Scalars("Train/lr")] == [(1, 0.5)]


def test_log_dir_is_a_folder_in_output_dir(make_cfg):
    cfg = make_cfg("TENSORBOARD.LOG_DIR", "events")
    TensorboardWriter(cfg).close()
    assert read(cfg, "events").Tags()
    assert not Path(cfg.OUTPUT_DIR, "runs-hmdb").exists()


def test_figures_are_drawn_only_where_enabled(make_cfg):
    assert evaluate(make_cfg()).Tags()["images"] == []


def test_the_confusion_matrix_is_an_image_of_its_figsize(make_cfg):
    events = evaluate(make_cfg("TENSORBOARD.CONFUSION_MATRIX.ENABLE", True))
    assert events.Tags()["images"] == ["Val/Confusion_Matrix"]
    (event,) = events.Images("Val/Confusion_Matrix")
    image = Image.open(io.BytesIO(event.encoded_image_string))
    assert (event.step, image.size, image.mode) == (7, (400, 300), "RGB")
    assert np.asarray(image).std() > 10


def test_every_class_has_a_histogram(make_cfg):
    events = evaluate(make_cfg("TENSORBOARD.HISTOGRAM.ENABLE", True, "TENSORBOARD.HISTOGRAM.TOPK", 2))
    assert set(events.Tags()["images"]) == {f"Val/Top_2_Histogram/{name}" for name in NAMES}


def test_histograms_of_a_subset_are_those_of_its_classes(make_cfg, subset):
    options = ("TENSORBOARD.HISTOGRAM.ENABLE", True, "TENSORBOARD.HISTOGRAM.SUBSET_PATH", subset("jump\n\n walk \n"))
    events = evaluate(make_cfg(*options))
    assert set(events.Tags()["images"]) == {"Val/Top_10_Histogram/jump", "Val/Top_10_Histogram/walk"}


def test_the_matrix_of_a_subset_is_another_picture(make_cfg, subset, tmp_path):
    options = ("TENSORBOARD.CONFUSION_MATRIX.ENABLE", True, "TENSORBOARD.CONFUSION_MATRIX.SUBSET_PATH")
    pictures = []
    for folder, text in (("all", ""), ("every", "walk\nrun\njump\n"), ("part", "jump\nwalk\n")):
        path = subset(text) if text else ""
        cfg = make_cfg(*options, path, "OUTPUT_DIR", str(tmp_path / folder))
        pictures.append(evaluate(cfg).Images("Val/Confusion_Matrix")[0].encoded_image_string)
    assert pictures[0] == pictures[1] != pictures[2]


@pytest.mark.parametrize("section", ["CONFUSION_MATRIX", "HISTOGRAM"])
def test_a_wrong_subset_stops_before_anything_is_written(make_cfg, subset, section):
    path = subset("walk\njmp\n")
    cfg = make_cfg(f"TENSORBOARD.{section}.ENABLE", True, f"TENSORBOARD.{section}.SUBSET_PATH", path)
    with pytest.raises(ValueError, match=r"subset\.txt:2: there is no class 'jmp'\. Did you mean 'jump'\?"):
        TensorboardWriter(cfg)
    assert not Path(cfg.OUTPUT_DIR).exists()
    cfg.merge_from_list([f"TENSORBOARD.{section}.ENABLE", False])
    TensorboardWriter(cfg).close()  # a subset nobody draws is not read


@pytest.mark.parametrize("why", ["disabled", "not the master"])
def test_elsewhere_every_call_does_nothing(make_cfg, monkeypatch, why):
    cfg = make_cfg("TENSORBOARD.CONFUSION_MATRIX.ENABLE", True, "TENSORBOARD.HISTOGRAM.ENABLE", True)
    if why == "disabled":
        cfg.merge_from_list(["TENSORBOARD.ENABLE", False])
    else:
        monkeypatch.setattr(tensorboard, "is_master", lambda: False)
    writer = TensorboardWriter(cfg)
    writer.add_scalars({"loss": 1.0}, 1)
    writer.add_evaluation("Val", LOGITS.argmax(1), LABELS, NAMES, 1)
    writer.close()
    assert not Path(cfg.OUTPUT_DIR).exists()


def test_drawing_leaves_pyplot_and_its_search_for_a_display_alone(tmp_path):
    script = f"""
import sys
import numpy as np
from slowfast.config import get_cfg
from slowfast.visualization import TensorboardWriter

cfg = get_cfg()
cfg.merge_from_list(["OUTPUT_DIR", {str(tmp_path)!r}, "TENSORBOARD.ENABLE", True, "MODEL.NUM_CLASSES", 2])
cfg.merge_from_list(["TENSORBOARD.CONFUSION_MATRIX.ENABLE", True, "TENSORBOARD.CONFUSION_MATRIX.FIGSIZE", [2, 2]])
writer = TensorboardWriter(cfg)
writer.add_evaluation("Val", np.arange(2), np.arange(2), ["0", "1"], 1)
writer.close()
assert "matplotlib.pyplot" not in sys.modules
"""
    result = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
