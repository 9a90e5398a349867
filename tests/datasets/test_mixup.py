import pytest
import torch

from slowfast.datasets import MixUp

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
