"""`tools/convert_checkpoint.py`: a checkpoint by a model's own names, or by upstream's, and what is in it."""

import argparse

import torch
from torch import Tensor

from slowfast.config import assert_and_infer_cfg, load_config
from slowfast.models.build import MODEL_REGISTRY, build_model, refuse_unknown_model
from slowfast.models.layouts import FOREIGN, is_one_of
from slowfast.models.pretrained import (
    HEADS,
    LoadReport,
    clean_names,
    container_of,
    export_layout,
    export_weights,
    find_weights,
    load_weights,
    models_that_read,
    recognise,
)
from slowfast.utils.checkpoint import load_checkpoint
from slowfast.utils.files import SAFETENSORS, save_atomically
from slowfast.utils.finite import refuse_unusable
from slowfast.utils.logging import USER_ERRORS, report_error

EPILOG = """examples:
  tools/convert_checkpoint.py uniformer_s.pth weights.safetensors --explain      (names only, no model needed)
  tools/convert_checkpoint.py vit.pth start.pyth --cfg FILE DATA.NUM_FRAMES 16   (also shapes: inflated, resized)
  tools/convert_checkpoint.py run/best.pyth theirs.pyth --cfg FILE --to upstream"""


# In every model, where there is none to ask; `w` is a PLIF's.
FLOATS = ("*weight", "*bias", "*running_mean", "*running_var", "*.w", "*token", "*embed")


def main(argv: list[str] | None = None) -> int:
    """Converts as the command line says; returns the exit status, 1 after a mistake it has explained."""
    args = parse(argv)
    try:
        tensors, container, lines = convert(args.source, args.cfg, args.to)
        if args.explain:
            print("\n".join([*describe(args.source), *lines]))
        if args.target.endswith(SAFETENSORS) or not container:
            save_atomically(tensors, args.target)
        else:
            save_atomically({container: tensors}, args.target)
    except USER_ERRORS as error:
        report_error(error, rank=0)
        return 1
    print(f"{args.target}: {len(tensors)} tensors")
    return 0


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="convert_checkpoint.py",
        description="Converts a checkpoint of any known kind; a target that ends with .safetensors is written as such.",
        epilog=EPILOG,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("source", metavar="IN", help="checkpoint: .pth, .pyth, .pt, .safetensors")
    parser.add_argument("target", metavar="OUT", help="file to write")
    parser.add_argument("--cfg", nargs="+", metavar="FILE", help="config of the model, and KEY VALUE pairs")
    parser.add_argument("--to", default="own", metavar="NAMES", help="own (default), upstream, or a layout's name")
    parser.add_argument("--explain", action="store_true", help="say what the file is and what becomes of each tensor")
    args = parser.parse_args(argv)
    if args.to != "own" and not args.cfg:
        parser.error(f"--to {args.to} needs --cfg FILE: whose names they become depends on the model")
    return args


def convert(source: str, cfg_words: list[str] | None, to: str) -> tuple[dict[str, Tensor], str, list[str]]:
    """The tensors to write, the key to write them under, and what became of each of the file's."""
    if cfg_words is None:
        return *by_names(source), []
    file, *options = cfg_words
    refuse_unknown_model(file, options)
    model = build_model(assert_and_infer_cfg(load_config(file, options)))
    report = load_weights(model, source)
    if to == "own":
        return model.state_dict(), "model_state", changes(report)
    layout = export_layout(model, to)
    return export_weights(model, to), layout.container if layout else "model_state", changes(report)


def by_names(source: str) -> tuple[dict[str, Tensor], str]:
    """The tensors by the names of the model that reads such a file, in the file's shapes; its own if none does."""
    tensors = clean_names(find_weights(load_checkpoint(source), source), {}, ())
    refuse_unusable(tensors.items(), lambda key: torch.float32 if is_one_of(key, FLOATS) else None, source)
    kinds = list(models_that_read(tensors).values())
    if kinds:
        layout = recognise(tensors, kinds[0].layouts)
        tensors = {layout.own_name(key): value for key, value in tensors.items() if not is_one_of(key, layout.drops)}
    return tensors, "model_state"


def describe(source: str) -> list[str]:
    """What a checkpoint is: where its weights are, of which kind, for which models, and for how many classes."""
    checkpoint = load_checkpoint(source)
    found = find_weights(checkpoint, source)
    tensors = clean_names(found, {}, ())
    models = models_that_read(tensors)
    layouts = [recognise(tensors, MODEL_REGISTRY.get(name).layouts).name for name in models]
    foreign = recognise(tensors, FOREIGN)
    values = sum(value.numel() for value in found.values())
    place = f" under {container_of(checkpoint)!r}" if container_of(checkpoint) else ""
    lines = [
        f"{source}: {len(found)} tensors, {values:,} values{place}",
        f"kind: {(layouts or [foreign.name if foreign else 'not known by its names'])[0]}",
        f"read by MODEL.MODEL_NAME: {', '.join(models) or 'none that lists its names'}",
    ]
    heads = {key for kind in models.values() for key in getattr(kind, "heads", HEADS)} or set(HEADS)
    lines += [
        f"classes: {value.shape[0]} ({key})"
        for key, value in tensors.items()
        if is_one_of(key, heads) and key.endswith("weight")
    ]
    return lines


def changes(report: LoadReport) -> list[str]:
    """Every tensor that did not go over as it was, a line each."""
    kinds = ("renamed", "reshaped", "missing", "unused", "mismatched")
    return [f"{kind}: {line}" for kind in kinds for line in getattr(report, kind)]
