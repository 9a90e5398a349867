"""Installs the package `slowfast` (distribution `spikefast`)."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "slowfast/version.py").read_text())[1]

setup(
    name="spikefast",
    version=VERSION,
    description="Spiking video recognition: config-driven training and multi-view testing.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    packages=find_packages(include=["slowfast", "slowfast.*"]),
    package_data={
        "slowfast.config": ["*.yaml"],
        "slowfast.models": ["*.yaml"],
        "slowfast.spiking.kernels": ["*.cu", "*.h"],
    },
    python_requires=">=3.11",  # SpikingJelly 2.0 needs it
    install_requires=[
        "torch>=2.6",
        "torchvision>=0.21",
        "spikingjelly>=2.0,<3",
        "fvcore>=0.1.5",
        "yacs>=0.1.8",
        "av>=14.1",  # the first that tells cover pictures from videos
        "safetensors>=0.4",  # the format most image weights are published in; no dependencies of its own
        "simplejson>=3.19",
        "tensorboard>=2.16",
        "tqdm>=4.66",  # the progress bar; fvcore already depends on it
        "numpy>=1.26",
        "tabulate>=0.9",  # tables on the terminal; fvcore already depends on it
        "matplotlib>=3.8",  # confusion matrices; SpikingJelly already depends on it
    ],
    extras_require={
        "cuda12": ["cupy-cuda12x>=13"],
        "cuda13": ["cupy-cuda13x>=14"],
        "torchcodec": ["torchcodec"],  # DATA.DECODING_BACKEND torchcodec; needs FFmpeg's shared libraries
        "slurm": ["submitit>=1.5"],  # tools/submit.py
        "dev": [
            "pytest>=8",
            "pytest-xdist>=3.5",  # tests/run.sh shares the tests out between two processes
            "ruff>=0.8",
            "submitit>=1.5",
            # CuPy brings NVRTC, with which the tests compile the kernels for GPUs that need not be there.
            "cupy-cuda13x>=14; platform_system == 'Linux'",
        ],
    },
)
