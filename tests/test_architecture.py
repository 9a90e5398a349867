"""What must stay true of the house as it grows."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from slowfast.config.help import readers
from slowfast.config.keys import DECLARED

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "slowfast"
SOURCES = sorted(PACKAGE.rglob("*.py"))

# Who may import whom (besides themselves); slowfast itself and its command line may import all.
ALLOWED = {
    "utils": set(),
    "config": {"utils"},
    "spiking": {"config", "utils"},
    "datasets": {"config", "utils"},
    "models": {"config", "utils", "spiking"},
    "solver": {"config", "utils"},
    "evaluation": {"config", "utils", "spiking"},
    "visualization": {"config", "utils", "spiking"},
}
ALLOWED["engine"] = set(ALLOWED)
ALLOWED["benchmark"] = set(ALLOWED)

# Command lines that live beside what they list; like the package's own they may import all.
COMMANDS = {"models/list.py"}


def imported_modules(file: Path) -> list[str]:
    """Every module a file imports, at its top or anywhere in it."""
    names = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
    return names


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_point_down(package):
    for file in (PACKAGE / package).rglob("*.py"):
        if str(file.relative_to(PACKAGE)) in COMMANDS:
            continue
        for name in imported_modules(file):
            match = re.match(r"slowfast\.(\w+)", name)
            if match and match[1] != "version":
                assert match[1] in ALLOWED[package] | {package}, f"{file} imports {name}"


def test_every_folder_of_the_package_has_its_rule():
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    assert folders == ALLOWED.keys()


def test_every_declared_key_is_read_and_every_read_key_is_declared():
    read = readers()
    unread = sorted(key for key in DECLARED if key not in read)
    assert not unread
    undeclared = {key: files for key, files in read.items() if key not in DECLARED and not is_section(key)}
    assert not undeclared


def is_section(key: str) -> bool:
    return any(name.startswith(f"{key}.") for name in DECLARED)


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_file_says_what_it_is_for_and_fits_in_a_head(file):
    text = file.read_text(encoding="utf-8")
    if text.strip():
        assert ast.get_docstring(ast.parse(text)), f"{file} has no docstring"
    assert text.count("\n") <= 350


def test_nothing_tracked_holds_a_personal_path():
    tracked = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    personal = re.compile(r"/(?:home|Users|userhome|root|work|mnt)/\w+")
    for name in tracked.stdout.splitlines():
        path = REPOSITORY / name
        if path.suffix in {".py", ".sh", ".yaml", ".md", ".toml"} and path.exists() and path != Path(__file__):
            found = personal.search(path.read_text(encoding="utf-8"))
            assert not found, f"{name}: {found[0]}"


def test_importing_the_package_does_not_import_what_is_slow_and_not_needed():
    code = "import sys, slowfast; print([m for m in ('torchvision', 'matplotlib', 'tensorboard') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
