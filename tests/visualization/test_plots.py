"""Figures: what is drawn is what was counted, and names can be read at any number of classes."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imread

from slowfast.visualization.plots import (
    confusion_counts,
    confusion_matrix_figure,
    save_confusion_matrix,
    short_name,
    topk_histogram_figure,
)

COUNTS = np.array([[10, 0, 90], [0, 50, 50], [0, 0, 10]])
NAMES = ["walk", "run", "jump"]


def cells(figure):
    return np.ma.filled(figure.axes[0].images[0].get_array(), np.nan)  # masked values would equal anything


def texts(labels):
    return [label.get_text() for label in labels]


def test_counts_have_true_classes_in_rows():
    counts = confusion_counts(np.array([0, 2, 2, 2, -1]), np.array([0, 1, 1, 2, 0]), 3)
    assert counts.tolist() == [[1, 0, 0, 1], [0, 0, 2, 0], [0, 0, 1, 0]]
    assert counts.dtype == np.int64


def test_videos_without_a_score_are_wrong_in_the_figures_too():
    counts = confusion_counts(np.array([0, -1, -1]), np.array([0, 0, 1]), 2)
    figure = confusion_matrix_figure(counts, ["walk", "run"])
    np.testing.assert_allclose(cells(figure), [[0.5, 0], [0, 0]])
    assert figure.axes[0].get_title() == "top-1 33.3% of 3 videos, 2 of them without a score"
    axes = topk_histogram_figure(counts, ["walk", "run"], label=0, topk=2).axes[0]
    assert texts(axes.get_yticklabels()) == ["walk", "(no score)"]


def test_rows_are_shares_of_the_true_class_and_the_title_is_the_accuracy():
    figure = confusion_matrix_figure(COUNTS, NAMES)
    np.testing.assert_allclose(cells(figure), [[0.1, 0, 0.9], [0, 0.5, 0.5], [0, 0, 1]])
    assert figure.axes[0].get_title() == "top-1 33.3% of 210 videos"


def test_a_part_of_the_classes_keeps_the_shares_of_the_whole():
    figure = confusion_matrix_figure(COUNTS, NAMES, shown=[1, 0])
    np.testing.assert_allclose(cells(figure), [[0.5, 0], [0, 0.1]])
    assert texts(figure.axes[0].get_yticklabels()) == ["run", "walk"]
    assert figure.axes[0].get_title() == "top-1 30.0% of 200 videos"


def test_a_class_without_videos_is_an_empty_row():
    figure = confusion_matrix_figure(np.array([[4, 0], [0, 0]]), ["walk", "run"])
    np.testing.assert_allclose(cells(figure), [[1, 0], [0, 0]])


def test_cells_carry_their_counts_up_to_twenty_classes():
    assert texts(confusion_matrix_figure(np.diag(np.arange(1, 21)), list("abcdefghijklmnopqrst")).axes[0].texts) == [
        str(count) for count in range(1, 21)
    ]
    assert not confusion_matrix_figure(np.eye(21, dtype=int), list("abcdefghijklmnopqrstu")).axes[0].texts


@pytest.mark.parametrize("num_classes", [2, 8, 101])
def test_names_do_not_overlap_and_stay_inside(num_classes):
    names = [f"ApplyEyeMakeup{label}" for label in range(num_classes)]
    figure = confusion_matrix_figure(np.eye(num_classes, dtype=int), names)
    FigureCanvasAgg(figure).draw()
    labels = figure.axes[0].get_yticklabels()
    assert labels[0].get_text() == names[0]
    boxes = [label.get_window_extent() for label in labels]
    assert all(upper.y0 >= lower.y1 - 1 for upper, lower in pairwise(boxes))
    assert min(box.x0 for box in boxes) >= 0
    assert labels[0].get_fontsize() >= 6


def test_the_saved_image_has_room_for_every_name_of_101(tmp_path):
    labels = np.arange(101)
    sides = {}
    for num_classes in (8, 101):
        path = tmp_path / f"{num_classes}.png"
        save_confusion_matrix(
            path, labels[:num_classes], labels[:num_classes], [f"class {i}" for i in range(num_classes)]
        )
        image = imread(path)
        assert image.std() > 0.02  # something is drawn
        sides[num_classes] = image.shape[0]
    assert sides[101] > 1.5 * sides[8]
    side = sides[101] / 120
    figure = confusion_matrix_figure(np.eye(101, dtype=int), [str(i) for i in labels], (side, side))
    assert len(figure.axes[0].get_yticks()) == 101


def test_bars_are_the_most_frequent_predictions_in_order():
    counts = np.zeros((5, 5), int)
    counts[1] = [3, 5, 0, 8, 4]
    axes = topk_histogram_figure(counts, list("abcde"), label=1, topk=3).axes[0]
    assert texts(axes.get_yticklabels()) == ["d", "b", "e"]
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], [8 / 20, 5 / 20, 4 / 20])
    right = [bar.get_facecolor() for bar in axes.patches]
    assert right[1] != right[0] == right[2]  # the true class has a colour of its own
    assert axes.yaxis_inverted()  # the most frequent is on top


def test_classes_that_are_never_predicted_get_no_bar():
    axes = topk_histogram_figure(COUNTS, NAMES, label=2, topk=10).axes[0]
    assert texts(axes.get_yticklabels()) == ["jump"]
    assert not topk_histogram_figure(np.zeros((2, 2), int), ["a", "b"], label=0, topk=10).axes[0].patches


def test_names_that_shorten_to_the_same_keep_their_own_bars():
    names = [f"Pretending to put something {middle} onto something else" for middle in ("slowly", "carefully")]
    assert short_name(names[0]) == short_name(names[1])
    axes = topk_histogram_figure(np.array([[3, 2], [0, 0]]), names, label=0, topk=2).axes[0]
    assert len({bar.get_y() for bar in axes.patches}) == 2


def test_a_dollar_sign_in_a_name_is_no_formula():
    figure = topk_histogram_figure(np.eye(2, dtype=int), [r"pay $\5 or $x_{", "b"], label=0, topk=2)
    FigureCanvasAgg(figure).draw()
