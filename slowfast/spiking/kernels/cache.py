"""Libraries that a compiler has made, kept on disk for the next process.

What is loaded runs as this user: it must be the user's own, and nobody else may be able to write it.
"""

import ctypes
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from slowfast.utils.files import sha256, sync_directory
from slowfast.utils.logging import logger

WRITABLE_BY_OTHERS = 0o022


def load_or_build(name: str, build: Callable[[Path], None]) -> ctypes.CDLL:
    """The library of this name: as it is kept, or made by `build(path)`.

    Raises:
        OSError: it cannot be made, kept or loaded; the message says why.
    """
    folder = cache_folder()
    for path in folder.glob(f"{name}-*.so"):
        problem = what_is_wrong(path)
        if not problem:
            return ctypes.CDLL(str(path))
        logger.warning("%s %s; it is not used but compiled again.", path, problem)
    with tempfile.TemporaryDirectory(dir=folder) as building:
        built = Path(building) / f"{name}.so"
        build(built)
        built.chmod(0o700)
        with open(built, "rb") as file:
            os.fsync(file.fileno())
        path = folder / f"{name}-{sha256(built)[:16]}.so"
        built.replace(path)  # whole or not at all, also when processes compile at once
    sync_directory(folder)
    return ctypes.CDLL(str(path))


def what_is_wrong(path: Path) -> str:
    """Why a library should not be loaded; empty if it may be. To load half a one could end the process."""
    status = path.stat()
    if status.st_uid != os.geteuid():
        return "belongs to another user"
    if status.st_mode & WRITABLE_BY_OTHERS:
        return "can be written by others"
    return "" if path.stem.endswith(f"-{sha256(path)[:16]}") else "is damaged"


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/spikefast or ~/.cache/spikefast, this user's own."""
    try:
        above = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError as error:  # no HOME, and the user has no entry in passwd
        raise OSError(f"there is no home folder ({error})") from error
    folder = above / "spikefast"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.geteuid():
        raise OSError(f"{folder} belongs to another user")
    if status.st_mode & WRITABLE_BY_OTHERS:
        folder.chmod(status.st_mode & 0o777 & ~WRITABLE_BY_OTHERS)
    return folder
