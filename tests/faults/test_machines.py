"""Machines as they are: home folders of clusters and containers, of which a run needs none, and no /proc."""

import os
import shutil
import subprocess
import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest
from harness import IN_FULL_ONLY, Job
from mounts import mounted

from slowfast.config import write_config
from slowfast.spiking.kernels.cpu import compiler

RUN_NET = Path(__file__).parents[2] / "tools/run_net.py"

needs_compiler = pytest.mark.skipif(compiler() is None, reason="no C++ compiler, so nothing is kept")


def live_in(home: Path):
    os.environ.pop("XDG_CACHE_HOME", None)
    os.environ |= {"HOME": str(home), "TMPDIR": str(home)}


def said_by_a_run(cfg, home: Path) -> str:
    with Job(cfg, prepare=partial(live_in, home)) as job:
        assert job.wait() == [0], job.said()
    assert "Traceback" not in job.said()
    return job.said()


@needs_compiler
@pytest.mark.parametrize(
    "options",
    ["size=1m,ro", pytest.param("size=9m,noexec", marks=IN_FULL_ONLY), pytest.param("none", marks=IN_FULL_ONLY)],
    ids=["read-only", "noexec", "missing"],
)
def test_with_such_a_home_a_run_takes_torchs_operators_and_says_so_once(config, tmp_path, options):
    missing = options == "none"
    home = Path("/proc/nobody") if missing else tmp_path / "home"
    with nullcontext() if missing else mounted(home, options):
        said = said_by_a_run(config("SOLVER.MAX_EPOCH", 1, "DATA_LOADER.NUM_WORKERS", 1), home)
    assert said.count("computed on the CPU by torch's operators") == 1
    assert said.count("Set XDG_CACHE_HOME to a folder of yours") == 1


@needs_compiler
@pytest.mark.slow
def test_truncated_libraries_in_the_compile_cache_are_compiled_again(config, tmp_path):
    once = ("SOLVER.MAX_EPOCH", 1)
    assert "compiled again" not in said_by_a_run(config(*once, name="first"), tmp_path)
    kept = list(tmp_path.glob(".cache/spikefast/*.so"))
    for library in kept:
        os.truncate(library, library.stat().st_size // 2)
    said = said_by_a_run(config(*once, name="second"), tmp_path)
    assert said.count("is damaged; it is not used but compiled again") == len(kept) > 0


def test_a_run_needs_no_proc(config, tmp_path):
    """macOS has none; here another file system hides it."""
    cfg, printed = config("SOLVER.MAX_EPOCH", 1), tmp_path / "printed"
    hidden = 'mount -t tmpfs tmpfs /proc && exec "$0" "$@"'
    become = ["unshare", "--mount", "sh", "-c", hidden]
    if os.geteuid() or not shutil.which("unshare") or subprocess.run([*become, "true"]).returncode:
        pytest.skip("hiding /proc needs root")
    with open(printed, "w") as file:
        command = [*become, sys.executable, RUN_NET, "--cfg", write_config(cfg)]
        status = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT).returncode
    assert status == 0, printed.read_text()
    assert "Traceback" not in printed.read_text()
    assert "Done in" in printed.read_text()
