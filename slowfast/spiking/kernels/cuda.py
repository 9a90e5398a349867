"""neuron.cu on CUDA devices: compiled by NVRTC through CuPy, on torch's stream, in torch's memory."""

import importlib.util
from functools import cache

import torch
from torch import Tensor

from slowfast.spiking.dynamics import Dynamics
from slowfast.spiking.kernels.layout import Layout
from slowfast.spiking.kernels.source import Variant, kernel_source
from slowfast.utils.logging import logger

# Without contraction a * b + c rounds as the CPU does, and a stream of single steps equals one long call exactly.
OPTIONS = ("--std=c++14", "--fmad=false")


@cache
def available() -> bool:
    """Whether torch sees a CUDA device and CuPy is installed and can be loaded, which makes its cache's folder."""
    if not torch.cuda.is_available() or importlib.util.find_spec("cupy") is None:
        return False
    try:
        import cupy  # noqa: F401
    except Exception as error:  # besides OSError what an import raises that is begun again
        logger.warning(
            "Spiking layers are computed on the GPU by torch's operators, with the same results but slower: CuPy "
            "cannot be loaded (%s). If its folder ~/.cupy cannot be made, set CUPY_CACHE_DIR to one that can.",
            error,
        )
        return False
    return True


class CudaEngine:
    """Launches on the current stream of the tensors' device; CuPy keeps compiled text on disk."""

    threads = 256

    def vector(self, kernel: str, dynamics: Dynamics | None, layout: Layout, affine: bool, stored: list[Tensor]) -> int:
        """The widest access that divides what lies side by side and that the addresses allow."""
        size = stored[0].element_size()
        vector = self.widest(kernel, size, layout, affine)
        while layout.run % vector or any(x.data_ptr() % (vector * size) for x in stored):
            vector //= 2
        return vector

    def widest(self, kernel: str, size: int, layout: Layout, affine: bool) -> int:
        if kernel == "backward":  # a thread keeps its potentials, and sums for each of its channels, in registers
            return 4 if not affine else 4 // size if layout.channels_last else 2
        return 2 if kernel == "moments" and layout.channels_last else 16 // size

    def blocks(self, where: torch.device) -> int:
        return 16 * processors(where)

    def launch(
        self, kernel: str, variant: Variant, grid: tuple, block: tuple, shared: int, values: tuple, where
    ) -> None:
        import cupy

        with (
            torch.cuda.device(where),
            cupy.cuda.ExternalStream(torch.cuda.current_stream(where).cuda_stream, where.index),
        ):
            compiled(variant).get_function(kernel)(grid, block, values, shared_mem=shared)


@cache
def processors(where: torch.device) -> int:
    return torch.cuda.get_device_properties(where).multi_processor_count


@cache
def compiled(variant: Variant):
    """The variant as a CuPy module."""
    import cupy

    neuron = variant.dynamics.charge if variant.dynamics else "normalisation"
    logger.info("Preparing the CUDA kernel for %s, T %d, %s.", neuron, variant.time_steps, variant.dtype)
    return cupy.RawModule(code=kernel_source(variant), options=OPTIONS)
