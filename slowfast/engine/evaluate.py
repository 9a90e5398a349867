"""The one evaluation loop: every view of a loader through the model, one score per (video, view)."""

from collections.abc import Callable, Iterator

import torch
from torch import nn

from slowfast.datasets import BadVideos, VideoDataset, list_rows, normalize, prefetch
from slowfast.engine.progress import Progress
from slowfast.engine.signals import RunInterrupted, requested
from slowfast.evaluation.meters import StepTimer, duration, topk_errors
from slowfast.evaluation.views import Scores, ViewScores
from slowfast.utils.distributed import any_rank, gather_objects
from slowfast.utils.logging import logger


def score_views(
    cfg,
    model: nn.Module,
    loader,
    device: torch.device,
    *,
    step_views: int,
    title: str,
    step_stats: Callable[[int, int, StepTimer, dict[str, float]], dict],
    every_step: bool = False,
) -> Scores:
    """Raw logits of every view of every video of `loader`'s data set, gathered over all ranks.

    The model sees at most `step_views` views at once, however many a video has.

    `step_stats(step, steps, timer, errors)` makes the json_stats of a step from the errors so far, in percent of
    views; it is asked every LOG_PERIOD steps, or every step.

    Raises:
        RunInterrupted: a rank was asked to stop; nothing of the scores is kept.
    """
    scores = ViewScores(loader.dataset.num_videos, loader.dataset.num_views, cfg.MODEL.NUM_CLASSES)
    progress = Progress(title, len(loader), cfg.LOG_PERIOD)
    timer = StepTimer()
    bad_videos = BadVideos(loader.dataset)
    wrong, seen = [0.0, 0.0], 0
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        for step, batch in enumerate(prefetch(until_stopped(loader, device), device)):
            timer.data_ready()
            bad_videos.add(batch.unread)
            parts = batch.clips.to(device, non_blocking=True).split(step_views)
            logits = torch.cat([model(normalize(clips, cfg.DATA.MEAN, cfg.DATA.STD)) for clips in parts])
            scores.add(logits, batch)
            timer.step_done()
            known = logits.cpu().masked_fill(~batch.valid[:, None], torch.nan)  # what cannot be read is wrong
            errors = topk_errors(known, batch.labels)
            seen += len(batch.labels)
            wrong = [total + error.item() * len(batch.labels) for total, error in zip(wrong, errors, strict=True)]
            so_far = {"top1_err": wrong[0] / seen, "top5_err": wrong[1] / seen}
            right = {"views right": f"{100.0 - so_far['top1_err']:.1f}%"} if loader.dataset.has_labels else {}
            shown = right | {
                "data wait": f"{timer.data_share:.0%}",
                "eta": duration(timer.mean * (len(loader) - step - 1)),
            }
            due = every_step or progress.is_due(step)
            progress.update(step, shown, step_stats(step, len(loader), timer, so_far) if due else None)
    progress.close()
    bad_videos.report(without_score(loader.dataset))
    model.train(was_training)
    return scores.gather()


def report_nonfinite(dataset: VideoDataset, videos: list[int]) -> None:
    """Lists the videos with a score that is not finite, with their list lines."""
    if videos:
        notes = {video: f"{dataset.entries[video].path}: a score is NaN or infinite" for video in videos}
        logger.warning(
            "%d of %d videos of %s have scores that are not finite; %s:\n%s",
            *(len(videos), dataset.num_videos, dataset.list_path, without_score(dataset), list_rows(dataset, notes)),
        )


def without_score(dataset: VideoDataset) -> str:
    """What becomes of videos that have no score."""
    return "they count as wrong" if dataset.has_labels else "they get no prediction"


def until_stopped(loader, device: torch.device) -> Iterator:
    """The loader's batches, of which ranks may have different numbers; all stop together if one is asked to."""
    batches = iter(loader)
    for _ in range(max(gather_objects(len(loader)))):
        batch = next(batches, None)
        (stop,) = any_rank([requested() is not None], device)
        if stop:
            raise RunInterrupted("scores that were not complete are dropped.")
        if batch is not None:
            yield batch
