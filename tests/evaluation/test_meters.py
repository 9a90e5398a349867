import pytest
import torch

from slowfast.evaluation.meters import StepTimer, TrainMeter, topk_errors


def test_errors_are_percent_of_samples_outside_the_best_k():
    logits = torch.tensor([[9.0, 5, 1, 0, 0, 0], [0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0]])
    top1, top5 = topk_errors(logits, torch.tensor([0, 0, 1]))
    assert top1.item() == pytest.approx(100 * 2 / 3)
    assert top5.item() == pytest.approx(100 / 3)


def test_with_fewer_classes_than_k_every_class_is_among_them():
    _, top5 = topk_errors(torch.randn(4, 3), torch.tensor([0, 1, 2, 0]))
    assert top5.item() == 0


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_logits_that_are_not_finite_are_wrong(value):
    logits = torch.tensor([[9.0, 0, value], [value, value, value], [9, 0, 0], [9, 0, 0]])
    assert [error.item() for error in topk_errors(logits, torch.tensor([0, 0, 0, 1]))] == [75, 50]
    mixed = torch.tensor([[0.7, 0.3, 0.0]]).expand(4, -1)
    assert [error.item() for error in topk_errors(logits, mixed)] == [50, 50]


def test_an_epoch_without_a_step_has_no_figures():
    meter = TrainMeter(epoch=0, max_epoch=2, steps=2, window=10)
    nothing = {"loss": None, "top1_err": None, "top5_err": None}
    assert meter.averages([0.0, 0.0, 0.0], 0) == nothing
    meter.update(3, loss=1.0, top1_err=0.0, top5_err=0.0)  # of an accumulation that was dropped later
    assert meter.averages([3.0, 0.0, 0.0], 3) == nothing


def test_mixed_labels_count_for_either_class():
    logits = torch.eye(3)
    targets = torch.tensor([[0.7, 0.3, 0], [0.7, 0.3, 0], [0.7, 0.3, 0]])
    assert topk_errors(logits, targets)[0].item() == pytest.approx(100 / 3)


def test_an_epochs_loss_is_the_mean_over_samples_not_over_batches():
    meter = TrainMeter(epoch=0, max_epoch=2, steps=2, window=10)
    meter.update(3, loss=1.0, top1_err=100.0, top5_err=0.0)
    meter.update(1, loss=5.0, top1_err=0.0, top5_err=0.0)
    meter.updates = 2
    means = meter.averages(list(meter.sums.values()), meter.samples)
    assert means == {"loss": 2.0, "top1_err": 75.0, "top5_err": 0.0}
    assert meter.iter_stats(1)["loss"] == 3.0  # a step shows the window's median
    assert (meter.epoch_stats()["epoch"], meter.iter_stats(0)["iter"]) == ("1/2", "1/2")


def test_the_timer_splits_a_step_into_waiting_and_work():
    timer = StepTimer()
    timer.data_ready()
    waited = timer.dt_data
    timer.step_done()
    assert 0 <= waited <= timer.dt
    assert 0 <= timer.data_share <= 1
    assert timer.steps == 1
