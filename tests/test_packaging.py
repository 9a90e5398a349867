"""What pyproject.toml says of the package: versions have bounds, and what the code imports and reads is named."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
METADATA, EXTRAS = PROJECT["project"], PROJECT["project"]["optional-dependencies"]
NOT_TESTED = {"cupy-cuda12x", "torchcodec"}  # the tests ran without them
# Found by name at run time, and only where the user asks for them.
OPTIONAL = {"cupy", "torchcodec", "submitit", "decord"}  # decord: the benchmark measures it where it is


def names(requirements: list[str]) -> set[str]:
    return {re.match(r"[\w-]+", requirement)[0] for requirement in requirements} - {"spikefast"}


def everything() -> list[str]:
    return [*METADATA["dependencies"], *(requirement for extra in EXTRAS.values() for requirement in extra)]


def test_every_dependency_ends_before_its_next_major_version():
    unbound = [requirement for requirement in everything() if "<" not in requirement and "spikefast" not in requirement]
    assert unbound == []


def test_constraints_have_the_version_of_every_dependency():
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert pinned.keys() == names(everything()) - NOT_TESTED


def test_no_extra_brings_two_builds_of_cupy():
    assert all(sum("cupy" in requirement for requirement in extra) <= 1 for extra in EXTRAS.values())
    assert not any("cupy" in requirement for requirement in (*METADATA["dependencies"], *EXTRAS["test"]))


def test_what_the_package_imports_is_a_dependency():
    imported = set()
    for file in (REPOSITORY / "slowfast").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(node.module.partition(".")[0])
    others = imported - sys.stdlib_module_names - OPTIONAL - {"slowfast"}
    distributions = {name: {d.lower() for d in found} for name, found in packages_distributions().items()}
    assert {name for name in others if not distributions[name] & names(METADATA["dependencies"])} == set()


@pytest.mark.parametrize("package", PROJECT["tool"]["setuptools"]["package-data"])
def test_files_of_the_package_that_are_no_python_are_in_it(package):
    folder = REPOSITORY / package.replace(".", "/")
    patterns = PROJECT["tool"]["setuptools"]["package-data"][package]
    others = {path.name for path in folder.iterdir() if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert others and others == {path.name for pattern in patterns for path in folder.glob(pattern)}


def test_the_licence_is_told_and_there():
    assert METADATA["license"] == "Apache-2.0"
    assert "Apache License" in (REPOSITORY / "LICENSE").read_text()
    assert not any("://" in str(value) for value in METADATA.values())
