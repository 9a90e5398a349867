import numpy as np
import pytest
import torch

from slowfast.datasets import MixUp
from slowfast.datasets.mixup import cutmix

CLASSES = 4


def mixup(**changes):
    values = {"alpha": 0.8, "cutmix_alpha": 1.0, "prob": 1.0, "switch_prob": 0.5, "smoothing": 0.1, "seed": 0}
    return MixUp(CLASSES, **(values | changes))


@pytest.fixture
def clips():
    """Clip i is i everywhere, so that a pixel tells whose it is."""
    return torch.arange(5.0).view(5, 1, 1, 1, 1).expand(5, 3, 2, 16, 16).contiguous()


@pytest.mark.parametrize("kind", [{"cutmix_alpha": 0.0}, {"alpha": 0.0}])
def test_labels_hold_the_share_of_pixels_each_clip_has(kind, clips):
    labels = torch.tensor([0, 1, 2, 3, 0])
    for step in range(20):
        mixed, rows = mixup(smoothing=0.0, **kind)(clips, labels, (0, step))
        torch.testing.assert_close(rows.sum(1), torch.ones(5))
        # Clip 1 is mixed with clip 3: its mean tells the share of clip 1, its label row must agree.
        share = (3 - mixed[1].mean()) / 2
        torch.testing.assert_close(rows[1, 1], share, atol=1e-5, rtol=0)
        torch.testing.assert_close(rows[1, 3], 1 - share, atol=1e-5, rtol=0)
        assert torch.equal(mixed[2], clips[2])  # the middle of an odd batch is its own partner


def test_cutmix_pastes_one_box_into_every_frame(clips):
    mixed, _ = mixup(alpha=0.0)(clips, torch.zeros(5, dtype=torch.long), (0, 1))
    foreign = mixed[0] == 4
    assert ((mixed[0] == 0) | foreign).all()
    assert torch.equal(foreign, foreign[:1, :1].expand_as(foreign))
    rows, columns = foreign[0, 0].any(1), foreign[0, 0].any(0)
    assert foreign[0, 0].sum() == rows.sum() * columns.sum()


def test_smoothing_spreads_its_share_over_all_classes(clips):
    _, rows = mixup(prob=0.0)(clips, torch.tensor([0, 1, 2, 3, 0]), (0, 0))
    torch.testing.assert_close(rows[1], torch.tensor([0.025, 0.925, 0.025, 0.025]))


def test_the_same_draw_gives_the_same_mixture_and_another_another(clips):
    labels = torch.tensor([0, 1, 2, 3, 0])
    first, again, other = (mixup()(clips, labels, (0, step))[0] for step in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_both_kinds_occur_and_shares_follow_beta(clips):
    labels = torch.tensor([0, 1, 2, 3, 0])
    kinds, shares = [], []
    for step in range(400):
        mixed, rows = mixup(smoothing=0.0)(clips, labels, (0, step))
        kinds.append(len(mixed[0].unique()) <= 2 and bool(((mixed[0] == 0) | (mixed[0] == 4)).all()))
        shares.append(rows[1, 1].item())
    assert 0.4 < sum(kinds) / 400 < 0.6
    assert 0.45 < sum(shares) / 400 < 0.65  # a CutMix box is cut at the border, so clips keep a little more


@pytest.mark.parametrize("alpha", [0.8, 0.2])
def test_shares_of_mixup_follow_beta(clips, alpha):
    mix = mixup(smoothing=0.0, alpha=alpha, cutmix_alpha=0.0)
    labels = torch.tensor([0, 1, 2, 3, 0])
    shares = np.array([mix(clips, labels, (0, step))[1][1, 1].item() for step in range(2000)])
    reference = np.random.default_rng(9).beta(alpha, alpha, 20000)
    for quantile in (0.05, 0.25, 0.5, 0.75, 0.95):
        assert abs((shares < np.quantile(reference, quantile)).mean() - quantile) < 4 * 0.5 / np.sqrt(2000)


def test_a_batch_is_mixed_with_its_probability(clips):
    mixed = [mixup(prob=0.3)(clips, torch.zeros(5, dtype=torch.long), (1, step))[0] is not clips for step in range(800)]
    assert abs(np.mean(mixed) - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 800)


def test_the_box_of_cutmix_has_its_area_and_lies_anywhere_cut_at_the_border():
    clips = torch.stack([torch.zeros(1, 1, 60, 80), torch.ones(1, 1, 60, 80)])
    rng = np.random.default_rng(0)
    rows, columns = [], []
    for _ in range(1500):
        mixed, share = cutmix(clips, 0.75, rng)
        box = mixed[0, 0, 0] == 1
        height, width = int(box.any(1).sum()), int(box.any(0).sum())
        assert box.sum() == height * width
        assert share == pytest.approx(1 - height * width / 4800)
        assert height <= 30 and width <= 40  # sqrt(1 - 0.75) of either side
        top, left = int(box.any(1).float().argmax()), int(box.any(0).float().argmax())
        # Where a border cut it, the centre follows from the far side.
        rows.append(top + height - 15 if top == 0 else top + 15)
        columns.append(left + width - 20 if left == 0 else left + 20)
    for centres, side in ((rows, 60), (columns, 80)):
        counts = np.histogram(centres, 4, (0, side))[0] / 1500
        assert np.abs(counts - 0.25).max() < 0.05
