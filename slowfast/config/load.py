"""From files and the command line to one config tree: defaults < `_BASE_` < file < KEY VALUE."""

import argparse
import os
from pathlib import Path

import yaml

from slowfast.config.compat import translate, without_effect
from slowfast.config.defaults import get_cfg
from slowfast.config.node import CfgNode, ConfigError, flatten

BASE = "_BASE_"
EPILOG = """examples:
  tools/run_net.py --cfg exp/quickstart/config.yaml
  tools/run_net.py --cfg FILE NUM_GPUS 2 SOLVER.BASE_LR 1e-3
  tools/run_net.py --cfg FILE OTHER_FILE --opts OUTPUT_DIR runs/a      (one run after the other)
  tools/run_net.py --help-config SOLVER                                (what the keys mean)"""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Both command lines of upstream: `--cfg FILE KEY VALUE ...` and `--cfg A B --opts KEY VALUE ...`.

    Returns a namespace of cfg_files, opts (list of KEY VALUE), shards (keys the flags set), init_method and
    help_config (a pattern, or None).
    """
    parser = argparse.ArgumentParser(
        prog="run_net.py",
        description=__doc__.split(":")[0] + ".",
        epilog=EPILOG,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.description = "Trains, validates and tests a video model as a config file and KEY VALUE options say."
    parser.add_argument("--cfg", nargs="+", metavar="FILE", help="config files; KEY VALUE pairs may follow one file")
    parser.add_argument(
        "--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="override config keys"
    )
    parser.add_argument("--num_shards", type=int, metavar="N", help="machines that take part (NUM_SHARDS)")
    parser.add_argument("--shard_id", type=int, metavar="I", help="which of them this one is, from 0 (SHARD_ID)")
    parser.add_argument("--init_method", metavar="URL", help="where shards meet: tcp://HOST:PORT of shard 0")
    parser.add_argument("--help-config", nargs="?", const="*", metavar="PATTERN", help="list config keys and exit")
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    words = [*(args.cfg or []), *args.rest]
    # The first word after the files that is a config key starts the KEY VALUE pairs.
    first_key = next((i for i, word in enumerate(words) if i > 0 and is_key(word)), len(words))
    args.cfg_files, args.opts = words[:first_key], words[first_key:] + args.opts
    args.shards = {
        key: value for key, value in (("NUM_SHARDS", args.num_shards), ("SHARD_ID", args.shard_id)) if value is not None
    }
    if not (args.cfg_files or args.help_config or args.version):
        parser.error("--cfg FILE is missing; --help shows examples, --help-config lists the keys")
    return args


def is_key(word: str) -> bool:
    """Whether a word of the command line looks like a config key rather than a file."""
    return not os.path.exists(word) and word.upper() == word and not word.lower().endswith((".yaml", ".yml"))


def load_config(file: str | Path | None, opts: list[str] = (), flags: dict[str, object] | None = None) -> CfgNode:
    """The tree of a config file (None: the defaults), KEY VALUE pairs over it, and flags over both.

    `cfg.messages` has a line for every key that was renamed or does nothing.

    Raises:
        ConfigError: unknown key, wrong value, unreadable file; says where and what to do.
    """
    cfg = get_cfg()
    messages: list[str] = []
    typed: set[str] = set()
    sources = read_with_bases(Path(file)) if file is not None else []
    sources.append(("command line", pairs(list(opts))))
    sources.append(("command line", dict(flags or {})))
    for origin, values in sources:
        values, said = translate(values)
        cfg.merge_flat(values, origin)
        messages += [message for message in said if message not in messages]
        typed |= values.keys()
    remember(cfg, messages + without_effect(typed))
    return cfg


def remember(cfg: CfgNode, messages: list[str]) -> None:
    """Adds to `cfg.messages`, which is no key of the tree."""
    object.__setattr__(cfg, "messages", [*getattr(cfg, "messages", []), *messages])


def pairs(opts: list[str]) -> dict[str, str]:
    """KEY VALUE KEY VALUE ... as a dict; a later value of the same key wins."""
    if len(opts) % 2:
        raise ConfigError(f"command line: options come as KEY VALUE pairs, and {opts[-1]!r} is left over.")
    return dict(zip(opts[::2], opts[1::2], strict=True))


def read_with_bases(path: Path, seen: tuple[Path, ...] = ()) -> list[tuple[str, dict]]:
    """(origin, dotted keys) of a file's `_BASE_` chain and the file itself, the furthest base first."""
    path = path.expanduser()
    if path.resolve() in seen:
        chain = " -> ".join(str(p) for p in (*seen, path.resolve()))
        raise ConfigError(f"{path}: {BASE} leads back to itself: {chain}.")
    tree = read_yaml(path)
    bases = tree.pop(BASE, [])
    sources = []
    for base in [bases] if isinstance(bases, str) else bases:
        sources += read_with_bases(path.parent / Path(base).expanduser(), (*seen, path.resolve()))
    return [*sources, (str(path), flatten(tree))]


def read_yaml(path: Path) -> dict:
    """A config file as nested dicts."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"Cannot read config file {path}: {error.strerror}. Check the path after --cfg.") from error
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigError(f"{where}: not valid YAML: {getattr(error, 'problem', error)}.") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: a config is sections of KEY: value, this file is a {type(tree).__name__}.")
    return tree


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


def write_config(cfg: CfgNode) -> Path:
    """Writes the resolved tree to OUTPUT_DIR/config.yaml, from which `--cfg` repeats the run."""
    path = Path(cfg.OUTPUT_DIR) / "config.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    aside.write_text(cfg.dump(), encoding="utf-8")
    os.replace(aside, path)
    return path
