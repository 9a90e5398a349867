"""Jobs of a real Slurm, one controller and two nodes started here; skipped where it is not installed."""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from harness import IN_FULL_ONLY, assert_same_run, loss_log
from patience import patient, wait_until

from slowfast.config import write_config
from slowfast.utils.distributed import free_port

FAULTS = Path(__file__).parent
TOOLS = FAULTS.parents[1] / "tools"
# tools/run_net.py with samples that take a while to load.
SLOW_RUN_NET = f"""\
import sys
sys.path[:0] = {[str(FAULTS), str(FAULTS.parent)]!r}
from harness import slow_loading
slow_loading(0.3)
from slowfast.cli import main
sys.exit(main())
"""
CONFIG = """\
ClusterName=faults
SlurmctldHost={host}
SlurmctldPort={ports[0]}
SlurmUser=root
AuthType=auth/none
CredType=cred/none
AuthInfo=cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldLogFile={folder}/controller.log
SlurmdLogFile={folder}/%n.log
SlurmctldPidFile={folder}/controller.pid
SlurmdPidFile={folder}/%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,sched_min_interval=0,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=20
SlurmdParameters=config_overrides
NodeName=n1 NodeHostname={host} NodeAddr={host} Port={ports[1]} CPUs=2 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr={host} Port={ports[2]} CPUs=2 State=UNKNOWN
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 GraceTime=30 PreemptMode=REQUEUE
PartitionName=high Nodes=ALL PriorityTier=2 PreemptMode=OFF
"""


class Slurm:
    """A cluster of two nodes in a folder of its own."""

    def __init__(self, folder: Path):
        self.folder = folder
        (folder / "state").mkdir()
        file = folder / "slurm.conf"
        file.write_text(CONFIG.format(folder=folder, host=socket.gethostname(), ports=[free_port() for _ in range(3)]))
        self.environment = os.environ | {"SLURM_CONF": str(file), "OMP_NUM_THREADS": "1"}
        daemons = (["slurmctld", "-D"], ["slurmd", "-D", "-N", "n1"], ["slurmd", "-D", "-N", "n2"])
        self.daemons = [
            subprocess.Popen(command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for command in daemons
        ]
        try:
            self.wait_until(lambda: self.call("sinfo", "-h", "-t", "idle", "-o", "%D", "-p", "low").strip() == "2", 30)
        except BaseException:
            self.end()
            raise

    def call(self, *command) -> str:
        done = subprocess.run(
            [str(word) for word in command],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=patient(60),
            check=False,
        )
        return done.stdout + done.stderr

    def submit(self, script: str, *flags) -> str:
        file = self.folder / "script.sh"
        file.write_text(f"#!/bin/bash\n{script}\n")
        said = self.call("sbatch", "--parsable", *flags, file)
        assert said.strip().isdigit(), said
        return said.strip()

    def state(self, job: str) -> str:
        return re.search(r"JobState=(\S+)", self.call("scontrol", "show", "job", job))[1]

    def restarts(self, job: str) -> int:
        return int(re.search(r"Restarts=(\d+)", self.call("scontrol", "show", "job", job))[1])

    def wait_until(self, condition, timeout: float = 90.0, what=lambda: "") -> None:
        wait_until(condition, timeout, lambda: f"{what()}\n{self.call('squeue')}{self.call('sinfo', '-R')}")

    def end(self) -> None:
        self.call("scancel", "-u", "root")
        for daemon in reversed(self.daemons):
            daemon.terminate()
        for daemon in self.daemons:
            daemon.wait(patient(30))


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    if os.geteuid() or not shutil.which("slurmctld") or not shutil.which("slurmd"):
        pytest.skip("needs root and an installed Slurm (slurmctld, slurmd)")
    cluster = Slurm(tmp_path_factory.mktemp("slurm"))
    yield cluster
    cluster.end()


class SlurmRun:
    """A job of two nodes with one process each, in the partition whose jobs make room for others."""

    def __init__(self, slurm: Slurm, cfg):
        self.slurm, self.output = slurm, Path(cfg.OUTPUT_DIR)
        self.printed = self.output.with_name("printed")
        run_net = slurm.folder / "slow_run_net.py"
        run_net.write_text(SLOW_RUN_NET)
        command = f"MASTER_ADDR=localhost srun {sys.executable} {run_net} --cfg {write_config(cfg)}"
        flags = ("--nodes=2", "--ntasks-per-node=1", "--requeue", "--open-mode=append", f"--output={self.printed}")
        self.job = slurm.submit(command, *flags)
        self.wait_for(r"epoch 1/2  1/5")

    def wait_for(self, pattern: str) -> None:
        self.slurm.wait_until(lambda: re.search(pattern, self.said()), what=self.said)

    def said(self) -> str:
        return self.printed.read_text() if self.printed.exists() else ""

    def wait_for_end(self) -> None:
        self.slurm.wait_until(lambda: self.slurm.state(self.job) == "COMPLETED", what=self.said)


@pytest.fixture
def run(slurm, config):
    started = SlurmRun(slurm, config("TRAIN.BATCH_SIZE", 3, "TRAIN.CHECKPOINT_EVERY_STEPS", 0))
    yield started
    slurm.call("scancel", started.job)


def test_a_preempted_job_is_queued_again_and_goes_on(slurm, run, references):
    other = slurm.submit("sleep 1", "--partition=high", "--nodes=2", "--exclusive", "--output=/dev/null")
    run.wait_for(f"Slurm job {run.job} is queued again")
    run.wait_for_end()
    assert slurm.restarts(run.job) == 1
    assert slurm.state(other) == "COMPLETED"
    said = run.said()
    assert f"2 processes, by Slurm's environment (job {run.job}, step 0)" in said
    assert "Resumed from" in said
    assert_same_run(run.output, references[2])


@IN_FULL_ONLY
def test_a_job_that_is_told_of_its_end_by_sigusr1_is_queued_again_and_goes_on(slurm, run, references):
    """As `sbatch --signal=USR1@SECONDS` does before the time limit."""
    slurm.call("scancel", "--signal=USR1", run.job)
    run.wait_for(f"Slurm job {run.job} is queued again")
    run.wait_for_end()
    assert slurm.restarts(run.job) == 1
    assert_same_run(run.output, references[2])


def test_a_job_that_is_cancelled_is_saved_and_not_queued_again(slurm, run):
    slurm.call("scancel", run.job)
    slurm.wait_until(lambda: slurm.state(run.job) == "CANCELLED", what=run.said)
    assert re.search(r"Interrupted: epoch \d, step \d is saved", run.said())
    assert "queued again" not in run.said()
    assert slurm.restarts(run.job) == 0


@IN_FULL_ONLY
def test_a_job_of_submit_is_queued_again_before_its_time_limit(slurm, config, tmp_path):
    """SIGUSR2 is what it asks Slurm to send then."""
    pytest.importorskip("submitit")
    cfg = config("SOLVER.MAX_EPOCH", 25, "TRAIN.EVAL_PERIOD", 25, "TRAIN.CHECKPOINT_EVERY_STEPS", 0)
    flags = ("--num_gpus", 0, "--cpus_per_task", 1, "--job_dir", tmp_path / "jobs")
    said = slurm.call(sys.executable, TOOLS / "submit.py", *flags, "--cfg", write_config(cfg))
    job = re.match(r"Job (\d+):", said)[1]

    def log() -> str:
        file = Path(cfg.OUTPUT_DIR) / "stdout.log"
        return said + (file.read_text() if file.exists() else "")

    slurm.wait_until(lambda: "epoch 3/25  1/5" in log(), what=log)
    slurm.call("scancel", "--signal=USR2", job)
    slurm.wait_until(lambda: "Resumed from" in log(), what=log)
    slurm.wait_until(lambda: slurm.state(job) == "COMPLETED", what=log)
    assert slurm.restarts(job) == 1
    assert (Path(cfg.OUTPUT_DIR) / "checkpoints/checkpoint_epoch_00025.pyth").is_file()
    assert loss_log(Path(cfg.OUTPUT_DIR))
