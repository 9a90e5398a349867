"""The data and the uninterrupted runs that every fault is compared with."""

import pytest
from harness import finish, make_data, tiny_run


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("faults") / "motion")


@pytest.fixture
def config(data, tmp_path):
    """A function of KEY VALUE pairs: the config of a tiny run in a folder of this test."""
    return lambda *options, name="out": tiny_run(data, tmp_path / name, *options)


@pytest.fixture(scope="session")
def references(data, tmp_path_factory):
    """Folders of the uninterrupted run with one and two processes of the same global batch."""
    folder = tmp_path_factory.mktemp("references")
    jobs = {n: finish(tiny_run(data, folder / str(n), "TRAIN.BATCH_SIZE", 6 // n), n) for n in (1, 2)}
    return {n: job.output for n, job in jobs.items()}
