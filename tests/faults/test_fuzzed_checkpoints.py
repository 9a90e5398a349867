"""Seeded changes of a checkpoint's entries: it is refused by one message, or a run goes on from it."""

import random

import pytest
import torch

from slowfast.engine.train import Trainer
from slowfast.utils.checkpoint import load_checkpoint, run_checkpoints
from slowfast.utils.files import CheckpointError

CHANGES = 400
VALUES = (
    *(None, True, -1, 0, 1, 10**9, 10**30, 0.5, float("nan"), float("inf"), "", "x", "1", b"x", 1j, (), [], {}),
    *([1], [[1]], {"a": 1}, {1: 2}, ["a"], (0.9, 0.9), object, range(3), {1}, "a: 1", "a: &x [*x]"),
    *(torch.tensor(0.0), torch.zeros(3), torch.zeros(0), torch.ones(8), torch.tensor(float("nan")), torch.zeros(2, 2)),
    *(
        torch.tensor(5),
        torch.tensor(True),
        torch.tensor(1j),
        torch.zeros(3, dtype=torch.int8),
        torch.zeros(3).to_sparse(),
    ),
)


def copied(value):
    """Its dicts and lists copied, its tensors not."""
    if isinstance(value, dict):
        return {key: copied(part) for key, part in value.items()}
    return [copied(part) for part in value] if isinstance(value, list) else value


def changed(state: dict, rng: random.Random) -> str:
    """Replaces, removes or adds an entry, at whatever depth; says which."""
    node, place = state, []
    while True:
        key = rng.choice(list(node) if isinstance(node, dict) else range(len(node)))
        place.append(key)
        below = node[key]
        if not (isinstance(below, dict | list) and below) or rng.random() < 0.3:
            break
        node = below
    what = rng.choice(("replace", "replace", "remove", "add"))
    if what == "remove":
        del node[key]
    elif what == "add" and isinstance(node, dict):
        node[rng.choice(("new", 7, "weight", None))] = rng.choice(VALUES)
    else:
        node[key] = rng.choice(VALUES)
    return f"{what} {place}"


@pytest.fixture(scope="module")
def whole(references):
    """A checkpoint in the midst of an epoch, with its place."""
    state = load_checkpoint(run_checkpoints(references[1])[1])
    meter = {"sums": {"loss": 2.0}, "samples": 6, "lr": 0.1, "recent": {}}
    return state | {"epoch": 0, "position": {"epoch": 1, "steps": 1, "samples": 6, "meters": [meter]}}


def test_changed_entries_are_refused_by_one_message_or_do_no_harm(config, whole, tmp_path, record_property):
    path = tmp_path / "checkpoint_epoch_00002_step_000001.pyth"
    trainer = Trainer(config(), torch.device("cpu"), whole["train_list"])
    refused = 0
    for seed in range(CHANGES):
        state, rng = copied(whole), random.Random(seed)
        done = [changed(state, rng) for _ in range(rng.randint(1, 2))]
        try:
            trainer.ledger.refuse_unusable(path, state)
            trainer.ledger.restore(state, str(path))
        except CheckpointError as error:
            refused += 1
            assert str(path) in str(error), done
            assert len(str(error)) < 1000, done
        except Exception as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__} {error} after {done}") from error
    assert CHANGES / 2 < refused < CHANGES
    record_property("seen", f"{CHANGES} changes: {refused} refused, the others do no harm")
