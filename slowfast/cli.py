"""The command line: parse, load each configuration, launch it; a user's mistake becomes one message."""

import os
import signal
import sys

from slowfast.config import assert_and_infer_cfg, help_config, load_config, parse_args
from slowfast.models import refuse_unknown_model, refuse_unregistered
from slowfast.utils.logging import USER_ERRORS, discard_output, report_error
from slowfast.version import __version__


def print_text(text: str) -> None:
    """Prints to a reader that may go away before the end (`| head`)."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        discard_output()


def main(argv: list[str] | None = None) -> int:
    """Runs every configuration of `--cfg`; returns the process's exit status, 1 after a mistake it has explained.

    Raises:
        SystemExit: the command line is not understood (2), or a signal has interrupted a run, which is saved.
        KeyboardInterrupt: that signal was Ctrl+C. Python then ends by the signal itself: a shell would take a mere
            status of 130 for a program that has dealt with Ctrl+C, and go on with its loop.
    """
    args = parse_args(argv)
    if args.version:
        print(f"spikefast {__version__}")
        return 0
    if args.help_config is not None:
        print_text(help_config(args.help_config))
        return 0
    try:
        from slowfast.engine import launch, run  # --help and its like need no engine

        for file in args.cfg_files:
            refuse_unknown_model(file, args.opts)
            cfg = load_config(file, args.opts, args.shards)
            refuse_unregistered(cfg)
            launch(assert_and_infer_cfg(cfg), run, args.init_method)
    except USER_ERRORS as error:
        report_error(error, rank=int(os.environ.get("RANK", 0)))
        return 1
    except (SystemExit, KeyboardInterrupt) as ended:
        if isinstance(ended, SystemExit) and ended.code != 128 + signal.SIGINT:
            raise
        sys.excepthook = lambda *error: None  # what there is to say has been said
        raise KeyboardInterrupt from None
    return 0
