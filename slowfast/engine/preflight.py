"""What can go wrong late is tried first: lists, videos, every view of a test video, weights, shapes, disk."""

from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from slowfast.datasets import (
    build_dataset,
    check_videos,
    collate,
    normalize,
    warn_equal_lists,
    warn_mirrored_directions,
    warn_one_label,
)
from slowfast.engine.launch import accumulation_steps
from slowfast.engine.ledger import refuse_foreign_checkpoints
from slowfast.engine.room import PreflightError, check_disk, check_memory, check_open_files, check_places
from slowfast.engine.weights import given_test_weights, load_initial_weights, load_test_weights
from slowfast.evaluation.complexity import count_flops, count_parameters
from slowfast.models import build_model, model_class
from slowfast.models.pretrained import initial_weights
from slowfast.spiking import TooFewValuesError
from slowfast.utils.checkpoint import run_checkpoints, sharding
from slowfast.utils.classes import load_class_names
from slowfast.utils.distributed import get_world_size, on_master, processes_per_machine
from slowfast.utils.logging import logger


def preflight(cfg) -> int:
    """Tries every part of the run on one sample, on the master, before the first epoch; all ranks stop if it fails.

    Returns: FLOPs of a clip's forward pass, those of matrix products and convolutions.

    Raises:
        ValueError, OSError, KeyError: the first thing found and what to do about it, on every rank.
    """
    return on_master(check_run, cfg)


def check_run(cfg) -> int:
    """The checks in the order in which a person would want to hear of them."""
    model_class(cfg.MODEL.MODEL_NAME)  # raises if there is none
    Path(cfg.OUTPUT_DIR).mkdir(parents=True, exist_ok=True)
    if cfg.TRAIN.ENABLE:
        refuse_foreign_checkpoints(cfg)
        if cfg.DIST.STRATEGY == "fsdp" and get_world_size() > 1:
            sharding()  # raises if its checkpoints could not be written
    weights = given_test_weights(cfg) if cfg.TEST.ENABLE else None
    if cfg.TENSORBOARD.CLASS_NAMES_PATH:  # a classes.json beside the lists is perhaps still to be written
        load_class_names(cfg.TENSORBOARD.CLASS_NAMES_PATH, cfg.MODEL.NUM_CLASSES)
    check_places(cfg)
    check_memory(cfg)
    check_open_files(cfg)
    model = build_model(cfg)
    if cfg.TRAIN.ENABLE:
        check_initial_weights(cfg, model)
        check_disk(cfg, model)
    if weights:
        load_test_weights(cfg, model, weights)
    splits = ("train", "val") * cfg.TRAIN.ENABLE + ("test",) * cfg.TEST.ENABLE
    datasets = {split: build_dataset(cfg, split) for split in splits}
    for split, dataset in datasets.items():
        logger.info("%s: %d videos, %s", split, dataset.num_videos, dataset.list_path)
        check_videos(dataset, cfg.DATA.CHECK_VIDEOS)
    one_label = warn_one_label(datasets["train"]) if cfg.TRAIN.ENABLE and cfg.MODEL.NUM_CLASSES > 1 else None
    for warning in filter(None, (warn_equal_lists(cfg), warn_mirrored_directions(cfg), one_label)):
        logger.warning(warning)
    if cfg.TRAIN.ENABLE:
        check_batches(cfg, model, datasets["train"])
    flops = [check_views(cfg, model, split, dataset) for split, dataset in datasets.items()]
    if cfg.LOG_MODEL_INFO:
        log_model_info(cfg, model)
    return min(flops, default=0)


def check_initial_weights(cfg, model: nn.Module) -> None:
    """Loads what training will start from into the preflight's model, unless OUTPUT_DIR holds a run to go on with.

    Raises:
        OSError: the file is not there.
        CheckpointError: it is damaged, no checkpoint, or does not fit.
    """
    path = cfg.TRAIN.CHECKPOINT_FILE_PATH or initial_weights(model)
    if not path or (cfg.TRAIN.AUTO_RESUME and run_checkpoints(cfg.OUTPUT_DIR)):
        return
    if not Path(path).exists():
        key = "TRAIN.CHECKPOINT_FILE_PATH" if cfg.TRAIN.CHECKPOINT_FILE_PATH else "The model's weights to start from"
        raise FileNotFoundError(f"{key}: there is no {path}. Set it to the weights to start from.")
    load_initial_weights(cfg, model, path)


def check_batches(cfg, model: nn.Module, dataset) -> None:
    """Every process needs a video in each step, and two where something of one sample cannot be computed."""
    world_size, num_videos = get_world_size(), dataset.num_videos
    steps = -(-num_videos // (cfg.TRAIN.BATCH_SIZE // processes_per_machine(cfg) * world_size))
    if accumulation_steps(cfg, world_size) > steps:
        key = "GLOBAL_BATCH_SIZE" if cfg.GLOBAL_BATCH_SIZE else "SOLVER.GRADIENT_ACCUMULATION_STEPS"
        raise PreflightError(
            f"{key} asks for {accumulation_steps(cfg, world_size)} steps for an update of the weights, and an epoch "
            f"has {steps} ({num_videos} videos, TRAIN.BATCH_SIZE {cfg.TRAIN.BATCH_SIZE}). Set a smaller {key}."
        )
    per_process = num_videos // steps // world_size  # in the smallest step, the smallest share
    why = needs_more(cfg, model, dataset, per_process * cfg.AUG.NUM_SAMPLE)
    if why:
        raise PreflightError(
            f"Training would see {per_process} video in some step and process ({num_videos} videos, TRAIN.BATCH_SIZE "
            f"{cfg.TRAIN.BATCH_SIZE}, {world_size} processes), and {why}. List more videos, "
            "raise TRAIN.BATCH_SIZE or set AUG.NUM_SAMPLE 2."
        )


def needs_more(cfg, model: nn.Module, dataset, samples: int) -> str:
    """Why so many samples are too few for a process's step; empty: they are not."""
    if samples == 0:
        return "each needs one"
    if samples == 1 and cfg.MIXUP.ENABLE:
        return "MIXUP.ENABLE mixes pairs"
    if samples > 1 or (cfg.BN.NORM_TYPE == "sync_batchnorm" and get_world_size() > 1):
        return ""
    model.train()
    clips = collate([dataset[0]]).clips
    try:
        with torch.inference_mode():
            model(normalize(clips[:1], cfg.DATA.MEAN, cfg.DATA.STD))
    except TooFewValuesError:
        return "batch norm needs two samples: with one, some channel of this model has a single value"
    return ""


def check_views(cfg, model: nn.Module, split: str, dataset) -> int:
    """Loads one video in every view of the split and runs the model on one as the split will; returns its FLOPs."""
    batch = collate([dataset[0]])
    logger.info("%s clips [B, C, T, H, W]: %s uint8", split, list(batch.clips.shape))
    model.eval()
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        logits = model(normalize(batch.clips[:1], cfg.DATA.MEAN, cfg.DATA.STD))
    expected = (1, cfg.MODEL.NUM_CLASSES)
    if tuple(logits.shape) != expected:
        raise PreflightError(f"{cfg.MODEL.MODEL_NAME} returns {tuple(logits.shape)} for a clip, not {expected}.")
    return counter.get_total_flops() // 2  # it counts 2 for a multiply-add


def log_model_info(cfg, model: nn.Module) -> None:
    """Parameters and FLOPs, as upstream's logs have them."""
    side = cfg.DATA.TRAIN_CROP_SIZE
    shape = (cfg.DATA.INPUT_CHANNEL_NUM[0], cfg.DATA.NUM_FRAMES, side, side)
    logger.info("Model %s", cfg.MODEL.MODEL_NAME)
    logger.info("Params: %s", f"{count_parameters(model):,}")
    logger.info("Flops: %s G (one clip %s)", count_flops(model, shape) / 1e9, list(shape))
