import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from slowfast.evaluation.views import Scores, ViewScores, label_ranks, save_predictions


def batch(pairs, labels, valid=None):
    video, view = zip(*pairs, strict=True)
    valid = [True] * len(pairs) if valid is None else valid
    columns = {"video": video, "view": view, "labels": labels, "valid": valid}
    return SimpleNamespace(**{name: torch.tensor(column) for name, column in columns.items()})


def test_views_in_any_order_end_in_their_place():
    scores = ViewScores(num_videos=2, num_views=2, num_classes=3)
    logits = torch.randn(4, 3)
    scores.add(logits[:3], batch([(1, 0), (0, 1), (1, 1)], [2, 0, 2]))
    scores.add(logits[3:], batch([(0, 0)], [0]))
    found = scores.gather()
    assert found.labels.tolist() == [0, 2]
    np.testing.assert_array_equal(found.logits[0], logits[[3, 1]])
    np.testing.assert_array_equal(found.logits[1], logits[[0, 2]])


def test_a_view_scored_twice_or_never_is_an_error():
    scores = ViewScores(1, 2, 3)
    scores.add(torch.randn(1, 3), batch([(0, 0)], [0]))
    with pytest.raises(RuntimeError, match="View 1 of video 0 was scored 0 times"):
        scores.gather()
    scores.add(torch.randn(2, 3), batch([(0, 0), (0, 1)], [0, 0]))
    with pytest.raises(RuntimeError, match="View 0 of video 0 was scored 2 times"):
        scores.gather()


def test_ensembles_sum_or_take_the_largest_logit():
    logits = np.array([[[3.0, 0, 1], [-1, 1, 1]]], np.float32)
    scores = Scores(logits, np.ones((1, 2), bool), np.array([0]))
    assert scores.ensemble("sum").tolist() == [[2, 1, 2]]
    assert scores.ensemble("max").tolist() == [[3, 1, 1]]


def test_unreadable_views_do_not_vote_and_unreadable_videos_are_wrong():
    logits = np.zeros((3, 2, 6), np.float32)
    logits[0, 0, 1], logits[0, 1, 4] = 1, 9  # the second view cannot be read
    logits[1, :, 2] = 1
    valid = np.array([[True, False], [True, True], [False, False]])
    scores = Scores(logits, valid, np.array([1, 2, 0]))
    for method in ("sum", "max"):
        accuracy = scores.accuracy(method)
        assert accuracy["top1_acc"] == pytest.approx(200 / 3)
        assert accuracy["top5_acc"] == pytest.approx(200 / 3)
        assert accuracy["per_class"] == {0: 0.0, 1: 100.0, 2: 100.0}
        assert accuracy["unreadable_videos"] == [2]
    assert scores.predictions().tolist() == [1, 2, -1]


def test_an_unreadable_view_leaves_no_infinity_in_the_maximum():
    logits = np.full((2, 2, 3), -2.0, np.float32)
    scores = Scores(logits, np.array([[True, False], [False, False]]), np.array([0, 0]))
    assert scores.ensemble("max").tolist() == [[-2, -2, -2], [0, 0, 0]]


@pytest.mark.parametrize("method", ["sum", "max"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_view_that_is_not_finite_makes_its_video_wrong(method, value):
    logits = np.zeros((3, 6, 8), np.float32)
    logits[np.arange(3), :, [1, 2, 3]] = 1
    logits[0, 4, 7] = value  # one value of one view of six, of another class
    logits[1] = value
    scores = Scores(logits, np.ones((3, 6), bool), np.array([1, 2, 3]))
    accuracy = scores.accuracy(method)
    assert (accuracy["top1_acc"], accuracy["top5_acc"]) == (pytest.approx(100 / 3), pytest.approx(100 / 3))
    assert accuracy["per_class"] == {1: 0.0, 2: 0.0, 3: 100.0}
    assert accuracy["nonfinite_videos"] == [0, 1]
    assert np.isnan(scores.ensemble(method)[:2]).all()  # who ranks the predictions again is warned too
    assert scores.predictions(method).tolist() == [-1, -1, 3]


def test_a_sum_that_overflows_is_not_finite():
    scores = Scores(np.full((1, 2, 2), 3e38, np.float32), np.ones((1, 2), bool), np.array([0]))
    assert scores.accuracy("sum")["nonfinite_videos"] == [0]
    assert scores.accuracy("sum")["top1_acc"] == 0
    assert scores.accuracy("max")["top1_acc"] == 100


def test_what_an_unreadable_view_holds_is_of_no_account():
    logits = np.array([[[0.0, 1], [np.nan, np.nan]]], np.float32)
    accuracy = Scores(logits, np.array([[True, False]]), np.array([1])).accuracy()
    assert (accuracy["top1_acc"], accuracy["nonfinite_videos"]) == (100.0, [])


def test_with_few_classes_a_video_without_a_score_is_wrong_at_five_too():
    logits = np.full((2, 1, 3), np.nan, np.float32)
    accuracy = Scores(logits, np.array([[True], [False]]), np.array([0, 0])).accuracy()
    assert (accuracy["top1_acc"], accuracy["top5_acc"]) == (0.0, 0.0)


def test_ranks_count_better_classes_and_ties_go_to_the_lower_index():
    scores = np.array([[5.0, 1, 3], [2, 2, 0], [2, 2, 0]], np.float32)
    assert label_ranks(scores, np.array([2, 0, 1])).tolist() == [1, 0, 1]


def test_predictions_are_read_back(tmp_path):
    scores = Scores(np.random.rand(4, 3, 5).astype(np.float32), np.ones((4, 3), bool), np.arange(4))
    files = save_predictions(tmp_path / "p.pkl", scores, "sum")
    assert [file.name for file in files] == ["p.pkl", "p.npz"]
    with open(files[0], "rb") as file:
        content = pickle.load(file)
    np.testing.assert_allclose(content["video_preds"].numpy(), scores.logits.sum(1), rtol=1e-6)
    assert np.load(files[1])["logits"].shape == (4, 3, 5)
