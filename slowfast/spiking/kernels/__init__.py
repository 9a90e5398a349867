"""Multi-step kernels: `source` writes the CUDA text, `device` launches it, `host` does the same on the CPU."""
