"""Every experiment's config loads and its scripts say what they lack; one of each model runs from end to end."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from patience import patient, wait_until
from tiny_models import tiny_options

from slowfast.config import assert_and_infer_cfg, load_config, preset_model

REPOSITORY = Path(__file__).parents[1]
PYTHON_DIR = Path(sys.executable).parent
EXPERIMENTS = sorted(path.parent for path in REPOSITORY.glob("exp/*/config.yaml"))
NAMED = {"ids": lambda path: path.name}

# One step of training on the embedded data, validation and a test; otherwise as the experiment has it.
SMALL = (
    *("NUM_GPUS 0 SOLVER.MAX_EPOCH 1 TRAIN.BATCH_SIZE 16 TEST.BATCH_SIZE 8 DATA_LOADER.NUM_WORKERS 0".split()),
    *("TRAIN.DATASET motion TEST.DATASET motion TEST.NUM_ENSEMBLE_VIEWS 1 TEST.NUM_SPATIAL_CROPS 1".split()),
    *("DATA.SAMPLING_RATE 8 LOG_MODEL_INFO False MODEL.NUM_CLASSES 8".split()),
)


def model_of(experiment: Path) -> str:
    return preset_model(load_config(experiment / "config.yaml").MODEL.MODEL_NAME)


def initial_weights_key(experiment: Path) -> str:
    """The config key that takes what training starts from."""
    named = re.search(r"weights_key=(\S+)", (experiment / "run.sh").read_text())
    return named[1] if named else "TRAIN.CHECKPOINT_FILE_PATH"


# Run from end to end: the quickstart, and the first experiment of each model.
QUICKSTART = REPOSITORY / "exp/quickstart"
OTHERS = [path for path in EXPERIMENTS if path != QUICKSTART]
RUN = list({model_of(path): path for path in reversed(OTHERS)}.values())


def run_script(
    script: Path, *arguments: str, first: Path = PYTHON_DIR, seconds: float = 200, **environment: str
) -> subprocess.CompletedProcess:
    kept = {key: value for key, value in os.environ.items() if key not in ("DATA_ROOT", "CKPT_ROOT")}
    # The scripts take the first Python that can import slowfast: this one.
    kept |= {"OMP_NUM_THREADS": "1", "PATH": f"{first}:{os.environ['PATH']}"}
    return subprocess.run(
        ["bash", str(script), *arguments],
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=patient(seconds),
        check=False,
    )


@pytest.mark.parametrize("experiment", EXPERIMENTS, **NAMED)
def test_a_config_loads_and_its_keys_go_together(experiment):
    cfg = assert_and_infer_cfg(load_config(experiment / "config.yaml", ["NUM_GPUS", 0]))
    assert cfg.MODEL.MODEL_NAME


@pytest.mark.parametrize("experiment", OTHERS, **NAMED)
def test_scripts_say_which_folder_they_lack(experiment, tmp_path):
    for script in ("run.sh", "test.sh"):
        result = run_script(experiment / script)
        assert result.returncode == 1
        assert result.stdout == ""
        (message,) = result.stderr.splitlines()
        assert message.startswith("DATA_ROOT is not set. Set it to the folder that holds ")
    if "weights=" in (experiment / "run.sh").read_text():
        result = run_script(experiment / "run.sh", DATA_ROOT=str(tmp_path))
        assert "CKPT_ROOT is not set" in result.stderr
    result = run_script(experiment / "run.sh", DATA_ROOT=str(tmp_path / "nowhere"))
    assert f"DATA_ROOT {tmp_path}/nowhere is no folder" in result.stderr


def test_the_folders_become_config_keys(tmp_path):
    (tmp_path / "ucf101/lists/split1").mkdir(parents=True)
    script = REPOSITORY / "exp/uniformer_s16x4_ucf101_prek400/run.sh"
    result = run_script(
        script, "NUM_GPUS", "0", "OUTPUT_DIR", str(tmp_path / "out"), DATA_ROOT=str(tmp_path), CKPT_ROOT=str(tmp_path)
    )
    assert f"{tmp_path}/ucf101/lists/split1" in result.stdout + result.stderr
    assert f"{tmp_path}/uniformer_small_k400_16x4.pth" in result.stdout + result.stderr
    assert result.returncode == 1


@pytest.fixture
def options(motion_dir, tmp_path):
    """A function of an experiment: what makes its scripts run in seconds."""
    return lambda experiment: [
        *map(str, tiny_options(model_of(experiment))),
        *SMALL,
        *("DATA.PATH_TO_DATA_DIR", str(motion_dir), "OUTPUT_DIR", str(tmp_path / "out")),
        *(initial_weights_key(experiment), ""),
    ]


def test_the_scripts_of_the_quickstart_train_and_test(options, tmp_path):
    for script in ("run.sh", "test.sh"):
        result = run_script(QUICKSTART / script, *options(QUICKSTART))
        assert result.returncode == 0, result.stdout + result.stderr
        assert "top-1" in result.stdout
    assert (tmp_path / "out/report.json").exists()


@pytest.fixture
def quickstart(tmp_path):
    """A function of arguments: the folder in which a copy of run.sh starts a run that ends at once, and what is said.

    ENDS=done: the run comes to its end, as its log says.
    """
    checkout = tmp_path / "a checkout"
    shutil.copytree(QUICKSTART, checkout / "exp/quickstart", ignore=shutil.ignore_patterns("output*"))
    shutil.copytree(REPOSITORY / "tools", checkout / "tools")
    (tmp_path / "bin").mkdir()
    stand_in = tmp_path / "bin/python"
    stand_in.write_text(f"""#!/bin/bash
[[ "$2" != *find_spec* ]] || exit 0
[ "$1" != -c ] || exec {sys.executable} "$@"
while [ "$1" != OUTPUT_DIR ]; do shift; done
[ "$ENDS" != done ] || echo "Done in 0:00:01. Everything is in $2" >> "$2/stdout.log"
[ "$ENDS" != lives ] || sleep 30
echo "folder $2"
""")
    stand_in.chmod(0o755)

    def run(*arguments, **variables):
        result = run_script(run.script, *arguments, first=stand_in.parent, **variables)
        said, _, folder = result.stdout.rpartition("folder ")
        assert (run.script.parent / "output/last").resolve() == Path(folder.strip())
        return folder.strip(), said

    run.script, run.bin = checkout / "exp/quickstart/run.sh", stand_in.parent
    return run


def test_the_quickstart_continues_an_interrupted_run_of_the_same_arguments_only(quickstart):
    first, _ = quickstart()
    other, _ = quickstart("SOLVER.MAX_EPOCH", "1")
    again, said = quickstart(ENDS="done")
    assert (first == again, first == other) == (True, False)
    assert said == f"Continuing {first}, which was interrupted. (Remove it to begin anew.)\n"
    third, said = quickstart()
    assert (third == first, said) == (False, "")
    assert quickstart("SOLVER.MAX_EPOCH", "1")[0] == other
    with open(quickstart.script.parent / "config.yaml", "a") as file:
        file.write("LOG_PERIOD: 1\n")
    assert quickstart()[0] not in (first, other, third)


def test_a_quickstart_without_a_place_for_its_run_ends_with_a_message(quickstart):
    (quickstart.script.parent / "output").touch()
    result = run_script(quickstart.script, first=quickstart.bin, seconds=20)
    assert result.returncode == 1
    assert result.stderr.endswith("cannot be made. Give OUTPUT_DIR and a folder that can be written as arguments.\n")


def test_two_quickstarts_at_a_time_have_a_folder_each(quickstart):
    environment = os.environ | {"PATH": f"{quickstart.bin}:{os.environ['PATH']}", "ENDS": "lives"}
    living = subprocess.Popen(["bash", quickstart.script], env=environment, stdout=subprocess.DEVNULL)
    last = quickstart.script.parent / "output/last"
    wait_until(last.exists, 20)
    first = last.resolve()
    assert quickstart()[0] != str(first)
    living.kill()
    living.wait()


@pytest.fixture
def command_of(tmp_path):
    """A function of a script and its arguments: the words behind `python` with which the script ends."""
    (tmp_path / "bin").mkdir()
    stand_in = tmp_path / "bin/python"
    stand_in.write_text(f'#!/bin/sh\n[ "$1" != -c ] || exec {sys.executable} "$@"\nprintf "%s\\n" "$@"\n')
    stand_in.chmod(0o755)

    def run(script, *arguments):
        result = run_script(script, *arguments, first=stand_in.parent)
        assert result.returncode == 0, result.stderr
        return result.stdout.splitlines()

    return run


@pytest.mark.parametrize("experiment", RUN, **NAMED)
def test_what_run_and_test_scripts_start_trains_and_tests(experiment, options, command_of, run_python, tmp_path):
    for script in ("run.sh", "test.sh"):
        result = run_python(*command_of(experiment / script, *options(experiment)))
        assert result.returncode == 0, result.stdout + result.stderr
        assert "top-1" in result.stdout
    assert (tmp_path / "out/report.json").exists()


SEEDS = [*(f"usual-{seed}" for seed in range(5)), *(f"other-{seed}" for seed in range(3)), "spikingjelly-0"]


@pytest.fixture
def seeds(tmp_path):
    """A function of arguments and variables: what seeds.sh starts, as (name, environment, words), and its result.

    Runs end at once: with a report, or as ENDS_NAME=STATUS says, where - stands for an interruption.
    """
    (tmp_path / "bin").mkdir()
    stand_in = tmp_path / "bin/python"
    stand_in.write_text(f"""#!/bin/bash
[ "$1" != -c ] || exec {sys.executable} "$@"
echo "started $(basename "${{@: -1}}")|$ONEDNN_MAX_CPU_ISA $ATEN_CPU_CAPABILITY|$*"
[ "$1" != -m ] || exit 0
mkdir -p "${{@: -1}}"
name=ENDS_$(basename "${{@: -1}}" | tr - _)
[ "${{!name:-}}" != - ] || exit 0
[ -n "${{!name:-}}" ] || touch "${{@: -1}}/report.json"
exit "${{!name:-0}}"
""")
    stand_in.chmod(0o755)

    def run(*arguments, **variables):
        script = QUICKSTART / "seeds.sh"
        result = run_script(
            script, *arguments, "OUTPUT_DIR", str(tmp_path / "seeds"), first=stand_in.parent, **variables
        )
        started = [line.removeprefix("started ").split("|") for line in result.stdout.splitlines() if "|" in line]
        return started, result

    return run


def test_seeds_are_run_in_each_arithmetic_and_continued_where_they_were_interrupted(seeds):
    capability = torch.backends.cpu.get_cpu_capability()
    started, result = seeds("SOLVER.MAX_EPOCH", "1", ENDS_usual_1="1", ENDS_other_1="-", ATEN_CPU_CAPABILITY="default")
    assert [name for name, _, _ in started] == SEEDS[:7]
    assert result.returncode == 1
    assert "usual-1 has failed" in result.stderr
    other = "AVX2 avx2" if capability == "AVX512" else "SSE41 default"
    assert [environment.strip() for _, environment, _ in started] == [""] * 5 + [other] * 2
    assert all("SOLVER.MAX_EPOCH 1 RNG_SEED 3 OUTPUT_DIR" in words for name, _, words in started if name == "usual-3")
    started, result = seeds("SOLVER.MAX_EPOCH", "1", ENDS_other_1="130")
    assert ([name for name, _, _ in started], result.returncode) == (["usual-1", "other-1"], 130)
    started, result = seeds("SOLVER.MAX_EPOCH", "1")
    assert [name for name, _, _ in started[:-1]] == SEEDS[6:]
    assert "RNG_SEED 0 SNN.BACKEND spikingjelly" in started[2][2]
    assert re.findall(r"seeds/([\w-]+)", started[-1][2]) == SEEDS
    assert result.returncode == 0


def test_seeds_are_not_mixed_with_those_of_other_arguments(seeds):
    assert seeds()[1].returncode == 0
    started, result = seeds("SOLVER.MAX_EPOCH", "1")
    assert (started, result.returncode) == ([], 1)
    assert "holds runs of other arguments" in result.stderr
    started, result = seeds("RNG_SEED", "7")
    assert (started, result.returncode) == ([], 1)
    assert "RNG_SEED is decided by this script" in result.stderr


@pytest.mark.slow
def test_the_table_of_seeds_is_made_of_real_runs(options, tmp_path):
    """Nine of them, in processes of their own."""
    arguments = options(QUICKSTART)
    result = run_script(QUICKSTART / "seeds.sh", *arguments, seconds=600)
    assert result.returncode == 0, result.stdout + result.stderr
    _, _, *rows = [line for line in result.stdout.splitlines() if line.startswith("| ")]
    groups = ["**5 runs**", "**3 runs**", "**1 run**", "**9 runs**"]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == SEEDS + groups
    assert "9 of 9 runs are counted." in result.stdout
    tested = [json.loads((tmp_path / f"out/{name}/report.json").read_text()) for name in ("usual-0", "other-0")]
    assert tested[0]["machine"]["cpu_capability"] != tested[1]["machine"]["cpu_capability"]
