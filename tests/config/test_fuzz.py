"""Whatever a config file or a command line holds: one message, or a config that is valid."""

import random
import re

from fuzz import mutated, what_becomes_of

MUTATIONS = 300


def test_mutated_configs_are_valid_or_refused_by_one_message(tmp_path):
    said = []
    for seed in range(MUTATIONS):
        text, words = mutated(random.Random(seed))
        try:
            said.append(what_becomes_of(text, words, tmp_path))
        except Exception as error:
            raise AssertionError(
                f"seed {seed}: {type(error).__name__} {error}, from {words} and\n{text[:3000]}"
            ) from error
    refused = [message for message in said if message]
    assert MUTATIONS / 4 < len(refused) < MUTATIONS
    placed = [
        message for message in refused if re.search(r"mutated\.yaml|command line|[A-Z]+\.[A-Z]+|KEY VALUE", message)
    ]
    assert placed == refused
