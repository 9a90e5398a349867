"""`--help-config`: every key with its default, unit, meaning, what it may be, and the files that read it."""

import re
from fnmatch import fnmatch
from pathlib import Path

from slowfast.config.compat import accepted_keys
from slowfast.config.keys import DECLARED
from slowfast.config.unbuilt import UNBUILT

READ = re.compile(r"\bcfg\.((?:[A-Z0-9_]+\.)*[A-Z][A-Za-z0-9_]*)\b")
PACKAGE = Path(__file__).parent.parent


def readers() -> dict[str, list[str]]:
    """Key -> the package's files whose code reads it from `cfg`, found in the sources."""
    found: dict[str, list[str]] = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        for key in sorted(set(READ.findall(file.read_text(encoding="utf-8")))):
            found.setdefault(key, []).append(str(file.relative_to(PACKAGE.parent)))
    return found


def help_config(pattern: str = "*") -> str:
    """The keys that match `pattern` (a part of the name, or with * and ?), a paragraph each."""
    glob = pattern if any(c in pattern for c in "*?[") else f"*{pattern}*"
    read_by = readers()
    paragraphs = []
    for name, key in sorted(DECLARED.items()):
        if fnmatch(name.lower(), glob.lower()):
            unit = f" [{key.unit}]" if key.unit else ""
            files = ", ".join(read_by.get(name, [])) or "no file"
            may_be = f"{key.valid.words()}{', or None' * key.may_be_none}"
            paragraphs.append(
                f"{name} = {key.default!r}{unit}\n    {key.meaning}\n    may be {may_be}\n    read by {files}"
            )
    for group, said in (
        ("never_read", "upstream never reads it either"),
        ("not_built", "its part is not built"),
    ):
        for name, default in sorted(accepted_keys()[group].items()):
            if fnmatch(name.lower(), glob.lower()):
                what = f"accepted, has no effect: {said}"
                if name in UNBUILT:
                    what = f"must stay at its default: {UNBUILT[name]} not built here"
                paragraphs.append(f"{name} = {default!r}\n    {what}")
    return "\n".join(paragraphs) or f"No config key matches {pattern!r}."
