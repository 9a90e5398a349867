"""Scores of (video, view) pairs: each counted once, gathered over ranks, ensembled into one score a video."""

import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from slowfast.utils.distributed import gather_objects

ENSEMBLES = {"sum": np.sum, "max": np.max}


@dataclass
class Scores:
    """Raw logits of every view of every video, with the videos' labels.

    logits float32 [V, views, K]; valid bool [V, views], False where the video could not be read; labels [V], all -1
    if they are not known.
    """

    logits: np.ndarray
    valid: np.ndarray
    labels: np.ndarray

    def part(self, first: int, last: int) -> "Scores":
        """The views from `first` to before `last` of every video."""
        return Scores(self.logits[:, first:last], self.valid[:, first:last], self.labels)

    @property
    def has_labels(self) -> bool:
        return bool((self.labels >= 0).all())

    @property
    def finite(self) -> np.ndarray:
        """Which views have no NaN and no infinity among their logits, bool [V, views]."""
        return np.isfinite(self.logits).all(2)

    def ensemble(self, method: str = "sum") -> np.ndarray:
        """One row of scores per video, float32 [V, K]: sum or maximum of its readable views' raw logits.

        0 for a video without a readable view, NaN for one with a view or a sum that is not finite.
        """
        logits = np.where(self.valid[..., None], self.logits, 0.0 if method == "sum" else -np.inf)
        with np.errstate(over="ignore", invalid="ignore"):
            scores = ENSEMBLES[method](logits, axis=1)
        scores[~self.valid.any(1)] = 0.0
        scores[(self.valid & ~self.finite).any(1) | ~np.isfinite(scores).all(1)] = np.nan
        return scores.astype(np.float32)

    def predictions(self, method: str = "sum") -> np.ndarray:
        """The best class of every video, int64 [V]; -1 where none could be read or a score is not finite."""
        scores = self.ensemble(method)
        return np.where(self.valid.any(1) & np.isfinite(scores).all(1), scores.argmax(1), -1)

    def accuracy(self, method: str = "sum") -> dict:
        """Percent of videos right at 1 and 5 (None without labels), and per class.

        Videos without a readable view, and those whose scores are not finite, are wrong.
        """
        scores = self.ensemble(method)
        unreadable, nonfinite = ~self.valid.any(1), ~np.isfinite(scores).all(1)
        videos = {
            "unreadable_videos": np.flatnonzero(unreadable).tolist(),
            "nonfinite_videos": np.flatnonzero(nonfinite).tolist(),
        }
        if not self.has_labels:
            return {"top1_acc": None, "top5_acc": None, "per_class": {}, **videos}
        ranks = label_ranks(scores, self.labels)
        ranks[unreadable | nonfinite] = np.iinfo(ranks.dtype).max  # not K: with few classes that is among the best 5
        per_class = {
            int(label): 100.0 * float(np.mean(ranks[self.labels == label] < 1)) for label in np.unique(self.labels)
        }
        return {
            "top1_acc": 100.0 * float(np.mean(ranks < 1)),
            "top5_acc": 100.0 * float(np.mean(ranks < 5)),
            "per_class": per_class,
            **videos,
        }


def label_ranks(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many classes score higher than the right one [V]; a tie goes to the lower class index."""
    right = scores[np.arange(len(labels)), labels][:, None]
    lower_index = np.arange(scores.shape[1])[None] < labels[:, None]
    return ((scores > right) | ((scores == right) & lower_index)).sum(1)


class ViewScores:
    """Collects batches of view logits and makes `Scores` of all ranks' together."""

    def __init__(self, num_videos: int, num_views: int, num_classes: int):
        self.shape = (num_videos, num_views, num_classes)
        self.batches: list[tuple[np.ndarray, ...]] = []

    def add(self, logits: torch.Tensor, batch) -> None:
        """Logits [B, K] of a Batch with its `video`, `view`, `labels` and `valid`, all [B]."""
        columns = (batch.video, batch.view, batch.labels, batch.valid, logits.float().cpu())
        self.batches.append(tuple(column.numpy() for column in columns))

    def gather(self) -> Scores:
        """Scores over all ranks, on every rank; an error if a view is missing or was scored twice."""
        videos, views, _num_classes = self.shape
        logits = np.zeros(self.shape, np.float32)
        valid = np.zeros((videos, views), bool)
        labels = np.zeros(videos, np.int64)
        seen = np.zeros((videos, views), np.int64)
        for batches in gather_objects(self.batches):
            for video, view, label, is_valid, scores in batches:
                np.add.at(seen, (video, view), 1)
                logits[video, view], valid[video, view], labels[video] = scores, is_valid, label
        if (seen != 1).any():
            video, view = np.argwhere(seen != 1)[0]
            raise RuntimeError(f"View {view} of video {video} was scored {seen[video, view]} times instead of once.")
        return Scores(logits, valid, labels)


def save_predictions(path: Path, scores: Scores, method: str) -> list[Path]:
    """Ensembled logits and labels as upstream's pickle of tensors, every view's logits beside it as .npz."""
    content = {
        "video_preds": torch.from_numpy(scores.ensemble(method)),
        "video_labels": torch.from_numpy(scores.labels),
    }
    with open(path, "wb") as file:
        pickle.dump(content, file)
    views = path.with_suffix(".npz")
    np.savez_compressed(views, logits=scores.logits, valid=scores.valid, labels=scores.labels)
    return [path, views]
