"""Which weights a test takes, and whether weights were trained for what is computed with them."""

from pathlib import Path

import torch
import yaml
from torch import nn

from slowfast.config.keys import DECLARED
from slowfast.config.node import flatten
from slowfast.models import build_model
from slowfast.models.pretrained import LoadReport, MisfitError, load_weights
from slowfast.utils.checkpoint import BEST_NAME, checkpoint_dir, checkpoint_name, epoch_checkpoints
from slowfast.utils.files import CheckpointError
from slowfast.utils.logging import logger

# With another value of these, the same weights compute other outputs, or for other classes; no name or shape tells.
DECISIVE = (
    *("SNN.NEURON", "SNN.TAU", "SNN.V_THRESHOLD", "SNN.V_RESET", "SNN.DECAY_INPUT", "SNN.MAX_SPIKES"),
    *("UNIFORMER.HEAD_DIM", "UNIFORMER.QKV_SCALE", "UNIFORMER.ATTENTION", "RESPIKE.DIM_HEAD", "SEWRESNET.CNF"),
    *("SPIKFORMER.NUM_HEADS", "METASPIKFORMER.NUM_HEADS", "METASPIKFORMER.TIME_STEPS", "RESNET.TEMPORAL_POOL"),
    *("TIMESFORMER.NUM_HEADS", "TIMESFORMER.ATTENTION_TYPE", "RESPIKE.KEY_FRAME_STRIDE"),
    *("DATA.MEAN", "DATA.STD", "DATA.REVERSE_INPUT_CHANNEL", "DATA.RESIZE_ANTIALIAS", "DATA.EVENT_CLASS_ORDER"),
)


def warn_other_settings(cfg, settings: object, path: str | Path) -> None:
    """Says which of these a checkpoint's run had otherwise; `settings` is its configuration as YAML, if it has one."""
    then, now = settings_of(settings), flatten(yaml.safe_load(cfg.dump()))
    others = [f"{key} {then[key]} then, {now[key]} now" for key in DECISIVE if key in then and then[key] != now[key]]
    if others:
        logger.warning("The weights of %s were trained with other settings: %s.", path, "; ".join(others))


def settings_of(settings: object) -> dict[str, object]:
    """The dotted keys of a checkpoint's configuration; none if it has none, or another program's own form."""
    try:
        tree = yaml.safe_load(settings) if isinstance(settings, str) else {}
        return flatten(tree) if isinstance(tree, dict) else {}
    except (yaml.YAMLError, RecursionError):
        return {}


def other_shapes(cfg, settings: object) -> str:
    """Which keys of a checkpoint's configuration give its model other tensors: "DATA.NUM_FRAMES 8, now 16"; or ""."""
    then, now = settings_of(settings), flatten(yaml.safe_load(cfg.dump()))
    changed = [key for key in DECLARED if key in then.keys() & now.keys() and then[key] != now[key]]
    return "; ".join(f"{key} {then[key]}, now {now[key]}" for key in changed if decides_shapes(cfg, key, then[key]))


def decides_shapes(cfg, key: str, value: object) -> bool:
    """Whether the model has other tensors with `value`, or cannot be built with it and the other keys as they are."""
    other = cfg.clone()
    try:
        other.merge_flat({key: value})
        return shapes_of(other) != shapes_of(cfg)
    except Exception:  # an odd value may break a model anywhere, and this is only to explain a misfit
        return True


def shapes_of(cfg) -> dict[str, torch.Size]:
    with torch.device("meta"):
        return {name: tensor.shape for name, tensor in build_model(cfg).state_dict().items()}


def load_initial_weights(cfg, model: nn.Module, path: str | Path) -> LoadReport:
    """Loads what training starts from: the head may be new, and MODEL.MAX_UNLOADED of the model besides.

    Raises:
        CheckpointError: as `load_into`.
    """
    patterns = tuple(cfg.TRAIN.CHECKPOINT_CLEAR_NAME_PATTERN)
    return load_into(cfg, model, path, max_unloaded=cfg.MODEL.MAX_UNLOADED, clear_patterns=patterns)


def load_into(cfg, model: nn.Module, path: str | Path, **options) -> LoadReport:
    """`load_weights` from a file.

    Raises:
        CheckpointError: as `load_weights`; where the file's settings tell why it does not fit, one sentence with them.
    """
    try:
        return load_weights(model, path, **options)
    except MisfitError as error:
        others = other_shapes(cfg, error.report.settings)
        if not others:
            raise
        raise CheckpointError(
            f"{path} does not fit this model: it was trained with {others}. Set it as it was, or take other weights."
        ) from error


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


def given_test_weights(cfg) -> Path | None:
    """The file a test will take, if there is one before the run: what it writes itself is trusted to come.

    Raises:
        FileNotFoundError: as `test_weights`.
    """
    given = cfg.TEST.CHECKPOINT_FILE_PATH
    return None if cfg.TRAIN.ENABLE and (not given or will_be_written(cfg, Path(given))) else test_weights(cfg)


def will_be_written(cfg, path: Path) -> bool:
    """Whether a path is that of the best checkpoint of this run, or of an epoch's that is there at its end."""
    if path.resolve().parent != checkpoint_dir(cfg.OUTPUT_DIR).resolve():
        return False
    last, keep = cfg.SOLVER.MAX_EPOCH, cfg.TRAIN.KEEP_CHECKPOINTS
    saved = sorted({*range(cfg.TRAIN.CHECKPOINT_PERIOD, last, cfg.TRAIN.CHECKPOINT_PERIOD), last})
    return path.name in {BEST_NAME, *(checkpoint_name(epoch) for epoch in (saved[-keep:] if keep else saved))}


def load_test_weights(cfg, model: nn.Module, path: Path) -> LoadReport:
    """Loads what is to be tested, of which a head of the model's classes is part; warns of other settings.

    Raises:
        CheckpointError: as `load_into`.
    """
    report = load_into(cfg, model, path, new_head=False)
    warn_other_settings(cfg, report.settings, path)
    return report
