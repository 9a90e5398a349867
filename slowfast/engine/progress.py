"""What a person sees of a loop: a bar with the latest figures on a terminal, plain lines elsewhere."""

import sys

from tqdm import tqdm

from slowfast.utils.distributed import is_master
from slowfast.utils.logging import log_json_stats, logger


class Progress:
    """Shows a loop of `steps` steps; a plain line every `log_period` steps."""

    def __init__(self, title: str, steps: int, log_period: int):
        self.title, self.steps, self.log_period = title, steps, log_period
        on_terminal = is_master() and sys.stdout.isatty()
        self.bar = tqdm(total=steps, desc=title, leave=False, dynamic_ncols=True) if on_terminal else None

    def is_due(self, step: int) -> bool:
        return (step + 1) % self.log_period == 0 or step + 1 == self.steps

    def update(self, step: int, shown: dict[str, str], stats: dict | None) -> None:
        """Advances to `step`; `shown` is for a person, `stats` for the log file (None: not this step)."""
        if self.bar is not None:
            self.bar.update()
            self.bar.set_postfix(shown, refresh=False)
        if stats is not None:
            log_json_stats(stats)
        if self.bar is None and self.is_due(step):
            figures = "  ".join(f"{key} {value}" for key, value in shown.items())
            logger.info("%s  %d/%d  %s", self.title, step + 1, self.steps, figures)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
