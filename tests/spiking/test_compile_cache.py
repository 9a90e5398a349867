"""Where compiled kernels are kept: what cannot be written, executed or trusted there costs speed, never a run."""

import logging
import os
import shutil
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path

import pytest
import torch
from mounts import mounted

from slowfast.spiking import IF, ops
from slowfast.spiking.kernels import cpu, eager
from slowfast.utils.logging import logger

pytestmark = pytest.mark.skipif(cpu.compiler() is None, reason="no C++ compiler")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def said(monkeypatch):
    """The lines that are logged."""
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    monkeypatch.setattr(logger, "handlers", [handler])
    return lines


@pytest.fixture
def fire(monkeypatch, tmp_path):
    """A function that fires a neuron as a new process with its cache in a folder would; checks what it computes."""

    def fire(folder: Path = tmp_path) -> object:
        monkeypatch.setattr(cpu, "_given_up", threading.Event())
        monkeypatch.setattr(cpu, "library", cache(cpu.library.__wrapped__))
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
        x = torch.full((4, 1), 0.5).requires_grad_()
        spikes = IF(step_mode="m")(x)
        assert spikes.flatten().tolist() == [0, 1, 0, 1]
        spikes.sum().backward()
        assert x.grad.isfinite().all()
        return ops.backend(x)

    return fire


def libraries(folder: Path) -> list[Path]:
    return list(folder.glob("spikefast/*.so"))


def test_what_was_compiled_is_kept_for_this_user_alone_and_used_again(fire, said, tmp_path):
    assert fire() is ops.CPU
    (kept,) = libraries(tmp_path)
    assert kept.stat().st_mode & 0o777 == 0o700
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    assert list(kept.parent.iterdir()) == [kept]
    before = kept.stat().st_mtime_ns
    assert fire() is ops.CPU
    assert kept.stat().st_mtime_ns == before
    assert not said


@pytest.mark.parametrize("options", ["size=1m,ro", "size=1m,noexec", "size=4k"], ids=["read-only", "noexec", "full"])
def test_a_folder_that_cannot_be_used_costs_speed_only(fire, said, tmp_path, options):
    with mounted(tmp_path / "small", options):
        assert fire(tmp_path / "small") is eager
    (line,) = said
    assert line.startswith("Spiking layers are computed on the CPU by torch's operators, with the same results")
    assert "Set XDG_CACHE_HOME to a folder of yours" in line
    assert "\n" not in line


def truncate(library: Path):
    os.truncate(library, library.stat().st_size // 2)


def flip_a_bit(library: Path):
    data = bytearray(library.read_bytes())
    data[len(data) // 2] ^= 1
    library.write_bytes(data)


def let_others_write(library: Path):
    library.chmod(0o770)


def give_away(library: Path):
    os.chown(library, 12345, -1)


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        (truncate, "is damaged"),
        (flip_a_bit, "is damaged"),
        (let_others_write, "can be written by others"),
        pytest.param(give_away, "belongs to another user", marks=needs_root),
    ],
)
def test_a_library_is_compiled_again_that(fire, said, tmp_path, harm, problem):
    fire()
    (kept,) = libraries(tmp_path)
    (tmp_path / "copy").write_bytes(kept.read_bytes())  # this process has the file itself in its memory
    (tmp_path / "copy").chmod(0o700)
    harm((tmp_path / "copy").rename(kept))
    assert fire() is ops.CPU
    assert said == [f"{kept} {problem}; it is not used but compiled again."]
    assert fire() is ops.CPU
    assert len(said) == 1
    assert libraries(tmp_path) == [kept]


@needs_root
def test_a_folder_of_another_user_is_not_used(fire, said, tmp_path):
    (tmp_path / "spikefast").mkdir()
    os.chown(tmp_path / "spikefast", 12345, -1)
    assert fire() is eager
    assert f"{tmp_path}/spikefast belongs to another user" in said[0]


def test_a_folder_that_others_may_write_is_closed_to_them(fire, tmp_path):
    (tmp_path / "spikefast").mkdir()
    (tmp_path / "spikefast").chmod(0o777)
    assert fire() is ops.CPU
    assert (tmp_path / "spikefast").stat().st_mode & 0o777 == 0o755


def test_a_compiler_that_fails_is_quoted_in_one_line(fire, said, tmp_path, monkeypatch):
    broken = tmp_path / "c++"
    broken.write_text("#!/bin/sh\necho no licence today >&2; echo call us >&2; exit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(cpu, "compiler", lambda: str(broken))
    assert fire() is eager
    (line,) = said
    assert f"slower: {broken} could not compile the spiking kernels (no licence today). Set " in line
    assert "\n" not in line
    broken.write_bytes(b"\0\0\0\0")
    assert fire() is eager
    assert "Exec format error" in said[1]


def test_a_temporary_folder_that_is_full_does_not_matter(fire, said, tmp_path, monkeypatch):
    with mounted(tmp_path / "full", "size=4k"):
        (tmp_path / "full/file").write_bytes(bytes(4096))
        monkeypatch.setenv("TMPDIR", str(tmp_path / "full"))
        assert fire() is ops.CPU
    assert not said


PROGRAM = """
import torch
from slowfast.spiking import IF, ops
from slowfast.spiking.kernels import eager
print(IF(step_mode="m")(torch.full((3, 1), 0.5)).flatten().tolist(), ops.backend(torch.ones(1)) is eager)
"""


@pytest.mark.parametrize(
    ("changes", "user"),
    [
        ({"CXX": ""}, None),
        ({"CXX": "no-such-compiler"}, None),
        pytest.param({"HOME": None}, 12345, marks=needs_root),  # no entry in passwd
        pytest.param({"HOME": "/nowhere"}, 12345, marks=needs_root),
    ],
)
def test_torch_computes_the_same_with(tmp_path, changes, user):
    environment = {**os.environ, "XDG_CACHE_HOME": "", **changes}
    environment = {name: value for name, value in environment.items() if value is not None}
    become = []
    if user is not None:  # one who may read what Python and this package are made of, wherever they are
        reads = [f"--{kind}-caps=+dac_read_search" for kind in ("inh", "ambient")]
        become = ["setpriv", f"--reuid={user}", "--clear-groups", *reads]
        if shutil.which("setpriv") is None or subprocess.run([*become, sys.executable, "-c", ""]).returncode:
            pytest.skip("no setpriv that can change the user")
    command = [*become, sys.executable, "-c", PROGRAM]
    job = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=True)
    assert job.stdout.splitlines()[0] == "[0.0, 1.0, 0.0] True"
    assert job.stderr.count("by torch's operators") == (changes != {"CXX": ""})
    assert "Traceback" not in job.stderr
