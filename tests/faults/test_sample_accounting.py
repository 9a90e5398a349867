"""Every view is scored once and alike, whatever the number of processes."""

import pickle
import signal

import pytest
from harness import Job, finish, loss_log


@pytest.fixture(scope="session")
def weights(references):
    return references[1] / "checkpoints/checkpoint_epoch_00002.pyth"


def test_predictions_are_the_same_file_with_one_two_and_three_processes(config, weights):
    files = {}
    for processes in (1, 2, 3):
        cfg = config(
            *("TRAIN.ENABLE", False, "TEST.ENABLE", True, "TEST.CHECKPOINT_FILE_PATH", str(weights)),
            name=f"{processes} processes",
        )
        job = finish(cfg, processes)
        output = job.output
        assert job.said().count("-m slowfast --cfg") == 2  # what comes next, by the master only
        with open(output / "2x32x2x3.pkl", "rb") as file:  # its bytes hold addresses of memory besides
            predictions = [tensor.numpy().tobytes() for tensor in pickle.load(file).values()]
        files[processes] = [*predictions, (output / "2x32x2x3.npz").read_bytes()]
    assert files[1] == files[2] == files[3]


def test_an_epoch_begun_by_two_processes_is_ended_by_one_with_each_sample_seen_once(config):
    two = config("TRAIN.BATCH_SIZE", 6, "TRAIN.CHECKPOINT_EVERY_STEPS", 0)
    with Job(two, 2) as job:
        job.wait_for(r"epoch 1/2  1/3")
        job.kill(signal.SIGTERM)
        assert job.wait() == [0, 0]
    finish(two, 1)
    assert "was saved by 2 processes and 1 go on: each sample is still seen once" in job.said()
    assert "Resumed from" in job.said()
    epochs = [entry for (kind, *_), entry in loss_log(job.output).items() if kind == "train_epoch"]
    assert len(epochs) == 2
