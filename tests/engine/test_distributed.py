"""Several processes over a real socket do what one does."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from patience import patient
from processes import CONTEXT, command_line

from slowfast.config import write_config
from slowfast.engine import launch, run
from slowfast.utils.checkpoint import load_checkpoint
from slowfast.utils.distributed import free_port

RUN_NET = Path(__file__).parents[2] / "tools/run_net.py"


def run_two_shards(config: Path, folder: Path) -> tuple[list[int], list[str], list[str]]:
    """The command line of each of two shards, side by side to the end: exit codes, outputs, errors. None may hang."""
    where = f"tcp://localhost:{free_port()}"
    files = [(folder / f"{rank}.out", folder / f"{rank}.err") for rank in (0, 1)]
    processes = []
    for rank in (0, 1):
        words = ["--cfg", str(config), "--num_shards", "2", "--shard_id", str(rank), "--init_method", where]
        processes.append(CONTEXT.Process(target=command_line, args=(words, *files[rank])))
        processes[rank].start()
    for process in processes:
        process.join(patient(120))
        process.kill()
        process.join()
    outputs, errors = ([file.read_text() for file in kind] for kind in zip(*files, strict=True))
    return [process.exitcode for process in processes], outputs, errors


@pytest.fixture
def options():
    """One result whatever the split over processes: shared norm statistics, no draw of a rank's own."""
    return (
        *("BN.NORM_TYPE", "sync_batchnorm", "SOLVER.OPTIMIZING_METHOD", "sgd", "SOLVER.BASE_LR", 0.01),
        *("UNIFORMER.DROP_DEPTH_RATE", 0.0, "TRAIN.BATCH_SIZE", 6, "TEST.BATCH_SIZE", 5),
    )


def test_two_gloo_processes_equal_one_with_twice_the_batch(run_cfg, options, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    # 16 videos in batches of 6: 6, 5, 5, so that ranks get unequal shares.
    launch(run_cfg(*options, "OUTPUT_DIR", str(one)), run)
    config = write_config(run_cfg(*options, "OUTPUT_DIR", str(two), "TRAIN.BATCH_SIZE", 3))
    codes, outputs, errors = run_two_shards(config, tmp_path)
    assert codes == [0, 0], errors
    assert "top-1" in outputs[0]
    assert outputs[1] == ""  # N processes print one log
    name = "checkpoints/checkpoint_epoch_00002.pyth"
    expected, found = (load_checkpoint(folder / name)["model_state"] for folder in (one, two))
    for key in expected:
        torch.testing.assert_close(
            found[key], expected[key], rtol=1e-3, atol=1e-4, msg=lambda m, key=key: f"{key}: {m}"
        )
    views = [np.load(folder / "3x32x2x3.npz") for folder in (one, two)]
    assert np.array_equal(views[0]["labels"], views[1]["labels"])
    np.testing.assert_allclose(views[0]["logits"], views[1]["logits"], atol=1e-3)


def test_torchruns_environment_decides(run_cfg, options, tmp_path):
    config = write_config(run_cfg(*options, "TRAIN.ENABLE", True, "SOLVER.MAX_EPOCH", 1))
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node",
        "2",
        "--master_port",
        str(free_port()),
    ]
    command += [str(RUN_NET), "--cfg", str(config)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=patient(120), check=False)
    assert done.returncode == 0, done.stderr
    output = done.stdout
    assert re.search(r"2 processes, by torchrun's environment:\n  rank 0  .* cpu\n  rank 1  .* cpu\n", output)
    assert "Threads of each process: 1 (OMP_NUM_THREADS)" in output
    assert "Effective batch 12 clips" in output


def test_a_mistake_stops_every_process_with_one_message(run_cfg, options, tmp_path):
    (tmp_path / "data").mkdir()
    config = write_config(
        run_cfg(*options, "TRAIN.DATASET", "kinetics", "DATA.PATH_TO_DATA_DIR", str(tmp_path / "data"))
    )
    codes, _, errors = run_two_shards(config, tmp_path)
    assert codes == [1, 1]
    assert "There is no list" in errors[0]
    assert all("Traceback" not in error for error in errors)
