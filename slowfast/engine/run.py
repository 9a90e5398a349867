"""One process of a run: announce the configuration, check everything, train, test."""

import time

import torch

from slowfast.config import describe_diff, write_config
from slowfast.engine.next_steps import next_steps
from slowfast.engine.preflight import preflight
from slowfast.engine.test import test
from slowfast.engine.threads import set_threads
from slowfast.engine.train import train
from slowfast.evaluation.meters import duration
from slowfast.utils.classes import load_class_names
from slowfast.utils.distributed import is_master
from slowfast.utils.logging import logger


def run(cfg, device: torch.device) -> None:
    """What TRAIN.ENABLE and TEST.ENABLE ask for, in this order."""
    started = time.perf_counter()
    logger.info("Configuration, as it differs from the defaults:\n%s", describe_diff(cfg))
    for message in getattr(cfg, "messages", []):
        logger.info("%s", message)
    set_threads(cfg, preflight(cfg))
    class_names = load_class_names(
        cfg.TENSORBOARD.CLASS_NAMES_PATH, cfg.MODEL.NUM_CLASSES, data_dir=cfg.DATA.PATH_TO_DATA_DIR
    )
    if not cfg.TRAIN.ENABLE and is_master():
        logger.info("Whole configuration: %s", write_config(cfg))
    training = train(cfg, device, class_names) if cfg.TRAIN.ENABLE else None
    if cfg.TEST.ENABLE:
        test(cfg, device, class_names, training)
    logger.info("Done in %s. Everything is in %s", duration(time.perf_counter() - started), cfg.OUTPUT_DIR)
    if is_master():
        logger.info("\n%s", next_steps(cfg))
