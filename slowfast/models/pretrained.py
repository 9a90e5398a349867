"""Weights from a checkpoint into a model, with a report of what fitted and an error when too little did."""

from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor, nn

from slowfast.utils.checkpoint import CheckpointError, load_checkpoint

# Where projects keep the weights in a checkpoint, in the order they are looked for.
CONTAINERS = ("model_state", "model_state_dict", "state_dict", "model")
PREFIXES = ("module.", "_orig_mod.")  # DistributedDataParallel, torch.compile


@dataclass
class LoadReport:
    """Names of tensors: loaded, missing from the file, unused of the file, and of another shape."""

    source: str
    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)  # "name: file (10, 4), model (11, 4)"

    def __str__(self) -> str:
        lines = [f"{self.source}: {len(self.loaded)} tensors loaded"]
        for kind in ("missing", "unused", "mismatched"):
            names = getattr(self, kind)
            if names:
                more = f", and {len(names) - 8} more" if len(names) > 8 else ""
                lines.append(f"  {kind} {len(names)}: {', '.join(names[:8])}{more}")
        return "\n".join(lines)


def load_weights(
    model: nn.Module,
    source: str | Path | dict,
    *,
    max_unloaded: float = 0.0,
    clear_patterns: tuple[str, ...] = (),
) -> LoadReport:
    """Loads a checkpoint file (or state dict) into `model`.

    A classification head for another number of classes is left as it is and reported.

    Args:
        max_unloaded: share of the model's parameters, the head apart, that may stay as they are.
        clear_patterns: removed from the file's names (TRAIN.CHECKPOINT_CLEAR_NAME_PATTERN).

    Raises:
        CheckpointError: the file cannot be read, or more than `max_unloaded` finds no weights in it.
    """
    name = "state dict" if isinstance(source, dict) else str(source)
    state = find_weights(source if isinstance(source, dict) else load_checkpoint(source), name)
    state = {clean_name(key, clear_patterns): value for key, value in state.items()}
    own = model.state_dict()
    report = LoadReport(name, unused=sorted(set(state) - set(own)))
    fitting, left = {}, 0
    for key, value in own.items():
        if key in state and state[key].shape == value.shape:
            fitting[key] = state[key]
            report.loaded.append(key)
            continue
        if key in state:
            report.mismatched.append(f"{key}: file {tuple(state[key].shape)}, model {tuple(value.shape)}")
        else:
            report.missing.append(key)
        if not key.startswith("head."):
            left += value.numel()
    share = left / max(sum(value.numel() for value in own.values()), 1)
    if not report.loaded or share > max_unloaded:
        raise CheckpointError(
            f"{share:.1%} of the model would stay without weights (allowed: MODEL.MAX_UNLOADED {max_unloaded:.1%}).\n"
            f"{report}\nCheck MODEL.MODEL_NAME, UNIFORMER.*, DATA.NUM_FRAMES and DATA.TRAIN_CROP_SIZE against it."
        )
    model.load_state_dict(fitting, strict=False)
    return report


def find_weights(checkpoint: dict, name: str) -> dict[str, Tensor]:
    """The name -> tensor dict of a checkpoint, wherever its project keeps it."""
    for container in CONTAINERS:
        if isinstance(checkpoint.get(container), dict):
            checkpoint = checkpoint[container]
            break
    tensors = {key: value for key, value in checkpoint.items() if isinstance(value, Tensor)}
    if not tensors:
        raise CheckpointError(f"{name} holds no weights; its keys are {', '.join(map(str, list(checkpoint)[:8]))}.")
    return tensors


def clean_name(key: str, clear_patterns: tuple[str, ...]) -> str:
    """A parameter's name without wrappers' prefixes and the given patterns."""
    for prefix in PREFIXES:
        key = key.removeprefix(prefix)
    for pattern in clear_patterns:
        key = key.replace(pattern, "")
    return key
