"""One run in one OUTPUT_DIR: a lock file with host and process, and how to tell that its owner is gone."""

import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from slowfast.utils.logging import logger

NAME = ".run.lock"
HEARTBEAT_SECONDS = 15.0
# A process of another host cannot be looked up; it is taken for dead when its heartbeat has stopped this long.
SILENT_SECONDS = 120.0


class LockedError(ValueError):
    """Another run works in the same OUTPUT_DIR; names its host and process."""


@contextmanager
def run_lock(output_dir: str | Path) -> Iterator[None]:
    """Holds OUTPUT_DIR for this process.

    Raises:
        LockedError: a process that lives holds it.
    """
    path = Path(output_dir) / NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    acquire(path)
    released = threading.Event()
    heart = threading.Thread(target=beat, args=(path, released), daemon=True, name="run lock")
    heart.start()
    try:
        yield
    finally:
        released.set()
        heart.join()
        with suppress(OSError):
            if read_owner(path) == own_identity():
                path.write_text("")  # emptied, not removed: another process may have it open to take it


def acquire(path: Path) -> None:
    with open(path, "a+") as file:
        with suppress(OSError):  # some network disks have no locks; then two starts in the same instant are not told
            fcntl.lockf(file, fcntl.LOCK_EX)
        owner = read_owner(path)
        if owner and owner != own_identity():
            silent = time.time() - path.stat().st_mtime
            if is_alive(owner, silent):
                raise LockedError(
                    f"OUTPUT_DIR {path.parent} is in use by process {owner['pid']} on {owner['host']}. Wait for it, "
                    f"stop it, or set another OUTPUT_DIR. If that process is no run of yours, remove {path}."
                )
            logger.warning("Process %s on %s left its lock behind; taking it over.", owner["pid"], owner["host"])
        file.truncate(0)
        file.write(json.dumps(own_identity()))


def read_owner(path: Path) -> dict | None:
    """Who holds the lock; None for an empty or unreadable one."""
    try:
        owner = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return owner if isinstance(owner, dict) and {"host", "pid", "started"} <= owner.keys() else None


def own_identity() -> dict:
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": process_start(os.getpid())}


def process_start(pid: int) -> str | None:
    """When a process of this host began, in the kernel's clock; None if there is no such process.

    With it a process number that was given out again is not taken for the old process.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    return None if fields[0] == "Z" else fields[19]


def is_alive(owner: dict, silent: float) -> bool:
    if owner["host"] == socket.gethostname():
        return process_start(owner["pid"]) == owner["started"]
    return silent < SILENT_SECONDS


def beat(path: Path, released: threading.Event) -> None:
    """Touches the lock, and writes it again if OUTPUT_DIR was removed under the run."""
    while not released.wait(HEARTBEAT_SECONDS):
        with suppress(OSError):
            if path.exists():
                os.utime(path)
            elif path.parent.is_dir():
                path.write_text(json.dumps(own_identity()))
