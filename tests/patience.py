"""How long tests wait for processes; a slow or busy machine multiplies it by SPIKEFAST_TEST_PATIENCE."""

import os
import time
from collections.abc import Callable

PATIENCE = float(os.environ.get("SPIKEFAST_TEST_PATIENCE", 1))


def patient(seconds: float) -> float:
    """A time limit as long as this machine needs."""
    return seconds * PATIENCE


def wait_until(condition: Callable, seconds: float, why: Callable[[], object] = str):
    """The first true value of `condition()`; an error with what `why()` says when it does not come in time."""
    deadline = time.monotonic() + patient(seconds)
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{why()}\nnot within {patient(seconds):g} s; set SPIKEFAST_TEST_PATIENCE"
        time.sleep(0.005)
    return found
