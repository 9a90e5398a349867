"""Which weights a test takes."""

from pathlib import Path

from slowfast.utils.checkpoint import BEST_NAME, checkpoint_dir, epoch_checkpoints


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
