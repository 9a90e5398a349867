"""Logging: plain lines on the terminal of rank 0, everything of it in OUTPUT_DIR/stdout.log, json_stats lines.

`json_stats` lines keep SlowFast's form, which log parsers rely on: sorted keys, floats with 5 decimals.
"""

import decimal
import logging
import math
import os
import sys
from logging.handlers import WatchedFileHandler
from pathlib import Path

import simplejson
from tqdm import tqdm

from slowfast.utils.distributed import is_master

FORMAT = "[%(asctime)s][%(levelname)s] %(filename)s: %(lineno)3d: %(message)s"
logger = logging.getLogger("slowfast")


# What a user can cause; everything else is ours and keeps its traceback.
USER_ERRORS = (ValueError, OSError, KeyError)


class TerminalHandler(logging.Handler):
    """Prints to standard output through tqdm, so that a progress bar stays below the lines; no json_stats.

    Survives a full disk where standard output is a file.
    """

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "file_only", False):
            return
        try:
            tqdm.write(self.format(record), file=sys.stdout)
            sys.stdout.flush()
        except BrokenPipeError:  # nobody reads any more
            raise
        except OSError as error:
            print(f"\nThe terminal cannot be written: {error}. Its lines are lost.", file=sys.stderr, flush=True)
            discard_output()


def discard_output() -> None:
    """From here on standard output goes nowhere, also what Python would still flush at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class RunLogHandler(WatchedFileHandler):
    """Appends to OUTPUT_DIR/stdout.log; makes both again if someone removes them; survives a full disk."""

    lost = 0

    def _open(self):
        os.makedirs(os.path.dirname(self.baseFilename), exist_ok=True)
        return super()._open()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            super().emit(record)
        except OSError:  # while it is opened again
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Says once that lines are lost; each of them would hide what the run has to say."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self.lost:
            print(f"\n{self.baseFilename} cannot be written: {error}. Its lines are lost.", file=sys.stderr, flush=True)
        self.lost += 1


def setup_logging(output_dir: str | Path | None) -> None:
    """Rank 0 logs to the terminal and appends to `output_dir`/stdout.log; other ranks only report errors."""
    logger.handlers.clear()
    logger.propagate = False
    logger.setLevel(logging.INFO if is_master() else logging.ERROR)
    terminal = TerminalHandler()
    terminal.setFormatter(logging.Formatter("%(message)s" if is_master() else FORMAT, "%m/%d %H:%M:%S"))
    logger.addHandler(terminal)
    if is_master() and output_dir is not None:
        file = RunLogHandler(Path(output_dir) / "stdout.log", encoding="utf-8")
        file.setFormatter(logging.Formatter(FORMAT, "%m/%d %H:%M:%S"))
        logger.addHandler(file)


def report_error(error: BaseException, *, rank: int = 0) -> None:
    """Prints a user's mistake as one message; one that every rank notices (`on_every_rank`) only on rank 0."""
    if rank and getattr(error, "on_every_rank", False):
        return
    message = error.args[0] if isinstance(error, KeyError) else error
    where = f" (rank {rank})" if rank else ""
    print(f"\nError{where}: {message}", file=sys.stderr, flush=True)


def log_json_stats(stats: dict) -> None:
    """Writes one `json_stats: {...}` line to stdout.log; JSON has no NaN and no infinity, so they are null there."""
    stats = {key: rounded(value) if isinstance(value, float) else value for key, value in stats.items()}
    line = simplejson.dumps(stats, sort_keys=True, use_decimal=True)
    logger.info("json_stats: %s", line, extra={"file_only": True})


def rounded(value: float) -> decimal.Decimal | None:
    return decimal.Decimal(f"{value:.5f}") if math.isfinite(value) else None
