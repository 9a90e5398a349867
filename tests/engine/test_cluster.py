import pytest

from slowfast.engine.cluster import expand_counts, expand_hosts, membership, slurm_job

SLURM = {
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_NODELIST": "gpu[03-04]",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
}


@pytest.mark.parametrize(
    ("short", "hosts"),
    [
        ("login", ["login"]),
        ("a,b", ["a", "b"]),
        ("gpu[01-03,7],login", ["gpu01", "gpu02", "gpu03", "gpu7", "login"]),
        ("rack1-[8-11]", ["rack1-8", "rack1-9", "rack1-10", "rack1-11"]),
        ("n[1-2]-ib,x", ["n1-ib", "n2-ib", "x"]),
    ],
)
def test_hosts_of_a_slurm_step(short, hosts):
    assert expand_hosts(short) == hosts


def test_tasks_of_a_slurm_step():
    assert expand_counts("4(x2),1") == [4, 4, 1]
    assert expand_counts("2") == [2]


def test_srun_tells_each_task_its_place_and_all_the_same_meeting_point():
    place = membership(SLURM)
    assert place[:4] == (5, 1, 8, 4)
    assert place.init_method.startswith("tcp://gpu03:")
    assert place.init_method == membership(SLURM | {"SLURM_PROCID": "0", "SLURM_NODEID": "0"}).init_method
    assert place.init_method != membership(SLURM | {"SLURM_STEP_ID": "1"}).init_method
    meeting = {"MASTER_ADDR": "10.0.0.3", "MASTER_PORT": "29500"}
    assert membership(SLURM | meeting).init_method == "tcp://10.0.0.3:29500"


def test_a_batch_script_or_a_single_task_is_no_member():
    assert membership({}) is None
    assert membership({"SLURM_JOB_ID": "4711", "SLURM_PROCID": "0", "SLURM_NTASKS": "8"}) is None
    assert membership(SLURM | {"SLURM_STEP_NUM_TASKS": "1"}) is None


def test_the_job_of_an_array_is_its_task():
    assert slurm_job({}) is None
    assert slurm_job(SLURM) == "4711"
    assert slurm_job(SLURM | {"SLURM_ARRAY_JOB_ID": "4700", "SLURM_ARRAY_TASK_ID": "3"}) == "4700_3"


def test_torchrun_goes_before_slurm():
    torchrun = {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}
    torchrun |= {"MASTER_ADDR": "h", "MASTER_PORT": "1"}
    assert membership(SLURM | torchrun) == (3, 1, 4, 2, "env://", "torchrun's environment")
