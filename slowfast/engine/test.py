"""Testing: every view of every test video scored once, ensembled, reported and written."""

import hashlib
import pickle
import time
from pathlib import Path

import torch

from slowfast.config import resolved_yaml
from slowfast.datasets import VideoDataset, build_loader
from slowfast.datasets.sampling import SWEEP
from slowfast.engine.evaluate import report_nonfinite, score_views
from slowfast.engine.weights import load_test_weights, test_weights
from slowfast.evaluation.complexity import count_flops, count_parameters
from slowfast.evaluation.meters import test_iter_stats
from slowfast.evaluation.report import Report, Training, write_report
from slowfast.evaluation.views import Scores, save_predictions
from slowfast.models import build_model
from slowfast.spiking.ailing import ailing_layers
from slowfast.spiking.monitor import merge_totals, record_firing_rates
from slowfast.utils.distributed import gather_objects, is_master, processes_per_machine
from slowfast.utils.logging import log_json_stats, logger
from slowfast.utils.machine import machine
from slowfast.visualization import TensorboardWriter, save_confusion_matrix


class NoScoreError(ValueError):
    """A test in which no view of any video got a finite score. Raised on every rank."""

    on_every_rank = True


def test(cfg, device: torch.device, class_names: list[str], training: Training | None = None) -> None:
    """Scores TEST.NUM_ENSEMBLE_VIEWS clips x TEST.NUM_SPATIAL_CROPS crops of every test video and reports.

    With -1 clips, those of every number in SWEEP come from one decoding of each video and one pass of the model.

    Raises:
        NoScoreError: after all is written, if no score of any view is finite.
    """
    writer = TensorboardWriter(cfg)
    model = build_model(cfg).to(device)
    weights = test_weights(cfg)
    logger.info("Testing %s", load_test_weights(cfg, model, weights))
    loader = build_loader(cfg, "test")
    if not loader.dataset.has_labels:
        logger.info("%s has no labels: predictions are written, without an accuracy", loader.dataset.list_path)
    clips, crops = len(loader.dataset.clips), len(loader.dataset.crops)
    started = time.perf_counter()
    with loader, record_firing_rates(model) as rates:
        all_scores = score_views(
            cfg,
            model,
            loader,
            device,
            step_views=cfg.TEST.BATCH_SIZE // processes_per_machine(cfg),
            title=f"test {clips} clips x {crops} crops",
            step_stats=test_iter_stats,
            every_step=True,
        )
    seconds = time.perf_counter() - started
    spikes = merge_totals(gather_objects(rates.totals()))
    if is_master():
        files, accuracy, clips = write_scores(cfg, all_scores, loader.dataset, class_names, writer)
        side = cfg.DATA.TEST_CROP_SIZE
        report = Report(
            accuracy=accuracy,
            class_names=class_names,
            views=(clips, crops),
            model_name=cfg.MODEL.MODEL_NAME,
            parameters=count_parameters(model),
            flops=count_flops(model, (cfg.DATA.INPUT_CHANNEL_NUM[0], cfg.DATA.NUM_FRAMES, side, side)),
            firing=spikes,
            ailing=ailing_layers(model, spikes),
            training=training,
            test_seconds=seconds,
            weights=str(weights),
            files=list(map(str, files)),
            seed=cfg.RNG_SEED,
            config_sha256=hashlib.sha256(resolved_yaml(cfg).encode()).hexdigest(),
            machine=machine(on_gpu=device.type == "cuda"),
        )
        write_report(Path(cfg.OUTPUT_DIR), report)
    if all_scores.valid.any() and not all_scores.finite[all_scores.valid].any():
        raise NoScoreError(
            f"No video of {loader.dataset.list_path} has a score that is finite: nothing can be computed from the "
            f"weights {weights}. Test others, or train again with a lower SOLVER.BASE_LR."
        )


def write_scores(
    cfg, all_scores: Scores, dataset: VideoDataset, class_names: list[str], writer: TensorboardWriter
) -> tuple[list[Path], dict, int]:
    """Predictions, log lines and figures for each number of clips; the files, and the last number with its accuracy.

    Without labels there are predictions only.
    """
    files, first = [], 0
    crops, method = len(dataset.crops), cfg.DATA.ENSEMBLE_METHOD
    counts = SWEEP if cfg.TEST.NUM_ENSEMBLE_VIEWS == -1 else (len(dataset.clips),)
    for clips in counts:  # the report is of the last
        scores = all_scores.part(first, first + clips * crops)
        first += clips * crops
        accuracy = scores.accuracy(method)
        report_nonfinite(dataset, accuracy["nonfinite_videos"])
        if scores.has_labels:
            log_json_stats(
                {
                    "split": "test_final",
                    "top1_acc": f"{accuracy['top1_acc']:.2f}",
                    "top5_acc": f"{accuracy['top5_acc']:.2f}",
                    **({"num_ensemble_views": clips} if len(counts) > 1 else {}),
                }
            )
        name = f"{cfg.DATA.NUM_FRAMES}x{cfg.DATA.TEST_CROP_SIZE}x{clips}x{crops}.pkl"
        files += save_predictions(Path(cfg.OUTPUT_DIR) / name, scores, method)
    if cfg.TEST.SAVE_RESULTS_PATH:
        files.append(save_results(cfg, scores))
    if scores.has_labels:
        predictions = scores.predictions(method)
        writer.add_evaluation("Test", predictions, scores.labels, class_names, 0)
        files.append(Path(cfg.OUTPUT_DIR) / "confusion_matrix.png")
        save_confusion_matrix(files[-1], predictions, scores.labels, class_names)
    writer.close()
    return files, accuracy, clips


def save_results(cfg, scores: Scores) -> Path:
    """TEST.SAVE_RESULTS_PATH in SlowFast's own form: a list of the tensors of ensembled logits and labels."""
    path = Path(cfg.OUTPUT_DIR) / cfg.TEST.SAVE_RESULTS_PATH
    with open(path, "wb") as file:
        ensembled = torch.from_numpy(scores.ensemble(cfg.DATA.ENSEMBLE_METHOD))
        pickle.dump([ensembled, torch.from_numpy(scores.labels)], file)
    return path
