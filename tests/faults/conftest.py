"""The data and the uninterrupted runs that every fault is compared with."""

import pytest
from harness import finish, make_data, tiny_run


@pytest.fixture(scope="session")
def data(made_once):
    return made_once("motion of faults", make_data)


@pytest.fixture
def config(data, tmp_path):
    """A function of KEY VALUE pairs: the config of a tiny run in a folder of this test."""
    return lambda *options, name="out": tiny_run(data, tmp_path / name, *options)


@pytest.fixture(scope="session")
def references(data, made_once):
    """Folders of the uninterrupted run with one and two processes of the same global batch."""

    def make(folder):
        folder.mkdir()
        for n in (1, 2):
            finish(tiny_run(data, folder / str(n), "TRAIN.BATCH_SIZE", 6 // n), n)

    folder = made_once("references", make)
    return {n: folder / str(n) for n in (1, 2)}
