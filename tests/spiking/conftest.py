import host_kernels
import pytest
import torch

from slowfast.spiking import ops
from slowfast.spiking.kernels import device


@pytest.fixture
def kernel_text(monkeypatch):
    """The operators run the CUDA text, compiled for the host, on CPU tensors."""
    if host_kernels.COMPILER is None:
        pytest.skip("no C++ compiler to run the kernels' text on the host")
    monkeypatch.setattr(ops, "backend", lambda tensor: device)
    monkeypatch.setattr(device, "launch", host_kernels.launch)
    monkeypatch.setattr(device, "processors", lambda where: 1)
    monkeypatch.setattr(device, "THREADS", 32)


@pytest.fixture(params=["host", "kernel_text", "gpu"])
def where(request):
    """A device for tensors, with the operators that run there: torch's on the CPU, the CUDA text, a real GPU."""
    if request.param == "kernel_text":
        request.getfixturevalue("kernel_text")
    if request.param == "gpu" and not device.available():
        pytest.skip("no CUDA device with CuPy")
    return torch.device("cuda" if request.param == "gpu" else "cpu")
