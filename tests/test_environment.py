"""The environment of the scripts and commands: which Python is taken, what is installed, what is said in its place."""

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import pytest
from patience import patient

REPOSITORY = Path(__file__).parents[1]
PYTHON_DIR = Path(sys.executable).parent
SYSTEM = "/usr/local/bin:/usr/bin:/bin"
SHELLS = [
    "bash",
    pytest.param("zsh", marks=pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")),
]


def run(words, cwd, path=SYSTEM, **environment):
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("SPIKEFAST", "PYTHONPATH", "VIRTUAL"))
    }
    return subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=kept | {"PATH": path} | environment,
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=False,
    )


@pytest.fixture
def checkout(tmp_path):
    """A copy of what the scripts need of this checkout, in a folder whose name has a space."""
    folder = tmp_path / "a checkout"
    shutil.copytree(REPOSITORY / "tools", folder / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(REPOSITORY / "slowfast", folder / "slowfast", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", folder)
    return folder


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """The folder of a Python without any package."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, symlinks=True, with_pip=False)
    return folder / "bin"


def activate(checkout, shell="bash", then="", **options):
    """Sources activate.sh in a shell that lives on, from another folder."""
    script = f"source '{checkout}/tools/activate.sh'; echo status $?; command -v python; {then}"
    return run([shell, "-c", script], checkout.parent, **options)


@pytest.mark.parametrize("shell", SHELLS)
def test_an_active_python_that_has_this_slowfast_and_torch_is_taken(shell, checkout):
    result = activate(
        checkout, shell, 'echo "$spikefast_root"', path=f"{PYTHON_DIR}:{SYSTEM}", PYTHONPATH=str(checkout)
    )
    assert result.stdout.splitlines() == ["status 0", f"{PYTHON_DIR}/python", str(checkout)], result.stderr
    assert not (checkout / ".venv").exists()


def make_ready(checkout):
    """A .venv that is as the scripts left it; nothing in it is run."""
    (checkout / ".venv/bin").mkdir(parents=True)
    (checkout / ".venv/bin/python").touch(mode=0o755)
    checksum = run(["sh", "-c", "cksum < pyproject.toml"], checkout).stdout
    (checkout / ".venv/spikefast-stamp").write_text(checksum)


@pytest.mark.parametrize("shell", SHELLS)
def test_another_package_of_the_name_is_told_and_not_taken(shell, checkout, tmp_path):
    (tmp_path / "other/slowfast").mkdir(parents=True)
    (tmp_path / "other/slowfast/__init__.py").touch()
    make_ready(checkout)
    result = activate(checkout, shell, path=f"{PYTHON_DIR}:{SYSTEM}", PYTHONPATH=str(tmp_path / "other"))
    assert result.stdout.splitlines() == ["status 0", f"{checkout}/.venv/bin/python"]
    assert f"has another slowfast, {tmp_path}/other/slowfast; .venv is used" in result.stderr


def test_what_lies_in_the_current_folder_does_not_count(checkout, bare):
    make_ready(checkout)
    (checkout / "torch").mkdir()
    (checkout / "torch/__init__.py").touch()
    result = run(["bash", "-c", "source tools/activate.sh; command -v python"], checkout, path=f"{bare}:{SYSTEM}")
    assert result.stdout.strip() == f"{checkout}/.venv/bin/python"


@pytest.fixture
def stand_in(tmp_path):
    """A folder with a python3 that writes down what it is asked for; `-m venv` makes one more of it, with a pip.

    PIP_FAILS=yes: its installations end before their end.
    """
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "python3").write_text(f"""#!/bin/bash
case "$*" in
    "-c import sys; sys.exit(sys.version_info < (3, 11))") exit 0 ;;
    -c*) exit 1 ;;
    "-m venv --clear "*) mkdir -p "$4/bin" && cp "{folder}/python3" "$4/bin/python" && echo venv >> "{tmp_path}/said" ;;
    "-m pip --version") exit 0 ;;
    "-m pip install"*) echo "install ${{@: -1}}" >> "{tmp_path}/said"; [ -z "$PIP_FAILS" ] ;;
    "-m pip uninstall"*) echo "uninstall ${{@: -1}}" >> "{tmp_path}/said" ;;
esac
""")
    (folder / "python3").chmod(0o755)
    (folder / "python").symlink_to("python3")
    said = tmp_path / "said"

    def asked():
        lines = said.read_text().splitlines() if said.exists() else []
        said.write_text("")
        return lines

    return folder, asked


@pytest.mark.parametrize("shell", SHELLS)
def test_an_installation_is_taken_up_again_and_grows_by_what_is_asked_for(shell, checkout, stand_in):
    folder, asked = stand_in
    path = f"{folder}:{SYSTEM}"
    failed = activate(checkout, shell, path=path, PIP_FAILS="yes")
    assert "status 1" in failed.stdout  # and the shell lives on
    assert asked() == ["venv", f"install {checkout}"]
    assert "status 0" in activate(checkout, shell, path=path).stdout
    assert asked() == [f"install {checkout}"]
    assert "status 0" in activate(checkout, shell, path=path).stdout
    assert asked() == []
    assert activate(checkout, shell, path=path, spikefast_extras="dev").stdout.endswith("/.venv/bin/python\n")
    assert asked() == ["uninstall cupy-cuda12x", f"install {checkout}[dev]"]
    for extras in ("", "dev"):
        activate(checkout, shell, path=path, spikefast_extras=extras)
        assert asked() == []
    activate(checkout, shell, path=path, spikefast_extras="dev", SPIKEFAST_EXTRAS="cuda12,slurm")
    assert asked() == ["uninstall cupy-cuda13x", f"install {checkout}[cuda12,slurm,test]"]
    with open(checkout / "pyproject.toml", "a") as file:
        file.write("# another\n")
    activate(checkout, shell, path=path)
    assert asked()[-1] == f"install {checkout}[cuda12,slurm,test]"


def test_two_builds_of_cupy_are_refused(checkout, stand_in):
    result = activate(checkout, path=f"{stand_in[0]}:{SYSTEM}", SPIKEFAST_EXTRAS="cuda12,cuda13")
    assert "status 1" in result.stdout
    assert "only one can be installed" in result.stderr
    assert stand_in[1]() == []


def test_the_active_environment_is_installed_into_where_that_is_asked_for(checkout, stand_in):
    folder, asked = stand_in
    result = activate(checkout, path=f"{folder}:{SYSTEM}", SPIKEFAST_ENV="active")
    assert result.stdout.splitlines()[:2] == ["status 0", f"{folder}/python"]
    assert asked() == [f"install {checkout}"]
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize("shell", SHELLS)
def test_a_read_only_checkout_is_told_what_to_do(shell):
    with tempfile.TemporaryDirectory() as folder:  # where another user may look
        place = Path(folder) / "checkout"
        shutil.copytree(REPOSITORY / "tools", place / "tools")
        shutil.copy(REPOSITORY / "pyproject.toml", place)
        for path in (Path(folder), place):
            path.chmod(0o555)
        nobody = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        result = subprocess.run(
            [shell, "-c", f"source {place}/tools/activate.sh; echo status $?"],
            env={"PATH": SYSTEM},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            **nobody,
        )
        Path(folder).chmod(0o755)
        place.chmod(0o755)
    assert result.stdout == "status 1\n"
    assert result.stderr.strip() == (
        f"SpikeFast: {place} is read-only, and its environment is to be made there. Copy it (cp -r) and start there."
    )


def test_a_missing_compiler_is_told(checkout, tmp_path):
    (tmp_path / "few").mkdir()
    for name in ("bash", "dirname", "cut", "sed", "tr", "sort", "grep", "cksum"):
        (tmp_path / "few" / name).symlink_to(shutil.which(name))
    result = activate(checkout, path=f"{PYTHON_DIR}:{tmp_path}/few", PYTHONPATH=str(checkout))
    assert result.stderr.strip().startswith("SpikeFast: no C++ compiler (g++, clang++): spiking layers run on torch's")
    assert "status 0" in result.stdout


COMMANDS = [
    ["tools/run_net.py"],
    ["tools/convert_checkpoint.py"],
    ["tools/benchmark.py"],
    ["tools/faults.py"],
    ["-m", "slowfast"],
]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[-1])
def test_a_command_without_its_environment_goes_on_in_the_projects_own_or_says_what_to_do(words, checkout, bare):
    result = run([bare / "python", *words, "--help"], checkout)
    assert (result.returncode, result.stdout) == (1, "")
    (said,) = result.stderr.splitlines()
    assert said.startswith(
        f"SpikeFast needs torch, which {bare}/python has not. Type `source {checkout}/tools/activate.sh"
    )
    (checkout / ".venv/bin").mkdir(parents=True)
    own = checkout / ".venv/bin/python"
    own.write_text(f'#!/bin/sh\nexec {bare}/python "$@"\n')
    own.chmod(0o755)
    assert run([bare / "python", *words, "--help"], checkout).stderr.count("SpikeFast needs torch") == 1  # no loop
    own.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    result = run([bare / "python", *words, "--help"], checkout)
    assert result.returncode == 0, result.stderr
    assert "usage: " in result.stdout


def test_a_program_of_the_users_own_gets_an_error_that_says_what_to_do(checkout, bare):
    result = run([bare / "python", "-c", "import slowfast"], checkout)
    assert "ImportError: SpikeFast needs torch, which " in result.stderr
