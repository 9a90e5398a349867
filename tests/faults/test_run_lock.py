"""Runs that start in the same instant on one OUTPUT_DIR."""

import json
import os
import socket

from processes import CONTEXT

from slowfast.engine import lock

STARTS = 8


def start_again_and_again(folders, starting, ended, held) -> None:
    """One of the starts in each folder; all begin together, and hold what they get until all have tried."""
    lock.logger.disabled = True
    for folder in folders:
        starting.wait()
        try:
            with lock.run_lock(folder):
                with held.get_lock():
                    held.value += 1
                ended.wait()
        except lock.LockedError:
            ended.wait()
        starting.wait()  # the count is read and set back


def test_of_simultaneous_starts_in_one_folder_one_holds_it(tmp_path, record_property):
    trials = int(os.environ.get("FAULTS_LOCK_TRIALS", 20))
    folders = [tmp_path / str(trial) for trial in range(trials)]
    for folder in folders[1::2]:  # every second one has the lock of a process that is gone
        folder.mkdir()
        left = {"host": socket.gethostname(), "pid": 4194304, "started": "1"}
        (folder / lock.NAME).write_text(json.dumps(left))
    starting, ended, held = CONTEXT.Barrier(STARTS + 1), CONTEXT.Barrier(STARTS + 1), CONTEXT.Value("i", 0)
    starts = [
        CONTEXT.Process(target=start_again_and_again, args=(folders, starting, ended, held)) for _ in range(STARTS)
    ]
    for process in starts:
        process.start()
    holders = []
    for _ in folders:
        starting.wait(60)
        ended.wait(60)
        holders.append(held.value)
        held.value = 0
        starting.wait(60)
    for process in starts:
        process.join()
    record_property("seen", f"{trials} times {STARTS} starts: {holders.count(1)} times one holder")
    assert holders == [1] * trials
