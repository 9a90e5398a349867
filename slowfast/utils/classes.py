"""Names of the classes, for tables and figures."""

from pathlib import Path

from slowfast.utils.texts import read_json, read_lines, shortened
from slowfast.utils.wording import nearest

LARGEST = 2**24  # bytes


def load_class_names(path: str | Path, num_classes: int, *, data_dir: str | Path = "") -> list[str]:
    """Class names by label from json {name: label}; "" takes `data_dir`/classes.json if it is there.

    A label without a name goes by its number.

    Raises:
        ValueError: the file is missing, not such a json, or its labels are not distinct ones of 0 .. num_classes - 1.
    """
    if not path:
        beside = Path(data_dir) / "classes.json" if data_dir else None
        if beside is None or not beside.exists():
            return [str(label) for label in range(num_classes)]
        path = beside
    labels = read_json(path, "class names", "Check TENSORBOARD.CLASS_NAMES_PATH.", largest=LARGEST)
    # type() and not isinstance(): true and false are ints to Python.
    if not isinstance(labels, dict) or not all(type(label) is int for label in labels.values()):
        raise ValueError(f"{path}: class names are a json object {{name: label}} with whole labels.")
    names: dict[int, str] = {}
    for name, label in labels.items():
        if not 0 <= label < num_classes or label in names:
            other = f"is {shortened(names[label])!r} too" if label in names else f"is not one of 0 .. {num_classes - 1}"
            of = f"label {shortened(str(label))} of {shortened(name)!r}"
            raise ValueError(f"{path}: {of} {other}. Correct it or MODEL.NUM_CLASSES.")
        names[label] = name
    return [names.get(label, str(label)) for label in range(num_classes)]


def read_subset(path: str | Path, names: list[str]) -> list[int]:
    """Labels of the classes a text file names, one a line, in its order; "" means all.

    Raises:
        ValueError: file missing, a line that names no class or one named before (file:line), or no line at all.
    """
    if not path:
        return list(range(len(names)))
    advice = "Check TENSORBOARD.CONFUSION_MATRIX.SUBSET_PATH and .HISTOGRAM.SUBSET_PATH."
    labels_by_name = {name: label for label, name in enumerate(names)}
    labels: list[int] = []
    for number, name in read_lines(path, "class subset", advice, largest=LARGEST):
        if name not in labels_by_name:
            raise ValueError(f"{path}:{number}: there is no class {shortened(name)!r}.{hint(name, names)}")
        if labels_by_name[name] in labels:
            raise ValueError(f"{path}:{number}: class {shortened(name)!r} is named a second time. Remove the line.")
        labels.append(labels_by_name[name])
    if not labels:
        raise ValueError(f"{path}: names no class. Write one class name a line, or leave the path empty for all.")
    return labels


def hint(name: str, names: list[str]) -> str:
    """A sentence with the class whose name is most like `name`; if none is, how names look."""
    near = nearest(name, names)
    return f" Did you mean {near!r}?" if near else f" Classes are named like {names[0]!r}."
