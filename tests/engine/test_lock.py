import json
import multiprocessing
import os
import subprocess

import pytest
from patience import wait_until

from slowfast.engine import lock
from slowfast.engine.lock import LockedError, own_identity, process_start, run_lock


def write_owner(folder, **changes):
    (folder / lock.NAME).write_text(json.dumps(own_identity() | changes))


def refusal(folder):
    """What another process gets to hear."""
    try:
        with run_lock(folder):
            return ""
    except LockedError as error:
        return str(error)


def test_a_living_process_keeps_others_out_and_leaves_no_lock_behind(tmp_path):
    with run_lock(tmp_path), multiprocessing.get_context("fork").Pool(1) as pool:
        assert f"is in use by process {os.getpid()} on" in pool.apply(refusal, [tmp_path])
    with run_lock(tmp_path):
        pass


def test_a_lock_of_a_process_that_is_gone_is_taken_over(tmp_path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    write_owner(tmp_path, pid=gone.pid, started="1")
    with run_lock(tmp_path):
        assert lock.read_owner(tmp_path / lock.NAME) == own_identity()


def test_a_process_number_given_out_again_is_not_the_old_process(tmp_path):
    write_owner(tmp_path, pid=os.getppid(), started="1")
    with run_lock(tmp_path):
        pass
    write_owner(tmp_path, pid=os.getppid(), started=process_start(os.getppid()))
    with pytest.raises(LockedError, match=f"process {os.getppid()}"), run_lock(tmp_path):
        pass


def test_a_process_of_another_host_lives_as_long_as_its_heart_beats(tmp_path):
    write_owner(tmp_path, host="elsewhere", pid=1)
    with pytest.raises(LockedError, match="process 1 on elsewhere"), run_lock(tmp_path):
        pass
    silent = os.stat(tmp_path / lock.NAME).st_mtime - lock.SILENT_SECONDS - 1
    os.utime(tmp_path / lock.NAME, (silent, silent))
    with run_lock(tmp_path):
        pass


def test_the_heart_beats_and_writes_a_removed_lock_again(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "HEARTBEAT_SECONDS", 0.01)
    path = tmp_path / lock.NAME
    with run_lock(tmp_path):
        os.utime(path, (0, 0))
        wait_until(lambda: path.stat().st_mtime > 0, 10)
        path.unlink()
        wait_until(lambda: path.exists() and lock.read_owner(path) == own_identity(), 10)
