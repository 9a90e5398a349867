import host_kernels
import pytest
import torch

from slowfast.spiking import ops
from slowfast.spiking.kernels import cpu, cuda, eager
from slowfast.spiking.kernels.compiled import CompiledKernels

BACKENDS = {
    "eager": lambda: eager,
    "cpu": lambda: ops.CPU,
    "cuda text": lambda: CompiledKernels(host_kernels.HostedCudaEngine()),
    "gpu": lambda: ops.CUDA,
}


@pytest.fixture(params=BACKENDS)
def where(request, monkeypatch):
    """A device for tensors and who computes there: torch's operators, the compiled CPU kernels, the CUDA kernels as
    blocks of coroutines, and on a real GPU."""
    if request.param == "gpu" and not cuda.available():
        pytest.skip("no CUDA device with CuPy")
    if request.param in ("cpu", "cuda text") and cpu.compiler() is None:
        pytest.skip("no C++ compiler")
    kernels = BACKENDS[request.param]()
    monkeypatch.setattr(ops, "backend", lambda tensor: eager if tensor.dtype == torch.float64 else kernels)
    return torch.device("cuda" if request.param == "gpu" else "cpu")
