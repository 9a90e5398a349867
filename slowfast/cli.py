"""The command line: parse, load each configuration, launch it, and turn a user's mistake into one message."""

import logging
import sys
import traceback


def main(argv: list[str] | None = None) -> int:
    """Runs every configuration of `--cfg`; returns the process's exit status, 1 for a mistake it explains."""
    from slowfast.config import parse_args

    args = parse_args(argv)
    # From here on torch is needed; --help and --version have been answered without it.
    from slowfast.config import assert_and_infer_cfg, help_config, load_config
    from slowfast.datasets import VideoError
    from slowfast.engine import launch, run

    try:
        if args.help_config is not None:
            print(help_config(args.help_config))
            return 0
        for file in args.cfg_files:
            cfg = assert_and_infer_cfg(load_config(file, args.opts, args.shards))
            launch(cfg, run, args.init_method)
    except (ValueError, OSError, KeyError, VideoError) as error:
        message = error.args[0] if isinstance(error, KeyError) else error
        logging.getLogger("slowfast").debug("%s", traceback.format_exc())
        print(f"\nError: {message}", file=sys.stderr)
        return 1
    return 0
