"""The first stop signal (a scheduler's, Ctrl+C, ...) lets the step end and the run save; the second ends it at once."""

import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

# A scheduler's, to which any exit status but 0 is a failure. SIGUSR2 is submitit's warning before a time limit.
SCHEDULERS_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
# Those of a terminal: with the status 128 + number the commands that were to follow are not begun.
TERMINALS_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
STOP_SIGNALS = SCHEDULERS_SIGNALS + TERMINALS_SIGNALS
# A terminal, torchrun, Slurm and a parent may each pass on the same signal; within this time they are one.
SAME_SIGNAL_SECONDS = 1.0


class RunInterrupted(Exception):
    """The run was asked to stop and has saved what it needs to go on; raised on every rank."""


class StopRequest:
    """What this process was asked while it listened."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self.since = 0.0
        self.listening = False
        self.children: list[int] = []

    def receive(self, number: int, frame) -> None:
        again = self.signal is not None
        if again and time.monotonic() - self.since < SAME_SIGNAL_SECONDS:
            return
        for child in self.children:
            forward(child, number)
        if again and number == signal.SIGINT:  # as a program ends that does not listen: a shell's loop ends with it
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if again:
            os._exit(128 + number)
        self.signal, self.since = signal.Signals(number), time.monotonic()
        if not self.children:
            # Written past Python's buffers, which the signal may have interrupted.
            text = f"\n{self.signal.name}: finishing the step and saving. Once more ends the process at once.\n"
            os.write(2, text.encode())


_request = StopRequest()


def forward(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):  # it may have ended by itself
        os.kill(pid, number)


def requested() -> signal.Signals | None:
    """The signal that asked this process to stop, if one has."""
    return _request.signal


def exit_status(signals: Iterable[signal.Signals | None]) -> int:
    """That of a run which signals to some of its processes have stopped, and which is saved: 0, or a terminal's."""
    return max(128 + number if number in TERMINALS_SIGNALS else 0 for number in signals)


@contextmanager
def listening() -> Iterator[None]:
    """Within it the stop signals are noted instead of obeyed, but for those that are ignored, as under nohup.

    Outside the main thread Python allows no handler.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _request.receive) for number in heard}
    _request.signal, _request.listening = None, True
    try:
        yield
    finally:
        _request.listening = False
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def forwarding_to(children: list[int]) -> Iterator[None]:
    """Within it the stop signals are noted and passed on to child processes, which do the stopping."""
    _request.children = children
    try:
        with listening():
            yield
    finally:
        _request.children = []


def shield_child() -> None:
    """A loader process must outlive a signal to all processes of the job: the step under way needs its batch."""
    if _request.listening:
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


os.register_at_fork(after_in_child=shield_child)
