"""tools/submit.py: the script it writes, and a run through the executor for this machine."""

import importlib.util
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from patience import patient, wait_until

from slowfast.config import write_config

SUBMIT = Path(__file__).parents[2] / "tools/submit.py"


def submit(*words) -> subprocess.CompletedProcess:
    command = [sys.executable, SUBMIT, *words]
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, timeout=patient(300)
    )


def test_without_submitit_or_a_config_it_says_what_to_do(tmp_path):
    assert "--cfg FILE is missing" in submit("--num_gpus", 2).stderr
    if importlib.util.find_spec("submitit") is None:
        assert "pip install submitit" in submit("--cfg", "a.yaml").stderr


def test_a_dry_run_prints_the_script(tmp_path):
    pytest.importorskip("submitit")
    flags = ("--num_gpus", 4, "--num_shards", 2, "--partition", "long", "--timeout", 60, "--job_dir", tmp_path)
    script = submit(*flags, "--dry-run", "--cfg", "exp/a/config.yaml", "SOLVER.BASE_LR", "1e-3").stdout
    for line in ("nodes=2", "ntasks-per-node=4", "gpus-per-node=4", "partition=long", "time=60", "signal=USR2@120"):
        assert f"#SBATCH --{line}\n" in script
    assert "srun " in script
    assert "run_net.py --cfg exp/a/config.yaml SOLVER.BASE_LR 1e-3 NUM_GPUS 4 NUM_SHARDS 2" in script


def test_the_local_executor_runs_it_for_real(run_cfg, tmp_path):
    pytest.importorskip("submitit")
    cfg = run_cfg()
    done = submit("--local", "--num_gpus", 0, "--job_dir", tmp_path / "jobs", "--cfg", write_config(cfg))
    assert done.returncode == 0, done.stderr
    assert "top1_acc" in json.loads((Path(cfg.OUTPUT_DIR) / "report.json").read_text())


def test_a_preempted_job_saves_and_what_is_queued_in_its_place_goes_on(run_cfg, tmp_path):
    pytest.importorskip("submitit")
    cfg = run_cfg("TRAIN.CHECKPOINT_EVERY_STEPS", 1, "SOLVER.MAX_EPOCH", 40, "TEST.ENABLE", False)
    spec = importlib.util.spec_from_file_location("submit", SUBMIT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    job = module.Submission([sys.executable, str(SUBMIT.parent / "run_net.py"), "--cfg", str(write_config(cfg))])
    task = threading.Thread(target=job)
    task.start()
    folder = Path(cfg.OUTPUT_DIR) / "checkpoints"
    wait_until(lambda: list(folder.glob("*_step_*.pyth")) or not task.is_alive(), 60)
    assert task.is_alive()
    again = job.checkpoint()
    task.join(patient(60))
    assert job.process.returncode == 0
    assert not list(folder.glob("checkpoint_epoch_00040.pyth"))
    assert again.function.command == job.command
