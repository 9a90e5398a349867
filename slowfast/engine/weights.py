"""Which weights a test takes, and whether weights were trained for what is computed with them."""

from pathlib import Path

import yaml

from slowfast.config.node import flatten
from slowfast.utils.checkpoint import BEST_NAME, checkpoint_dir, epoch_checkpoints
from slowfast.utils.logging import logger

# With another value of these, the same weights compute other outputs; nothing in their names or shapes tells.
DECISIVE = (
    *("SNN.NEURON", "SNN.TAU", "SNN.V_THRESHOLD", "SNN.V_RESET", "SNN.DECAY_INPUT"),
    *("DATA.MEAN", "DATA.STD", "DATA.REVERSE_INPUT_CHANNEL", "DATA.RESIZE_ANTIALIAS"),
)


def warn_other_settings(cfg, settings: object, path: str | Path) -> None:
    """Says which of these a checkpoint's run had otherwise; `settings` is its configuration as YAML, if it has one."""
    try:
        then = yaml.safe_load(settings) if isinstance(settings, str) else {}
    except yaml.YAMLError:
        return  # another program's own form
    then, now = flatten(then if isinstance(then, dict) else {}), flatten(yaml.safe_load(cfg.dump()))
    others = [f"{key} {then[key]} then, {now[key]} now" for key in DECISIVE if key in then and then[key] != now[key]]
    if others:
        logger.warning("The weights of %s were trained with other settings: %s.", path, "; ".join(others))


def test_weights(cfg) -> Path:
    """The checkpoint a test scores: TEST.CHECKPOINT_FILE_PATH, the best (TEST.TEST_BEST), OUTPUT_DIR's last,
    or TRAIN.CHECKPOINT_FILE_PATH, in this order.

    Raises:
        FileNotFoundError: none of them exists. Random weights are never tested.
    """
    best = checkpoint_dir(cfg.OUTPUT_DIR) / BEST_NAME
    if cfg.TEST.CHECKPOINT_FILE_PATH:
        return existing(Path(cfg.TEST.CHECKPOINT_FILE_PATH), "TEST.CHECKPOINT_FILE_PATH")
    if cfg.TEST.TEST_BEST:
        return existing(best, "TEST.TEST_BEST: the best checkpoint of OUTPUT_DIR")
    epochs = epoch_checkpoints(cfg.OUTPUT_DIR)
    if epochs:
        return epochs[0]
    if cfg.TRAIN.CHECKPOINT_FILE_PATH:
        return existing(Path(cfg.TRAIN.CHECKPOINT_FILE_PATH), "TRAIN.CHECKPOINT_FILE_PATH")
    raise FileNotFoundError(
        f"Nothing to test: OUTPUT_DIR {cfg.OUTPUT_DIR} holds no checkpoint and TEST.CHECKPOINT_FILE_PATH is empty. "
        "Set TEST.CHECKPOINT_FILE_PATH to the weights, or train first (TRAIN.ENABLE True)."
    )


def existing(path: Path, key: str) -> Path:
    if not path.exists():
        raise FileNotFoundError(f"{key} {path} does not exist. Set TEST.CHECKPOINT_FILE_PATH to the weights to test.")
    return path


def check_test_weights(cfg) -> None:
    """Finds the test's weights before anything starts; those this run will write itself are trusted to come.

    Raises:
        FileNotFoundError: as `test_weights`.
    """
    given = cfg.TEST.CHECKPOINT_FILE_PATH
    written_here = not given or Path(given).parent == checkpoint_dir(cfg.OUTPUT_DIR)
    if not (cfg.TRAIN.ENABLE and written_here):
        test_weights(cfg)
