"""Weights from a checkpoint into a model, with a report of what fitted and an error when too little did."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor, nn

from slowfast.models.build import MODEL_REGISTRY
from slowfast.models.layouts import FOREIGN, Layout, is_one_of
from slowfast.utils.checkpoint import load_checkpoint
from slowfast.utils.distributed import sharded_like
from slowfast.utils.files import CheckpointError
from slowfast.utils.finite import refuse_unusable
from slowfast.utils.wording import first_of

# Where projects keep the weights in a checkpoint, in the order they are looked for.
CONTAINERS = ("model_state", "model_state_dict", "state_dict", "model", "model_ema")
PREFIXES = ("module.", "_orig_mod.")  # DistributedDataParallel, torch.compile
HEADS = ("head.*",)  # a model whose classifier has another name says so in `heads`


@dataclass
class LoadReport:
    """Names of tensors. Those in `reshaped` and `renamed` are in `loaded` too; `unused` has the file's names."""

    source: str
    layout: str = ""  # the kind of checkpoint, if it is one that is known by its names
    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)  # "name: file (10, 4), model (11, 4)"
    reshaped: list[str] = field(default_factory=list)  # "name: (64, 3, 4, 4) -> (64, 3, 3, 4, 4)"
    renamed: list[str] = field(default_factory=list)  # "theirs -> ours"
    settings: object = None  # the configuration of the file's run, as it has it

    def __str__(self) -> str:
        lines = [f"{self.source}: {self.layout + ', ' if self.layout else ''}{len(self.loaded)} tensors loaded"]
        for kind in ("renamed", "reshaped", "missing", "unused", "mismatched"):
            names = getattr(self, kind)
            if names:
                lines.append(f"  {kind} {len(names)}: {first_of(names, 8)}")
        return "\n".join(lines)


class MisfitError(CheckpointError):
    """Too little of a checkpoint fits the model; `report`: what of it does."""

    def __init__(self, message: str, report: LoadReport):
        super().__init__(message, report)  # both, to be pickled on the way to other ranks
        self.report = report

    def __str__(self) -> str:
        return self.args[0]


def load_weights(
    model: nn.Module,
    source: str | Path | dict,
    *,
    max_unloaded: float = 0.0,
    clear_patterns: tuple[str, ...] = (),
    new_head: bool = True,
) -> LoadReport:
    """Loads a checkpoint file (or state dict) of any kind the model's `layouts` know into `model`.

    Weights of 2-D convolutions are repeated over the time of 3-D ones and divided by it (Carreira and Zisserman
    2017), which gives a still clip the image's activations. Nothing is loaded when an error is raised.

    Args:
        max_unloaded: share of the model's values, and of the file's, the head apart, that may find no counterpart.
        clear_patterns: removed from the file's names (TRAIN.CHECKPOINT_CLEAR_NAME_PATTERN).
        new_head: whether a head that is missing or for another number of classes keeps its initial values, which the
            report says, or is an error (to test).

    Raises:
        CheckpointError: the file cannot be read, or its weights are no finite floats.
        MisfitError: too little of them fits.
    """
    name = "state dict" if isinstance(source, dict) else str(source)
    checkpoint = source if isinstance(source, dict) else load_checkpoint(source)
    tensors = find_weights(checkpoint, name)
    own = model.state_dict()
    theirs = clean_names(tensors, own, clear_patterns)
    layout = recognise(theirs, getattr(model, "layouts", ()))
    report = LoadReport(name, layout.name if layout else "", settings=checkpoint.get("cfg"))
    refuse_unusable_weights(theirs, own, layout, name)
    fitting = fit(adapt(theirs, own, layout, report), own, report)
    refuse_poor_fit(model, theirs, report, layout, max_unloaded, new_head)
    model.load_state_dict({name: sharded_like(value, own[name]) for name, value in fitting.items()}, strict=False)
    return report


def find_weights(checkpoint: dict, name: str) -> dict[str, Tensor]:
    """The name -> tensor dict of a checkpoint, wherever its project keeps it."""
    container = container_of(checkpoint)
    checkpoint = checkpoint[container] if container else checkpoint
    tensors = {key: value for key, value in checkpoint.items() if isinstance(value, Tensor)}
    if not tensors:
        raise CheckpointError(f"{name} holds no weights; its keys are {', '.join(map(str, list(checkpoint)[:8]))}.")
    return tensors


def container_of(checkpoint: dict) -> str:
    """The key under which a checkpoint has its weights; empty: it is the weights."""
    return next((key for key in CONTAINERS if isinstance(checkpoint.get(key), dict)), "")


def clean_names(
    tensors: dict[str, Tensor], own: dict[str, Tensor], clear_patterns: tuple[str, ...]
) -> dict[str, Tensor]:
    """The tensors without wrappers' prefixes and the given patterns in their names."""
    cleaned = {}
    for key, value in tensors.items():
        for prefix in PREFIXES:
            key = key.removeprefix(prefix)
        for pattern in clear_patterns:
            key = key.replace(pattern, "")
        cleaned[key] = value
    # Trainers that hold the network as their attribute `model`.
    if all(key.startswith("model.") for key in cleaned) and not any(key.startswith("model.") for key in own):
        cleaned = {key.removeprefix("model."): value for key, value in cleaned.items()}
    return cleaned


def recognise(tensors: dict[str, Tensor], layouts: tuple[Layout, ...]) -> Layout | None:
    """The first layout whose names these are."""
    return next((layout for layout in layouts if layout.recognises(tensors)), None)


def refuse_unusable_weights(theirs: dict, own: dict, layout: Layout | None, source: str) -> None:
    """Raises CheckpointError if a tensor that may get into the model is not finite, or not of the kind it is for."""
    wanted = {key: value for key, value in theirs.items() if not (layout and is_one_of(key, layout.drops))}
    dtypes = {key: own[name].dtype for key in wanted if (name := layout.own_name(key) if layout else key) in own}
    refuse_unusable(wanted.items(), dtypes.get, source)


def adapt(theirs: dict, own: dict, layout: Layout | None, report: LoadReport) -> dict[str, Tensor]:
    """The file's tensors by the model's names and in its shapes, as far as the layout and inflation know how."""
    wanted = [key for key in theirs if not (layout and is_one_of(key, layout.drops))]
    their_name = {layout.own_name(key) if layout else key: key for key in wanted}
    tensors = {name: theirs[key] for name, key in their_name.items()}
    if layout:
        tensors = layout.convert(tensors, own)
    for name in [name for name in own if name in tensors]:
        tensors[name] = inflated(tensors[name], own[name])
        before = theirs[their_name[name]].shape if name in their_name else None
        if before is None:
            report.reshaped.append(f"{name}: made from others")
        elif tensors[name].shape != before:
            report.reshaped.append(f"{name}: {tuple(before)} -> {tuple(tensors[name].shape)}")
    report.renamed = [f"{key} -> {name}" for name, key in their_name.items() if name != key and name in own]
    # A tensor that the conversion took away has become part of another.
    used = {key for name, key in their_name.items() if name in own or name not in tensors}
    report.unused = [key for key in theirs if key not in used]
    return {name: tensors[name] for name in own if name in tensors}


def inflated(weight: Tensor, own: Tensor) -> Tensor:
    """A 2-D convolution's weight [D, C, h, w] for the 3-D one `own` [D, C, t, h, w]; any other tensor as it is."""
    is_2d = weight.dim() == 4 and own.dim() == 5 and own.shape[:2] + own.shape[3:] == weight.shape
    return weight.unsqueeze(2).repeat(1, 1, own.shape[2], 1, 1) / own.shape[2] if is_2d else weight


def fit(tensors: dict[str, Tensor], own: dict[str, Tensor], report: LoadReport) -> dict[str, Tensor]:
    """Those of the tensors that have a place in the model, and what happened to each place in the report."""
    fitting = {}
    for key, value in own.items():
        if key not in tensors:
            report.missing.append(key)
        elif tensors[key].shape != value.shape:
            report.mismatched.append(f"{key}: file {tuple(tensors[key].shape)}, model {tuple(value.shape)}")
        else:
            fitting[key] = tensors[key]
            report.loaded.append(key)
    return fitting


def refuse_poor_fit(
    model: nn.Module, theirs: dict, report: LoadReport, layout: Layout | None, max_unloaded: float, new_head: bool
) -> None:
    """Raises MisfitError, with the table and what the file is, unless enough of both sides was used."""
    own = model.state_dict()
    heads = getattr(model, "heads", HEADS)
    left_out = report.missing + [line.partition(":")[0] for line in report.mismatched]
    settings = other_settings(theirs, own, layout)
    told = f"{report.source} does not fit this model: its tensors are those of one with {settings}. Set it so."
    if not new_head and any(is_one_of(key, heads) for key in left_out):
        raise MisfitError(
            told
            if settings
            else f"The head of the model finds no weights, and a random one is not tested.\n{report}\n"
            "Set MODEL.NUM_CLASSES to that of the checkpoint.",
            report,
        )
    exempt = heads + (layout.fresh if layout else ())
    empty = share([key for key in left_out if not is_one_of(key, exempt)], own)
    idle = share([key for key in report.unused if not is_one_of(key, heads + (layout.drops if layout else ()))], theirs)
    if report.loaded and max(empty, idle) <= max_unloaded:
        return
    raise MisfitError(
        told
        if settings
        else f"{empty:.1%} of the model would stay without weights and {idle:.1%} of the file unused (allowed: "
        f"MODEL.MAX_UNLOADED {max_unloaded:.1%}).\n{report}\n{advice(theirs, model)}",
        report,
    )


def share(keys: list[str], tensors: dict[str, Tensor]) -> float:
    """How many of the values these tensors hold; counters (`num_batches_tracked`) are none."""
    values = {key: value.numel() for key, value in tensors.items() if value.is_floating_point()}
    return sum(values.get(key, 0) for key in keys) / max(sum(values.values()), 1)


def other_settings(theirs: dict[str, Tensor], own: dict[str, Tensor], layout: Layout | None) -> str:
    """Keys and values of the model a file's tensors are of, where they tell that this one has others; empty: none."""
    if layout is None:
        return ""
    built = layout.settings(own)
    wanted = layout.settings({layout.own_name(key): value for key, value in theirs.items()})
    return " ".join(f"{key} {wanted[key]}" for key in sorted(wanted) if wanted[key] != built.get(key, wanted[key]))


def advice(theirs: dict[str, Tensor], model: nn.Module) -> str:
    """What to do about a file that does not fit: the model it is for, or the keys that decide shapes."""
    fitting = models_that_read(theirs)
    foreign = recognise(theirs, FOREIGN)
    if type(model) in fitting.values() or not (fitting or foreign):
        return "Check MODEL.MODEL_NAME, the model's own section, DATA.NUM_FRAMES and DATA.TRAIN_CROP_SIZE against it."
    if fitting:
        return f"These look like weights for MODEL.MODEL_NAME {' or '.join(fitting)}."
    return f"These are weights of {foreign.name}, which no model here reads."


def models_that_read(tensors: dict[str, Tensor]) -> dict[str, type]:
    """Registered models of which a layout has these names."""
    return {name: kind for name, kind in MODEL_REGISTRY if recognise(tensors, getattr(kind, "layouts", ()))}


def export_weights(model: nn.Module, layout: str = "upstream") -> dict[str, Tensor]:
    """The model's weights by the names of another project's files.

    Args:
        layout: `upstream`, the first of the model's layouts, or the name of any of them.
    """
    chosen = export_layout(model, layout)
    return {chosen.their_name(key) if chosen else key: value for key, value in model.state_dict().items()}


def export_layout(model: nn.Module, layout: str = "upstream") -> Layout | None:
    """The layout by that name; None for the upstream of a model that has no layouts, whose own names are upstream's.

    Raises:
        ValueError: no such layout, or one of which only a part is read (an image model's).
    """
    layouts = getattr(model, "layouts", ())
    if layout == "upstream":
        return layouts[0] if layouts else None
    found = next((known for known in layouts if known.name == layout and not known.drops), None)
    if found is None:
        names = ", ".join(["upstream", *(known.name for known in layouts if not known.drops)])
        raise ValueError(f"{type(model).__name__} is not written as {layout!r}. There are: {names}.")
    return found


def initial_weights(model: nn.Module) -> Path | None:
    """The file of image weights the model's config names (`model.pretrained`); None if it names none.

    A bare name is `$CKPT_ROOT/NAME.pth`.

    Raises:
        CheckpointError: a bare name, and CKPT_ROOT is not set.
    """
    name = getattr(model, "pretrained", None)
    if not name:
        return None
    path = Path(name).expanduser()
    if path.suffix or len(path.parts) > 1:
        return path
    if "CKPT_ROOT" not in os.environ:
        raise CheckpointError(
            f"Training starts from the weights {name!r}. Set the environment variable CKPT_ROOT to the folder of "
            f"{name}.pth, the config's key to the file's path, or to '' to start from random weights."
        )
    return Path(os.environ["CKPT_ROOT"]) / f"{name}.pth"
