"""Names of the classes, for tables and figures."""

import json
from pathlib import Path


def load_class_names(path: str | Path, num_classes: int, *, fallback: Path | None = None) -> list[str]:
    """Class names by label from json {name: label}; "" takes `fallback`/classes.json if it is there, else numbers.

    Raises:
        ValueError: the file is missing, not such a json, or its labels are not distinct ones of 0 .. num_classes - 1.
    """
    if not path:
        beside = fallback / "classes.json" if fallback is not None else None
        if beside is None or not beside.is_file():
            return [str(label) for label in range(num_classes)]
        path = beside
    try:
        labels = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(
            f"Cannot read class names {path}: {error.strerror}. Check TENSORBOARD.CLASS_NAMES_PATH."
        ) from error
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}:{error.lineno}: not valid json: {error.msg}.") from error
    if not isinstance(labels, dict) or not all(isinstance(label, int) for label in labels.values()):
        raise ValueError(f"{path}: class names are a json object {{name: label}} with whole labels.")
    names = [str(label) for label in range(num_classes)]
    taken: dict[int, str] = {}
    for name, label in labels.items():
        if not 0 <= label < num_classes or label in taken:
            why = f"is {taken[label]!r} too" if label in taken else f"is not one of 0 .. {num_classes - 1}"
            raise ValueError(f"{path}: label {label} of {name!r} {why}. Correct it or MODEL.NUM_CLASSES.")
        taken[label] = names[label] = name
    return names


def read_subset(path: str | Path, names: list[str]) -> list[int]:
    """Labels of the classes a text file names, one a line; "" means all.

    Raises:
        ValueError: file missing, or a line that names no class (file:line).
    """
    if not path:
        return list(range(len(names)))
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ValueError(f"Cannot read class subset {path}: {error.strerror}.") from error
    labels = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if line.strip() not in names:
            raise ValueError(f"{path}:{number}: there is no class {line.strip()!r}.")
        labels.append(names.index(line.strip()))
    return labels
