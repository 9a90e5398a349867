import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from slowfast.utils.machine import machine

CPU_INFO = Path("/proc/cpuinfo")


def test_a_machine_is_named_with_what_torch_uses_of_it():
    found = machine(on_gpu=False)
    assert found["processor"]
    assert (found["cores"], found["threads"]) == (os.cpu_count(), torch.get_num_threads())
    assert found["cpu_capability"] == torch.backends.cpu.get_cpu_capability()
    assert found["gpu"] is None


@pytest.mark.skipif(not CPU_INFO.exists(), reason="Linux tells of the processor there")
def test_what_the_environment_forbids_is_said_beside_what_the_processor_has():
    code = "import json; from slowfast.utils.machine import machine; print(json.dumps(machine(on_gpu=False)))"
    asked = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}
    printed = subprocess.run([sys.executable, "-c", code], env=os.environ | asked, capture_output=True, check=True)
    found = json.loads(printed.stdout)
    assert (found["cpu_capability"], found["onednn_max_cpu_isa"]) == ("DEFAULT", "SSE41")
    assert found["avx512"] == (" avx512f " in CPU_INFO.read_text())
