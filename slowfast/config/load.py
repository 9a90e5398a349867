"""From files and the command line to one config tree: defaults < `_BASE_` < file < KEY VALUE."""

import argparse
import os
import re
import sys
from pathlib import Path

import yaml

from slowfast.config.compat import accepted_keys, without_effect
from slowfast.config.files import Source, flatten, nest, read_with_bases
from slowfast.config.keys import get_cfg
from slowfast.config.node import CfgNode, pairs
from slowfast.config.presets import preset_name

EPILOG = """examples:
  tools/run_net.py --cfg exp/quickstart/config.yaml
  tools/run_net.py --cfg FILE NUM_GPUS 2 SOLVER.BASE_LR 1e-3
  tools/run_net.py --cfg FILE OTHER_FILE --opts OUTPUT_DIR runs/a      (one run after the other)
  tools/run_net.py --help-config SOLVER                                (what the keys mean)"""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Both command lines of upstream: `--cfg FILE KEY VALUE ...` and `--cfg A B --opts KEY VALUE ...`.

    Returns a namespace of cfg_files, opts (list of KEY VALUE), shards (keys the flags set), init_method, version and
    help_config (a pattern, or None).
    """
    parser = argparse.ArgumentParser(
        prog="run_net.py",
        description="Trains, validates and tests a video model as a config file and KEY VALUE options say.",
        epilog=EPILOG,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--cfg", nargs="+", metavar="FILE", help="config files; KEY VALUE pairs may follow one file")
    parser.add_argument(
        "--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="override config keys"
    )
    parser.add_argument("--num_shards", type=int, metavar="N", help="machines that take part (NUM_SHARDS)")
    parser.add_argument("--shard_id", type=int, metavar="I", help="which of them this one is, from 0 (SHARD_ID)")
    parser.add_argument("--init_method", metavar="URL", help="where shards meet: tcp://HOST:PORT of shard 0")
    parser.add_argument("--help-config", nargs="?", const="*", metavar="PATTERN", help="list config keys and exit")
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    args, stray = parser.parse_known_args([shield_number(word) for word in (sys.argv[1:] if argv is None else argv)])
    if stray:
        parser.error(f"{' '.join(stray)}: no flag of this command; config files and KEY VALUE pairs come after --cfg")
    if not args.cfg and args.help_config is None and not args.version:
        parser.error("--cfg FILE is missing; --help shows examples, --help-config lists the keys")
    words, opts = ([unshield(word) for word in words] for words in (args.cfg or [], args.opts))
    # The first word after a file that is no file itself starts the KEY VALUE pairs.
    first_key = next((i for i, word in enumerate(words) if i > 0 and not is_file(word)), len(words))
    args.cfg_files, args.opts = words[:first_key], words[first_key:] + opts
    shards = {"NUM_SHARDS": args.num_shards, "SHARD_ID": args.shard_id}
    args.shards = {key: value for key, value in shards.items() if value is not None}
    return args


def shield_number(word: str) -> str:
    """argparse takes -1e-3 for a flag, unless there is a space in it."""
    return f" {word}" if re.match(r"-[\d.]", word) else word


def unshield(word: str) -> str:
    return word[1:] if word.startswith(" -") else word


def is_file(word: str) -> bool:
    """Whether a word of the command line means a config file rather than a key."""
    return word.lower().endswith((".yaml", ".yml")) or os.path.isfile(word)


def load_config(file: str | Path | None, opts: list = (), flags: dict[str, object] | None = None) -> CfgNode:
    """The tree of a config file (None: the defaults), KEY VALUE pairs over it, and flags over both.

    `cfg.messages` has a line for every key that was renamed, and one for those that do nothing.

    Raises:
        ConfigError: unknown key, wrong value, unreadable file; says where and what to do.
    """
    cfg = get_cfg()
    typed: set[str] = set()
    for source in [*read_sources(file, opts), Source("command line", dict(flags or {}), {}, [])]:
        typed |= cfg.merge_flat(source.values, source.origin, source.lines)
        cfg.remember(*source.notes)
    cfg.remember(*without_effect(typed))
    return cfg


def read_sources(file: str | Path | None, opts: list) -> list[Source]:
    """A config file with its `_BASE_` chain, then KEY VALUE pairs: what comes later counts."""
    sources = [] if file is None else read_with_bases(Path(file))
    return [*sources, Source("command line", pairs(list(opts)), {}, [])]


def named_model(file: str | Path, opts: list = ()) -> str | None:
    """The model that a config names (`preset_name`), whatever else is wrong in it; None if it names none.

    Raises:
        ConfigError: an unreadable file, or a model of upstream's that is not supported.
    """
    cfg, keys = get_cfg(), ("MODEL.MODEL_NAME", "MODEL.ARCH")
    for source in read_sources(file, opts):
        cfg.merge_flat({key: source.values[key] for key in keys if key in source.values}, source.origin, source.lines)
    return preset_name(cfg) if any(map(cfg.is_set, keys)) else None


def diff_to_defaults(cfg: CfgNode) -> dict[str, tuple[object, object]]:
    """Keys whose value is not the default: key -> (default, value)."""
    defaults, values = flatten(get_cfg()), flatten(cfg)
    return {key: (defaults[key], value) for key, value in values.items() if value != defaults[key]}


def describe_diff(cfg: CfgNode) -> str:
    """The diff to the defaults as aligned lines `KEY  value  (default ...)`."""
    rows = [(key, repr(value), repr(default)) for key, (default, value) in sorted(diff_to_defaults(cfg).items())]
    if not rows:
        return "  (none)"
    widths = [max(len(row[i]) for row in rows) for i in (0, 1)]
    return "\n".join(f"  {k:<{widths[0]}}  {v:<{min(widths[1], 40)}}  (default {d})" for k, v, d in rows)


def resolved_yaml(cfg: CfgNode) -> str:
    """The resolved tree as the text of a config file, which repeats the run.

    Keys without effect are left out unless they were set: the next run would say of each that it does nothing.
    """
    idle = {key: default for group in accepted_keys().values() for key, default in group.items()}
    tree = nest({key: value for key, value in flatten(cfg).items() if key not in idle or value != idle[key]})
    return yaml.safe_dump(tree, default_flow_style=None, allow_unicode=True)


def write_config(cfg: CfgNode) -> Path:
    """Writes `resolved_yaml` to OUTPUT_DIR/config.yaml."""
    path = Path(cfg.OUTPUT_DIR) / "config.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    aside.write_text(resolved_yaml(cfg), encoding="utf-8")
    os.replace(aside, path)
    return path
