"""Whatever a config file or a command line holds: one message, or a config that is valid."""

import os
import random
import re
import signal
from contextlib import contextmanager

from fuzz import mutated, what_becomes_of
from patience import patient

MUTATIONS = int(os.environ.get("FUZZ_MUTATIONS", "300"))


@contextmanager
def within(seconds: float):
    """Raises TimeoutError in what hangs."""

    def end(*_):
        raise TimeoutError(f"it takes longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_mutated_configs_are_valid_or_refused_by_one_message(tmp_path, record_property):
    said = []
    for seed in range(MUTATIONS):
        text, words = mutated(random.Random(seed))
        try:
            with within(patient(10)):
                said.append(what_becomes_of(text, words, tmp_path))
        except Exception as error:
            origin = f"seed {seed}, from {str(words)[:300]} and\n{text[:3000]}"
            raise AssertionError(f"{type(error).__name__} {str(error)[:1000]} at {origin}") from error
    refused = [message for message in said if message]
    assert MUTATIONS / 4 < len(refused) < MUTATIONS * 0.9
    # Every message says where: a file, a key, or the command line.
    assert [m for m in refused if not re.search(r"mutated\.yaml|command line|[A-Z]+\.[A-Z]|KEY VALUE", m)] == []
    record_property("seen", f"{MUTATIONS} mutations: {len(refused)} refused, the others valid")
