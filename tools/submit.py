#!/usr/bin/env python3
"""Sends a run to Slurm through submitit: `tools/submit.py --num_gpus 4 --partition P --cfg FILE KEY VALUE ...`.

Before a time limit or preemption the run saves its step, and the job is queued again and goes on from there.
"""

import argparse
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

RUN_NET = Path(__file__).resolve().parent / "run_net.py"


class Submission:
    """One task of the job: `tools/run_net.py` in a process of its own. submitit calls `checkpoint` before the end."""

    def __init__(self, command: list[str]):
        self.command = command

    def __call__(self) -> None:
        self.process = subprocess.Popen(self.command)
        self.join()
        if self.process.returncode:
            raise RuntimeError(f"{shlex.join(self.command)} ended with status {self.process.returncode}.")

    def join(self) -> None:
        # Not wait(): `checkpoint` runs in a signal handler, and would wait for a lock that this wait holds.
        while self.process.poll() is None:
            time.sleep(0.1)

    def checkpoint(self):
        """Lets the run save its step; what it returns is queued in its place."""
        from submitit.helpers import DelayedSubmission

        self.process.send_signal(signal.SIGTERM)
        self.join()
        return DelayedSubmission(Submission(self.command))


def parse_args(argv: list[str] | None = None) -> tuple[argparse.Namespace, list[str]]:
    """The flags of this command, and the arguments of tools/run_net.py."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_gpus", type=int, default=1, help="GPUs a machine, a process each (NUM_GPUS)")
    parser.add_argument("--num_shards", type=int, default=1, help="machines (NUM_SHARDS)")
    parser.add_argument("--cpus_per_task", type=int, default=10, help="CPU cores a process, for its loaders")
    parser.add_argument("--partition", help="Slurm partition")
    parser.add_argument("--qos", help="Slurm quality of service")
    parser.add_argument("--account", help="Slurm account")
    parser.add_argument("--comment", help="comment in Slurm's accounting")
    parser.add_argument("--constraint", help="machines to take, such as a kind of GPU")
    parser.add_argument("--timeout", type=int, default=4320, metavar="MINUTES", help="time limit of a job")
    parser.add_argument("--requeues", type=int, default=100, help="time limits after which the run goes on")
    parser.add_argument("--signal_delay", type=int, default=120, metavar="SECONDS", help="time to save before the end")
    parser.add_argument("--name", default="spikefast", help="name of the job")
    parser.add_argument("--job_dir", default="jobs", help="folder of the jobs' logs, seen by all machines")
    parser.add_argument("--dry-run", action="store_true", help="print the sbatch script and send nothing")
    parser.add_argument("--local", action="store_true", help="run the job on this machine, without Slurm")
    args, rest = parser.parse_known_args(argv)
    if "--cfg" not in rest:
        parser.error("--cfg FILE is missing: the arguments of tools/run_net.py follow the flags of this command")
    return args, rest


def slurm_parameters(args: argparse.Namespace) -> dict:
    wanted = {
        "job_name": args.name,
        "nodes": args.num_shards,
        "ntasks_per_node": max(args.num_gpus, 1),
        "gpus_per_node": args.num_gpus or None,
        "cpus_per_task": args.cpus_per_task,
        "time": args.timeout,
        "signal_delay_s": args.signal_delay,
        "partition": args.partition,
        "qos": args.qos,
        "account": args.account,
        "comment": args.comment,
        "constraint": args.constraint,
    }
    return {key: value for key, value in wanted.items() if value is not None}


def main(argv: list[str] | None = None) -> int:
    args, rest = parse_args(argv)
    try:
        import submitit
        from submitit.slurm.slurm import SlurmExecutor
    except ImportError:
        print("Error: tools/submit.py needs submitit. Type: pip install submitit", file=sys.stderr)
        return 1

    class Writer(SlurmExecutor):
        """Makes the script on machines without Slurm, too."""

        @classmethod
        def affinity(cls) -> int:
            return 1

    command = [sys.executable, str(RUN_NET), *rest]
    command += ["NUM_GPUS", str(args.num_gpus), "NUM_SHARDS", str(args.num_shards)]
    if args.local:
        executor = submitit.LocalExecutor(args.job_dir, max_num_timeout=args.requeues)
        executor.update_parameters(timeout_min=args.timeout, signal_delay_s=args.signal_delay)
    else:
        kind = Writer if args.dry_run else SlurmExecutor
        try:
            executor = kind(args.job_dir, max_num_timeout=args.requeues)
        except RuntimeError as error:
            print(f"Error: {error} --dry-run and --local work without.", file=sys.stderr)
            return 1
        executor.update_parameters(**slurm_parameters(args))
    if args.dry_run:
        script = f"{executor._submitit_command_str}\n# in each task: {shlex.join(command)}"
        print(executor._make_submission_file_text(script, "dry-run"))
        return 0
    job = executor.submit(Submission(command))
    print(f"Job {job.job_id}: {shlex.join(command)}\nIts output: {job.paths.stdout}", flush=True)
    if args.local:
        job.result()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
