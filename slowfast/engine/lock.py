"""One run in one OUTPUT_DIR: a locked file with host and process, and how to tell that its owner is gone.

On one host the kernel's lock (flock) decides. The file's content names the owner, and decides on network disks that
keep no locks between hosts.
"""

import fcntl
import json
import os
import socket
import subprocess
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
# Who has just locked the file writes its name at once, and one that was killed leaves it as soon as it is gone.
SETTLING_SECONDS = 2.0
PROC = Path("/proc")

_held: dict[Path, int] = {}  # the descriptors under which this process has its lock files locked


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
        release(path)


def acquire(path: Path) -> None:
    """Locks the file and writes this process into it."""
    deadline = time.monotonic() + SETTLING_SECONDS
    while (descriptor := lock_file(path)) is None:
        owner = read_owner(path)
        if (owner and is_alive(owner, path)) or time.monotonic() > deadline:
            raise LockedError(in_use(path, owner))
        time.sleep(0.01)
    try:
        owner = read_owner(path)
        if owner and owner != own_identity():
            if is_alive(owner, path):
                raise LockedError(in_use(path, owner))
            logger.warning("Process %s on %s left its lock behind; taking it over.", owner["pid"], owner["host"])
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps(own_identity()).encode())
    except BaseException:
        os.close(descriptor)
        raise
    _held[path] = descriptor


def lock_file(path: Path) -> int | None:
    """The file open and locked; None if another process has it, or has just replaced it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:  # some network disks have no locks; then two starts in the same instant are not told
        pass
    if is_at(descriptor, path):
        return descriptor
    os.close(descriptor)
    return None


def is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file still has this path; OUTPUT_DIR may have been removed, moved or made again."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def release(path: Path) -> None:
    descriptor = _held.pop(path, None)
    if descriptor is None:  # in a forked child
        return
    with suppress(OSError):
        os.ftruncate(descriptor, 0)  # emptied, not removed: another process may have it open to take it
    os.close(descriptor)


def forget_in_child() -> None:
    """A forked process must not keep what its parent has locked: a loader process may outlive a run that is killed."""
    for descriptor in _held.values():
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=forget_in_child)


def in_use(path: Path, owner: dict | None) -> str:
    who = f"process {owner['pid']} on {owner['host']}" if owner else "a process that has not written who it is"
    return (
        f"OUTPUT_DIR {path.parent} is in use by {who}. Wait for it, stop it, or set another OUTPUT_DIR. If that "
        f"process is no run of yours, remove {path}."
    )


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
    """When a process of this host began, as the kernel or `ps` tells it; None if there is no such process.

    With it a process number that was given out again is not taken for the old process.
    """
    try:
        if not (PROC / "self").exists():  # macOS
            shown = subprocess.run(["ps", "-o", "state=,lstart=", "-p", str(pid)], capture_output=True, text=True)
            state, _, started = shown.stdout.strip().partition(" ")
            return None if state[:1] in ("", "Z") else started.strip()
        fields = (PROC / f"{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    return None if fields[0] == "Z" else fields[19]


def is_alive(owner: dict, path: Path) -> bool:
    """Whether the owner that a lock file names still runs."""
    if owner["host"] == socket.gethostname():
        return owner["started"] is not None and process_start(owner["pid"]) == owner["started"]
    return time.time() - path.stat().st_mtime < SILENT_SECONDS


def beat(path: Path, released: threading.Event) -> None:
    """Touches the lock, and makes it again if OUTPUT_DIR was removed under the run."""
    while not released.wait(HEARTBEAT_SECONDS):
        with suppress(OSError):
            before = _held[path]
            if is_at(before, path):
                os.utime(before)
            elif path.parent.is_dir():
                try:
                    acquire(path)
                except LockedError as error:
                    logger.error("OUTPUT_DIR was removed under the run, and another run took its place. %s", error)
                    return
                os.ftruncate(before, 0)  # OUTPUT_DIR may have been moved: its file is nobody's now
                os.close(before)
