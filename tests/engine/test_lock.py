import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

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


def test_a_lock_outlives_every_reading_of_its_file(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "SETTLING_SECONDS", 0.1)
    with run_lock(tmp_path), multiprocessing.get_context("fork").Pool(1) as pool:
        (tmp_path / lock.NAME).read_text()
        os.truncate(tmp_path / lock.NAME, 0)  # nothing but the kernel's lock tells that it is held
        assert "in use by a process that has not written who it is" in pool.apply(refusal, [tmp_path])


def hold_and_fork(folder, pids):
    with run_lock(folder):
        loader = os.fork()
        if not loader:
            time.sleep(60)
            os._exit(0)
        pids.send(loader)
        time.sleep(60)


def test_a_loader_process_that_outlives_a_killed_run_does_not_hold_its_lock(tmp_path):
    context = multiprocessing.get_context("fork")
    pids, theirs = context.Pipe()
    run = context.Process(target=hold_and_fork, args=(tmp_path, theirs))
    run.start()
    loader = pids.recv()
    try:
        run.kill()
        run.join()
        with run_lock(tmp_path):
            assert lock.read_owner(tmp_path / lock.NAME) == own_identity()
    finally:
        os.kill(loader, signal.SIGKILL)


def test_a_forked_process_that_leaves_the_block_leaves_the_lock_to_its_parent(tmp_path):
    with run_lock(tmp_path):
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            assert lock.read_owner(tmp_path / lock.NAME) == own_identity()
    if not child:
        os._exit(0)


def test_a_moved_folder_is_free_and_the_new_one_is_held(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "HEARTBEAT_SECONDS", 0.01)
    here, moved = tmp_path / "here", tmp_path / "moved"
    with run_lock(here), multiprocessing.get_context("fork").Pool(1) as pool:
        here.rename(moved)
        here.mkdir()
        wait_until(lambda: lock.read_owner(here / lock.NAME) == own_identity(), 10)
        wait_until(lambda: pool.apply(refusal, [moved]) == "", 10)
        assert "is in use by process" in pool.apply(refusal, [here])


@pytest.mark.skipif(shutil.which("ps") is None, reason="no ps is installed")
def test_without_proc_a_process_is_known_by_ps(monkeypatch):
    monkeypatch.setattr(lock, "PROC", Path("/nowhere"))
    started = process_start(os.getpid())
    assert started == process_start(os.getpid())
    assert str(time.localtime().tm_year) in started
    gone = subprocess.Popen(["true"])
    wait_until(lambda: process_start(gone.pid) is None, 10)  # a zombie
    gone.wait()
    assert process_start(gone.pid) is None
