"""Spiking layers: neurons on SpikingJelly's classes, norms and layers that know time."""

from slowfast.spiking.layers import DropPath, checkpointed, per_step
from slowfast.spiking.neuron import IF, LIF, NEURON_REGISTRY, PLIF, build_neuron
from slowfast.spiking.node import SpikingNeuron
from slowfast.spiking.norm import (
    BATCH_NORMS,
    BatchNorm,
    SharedBatchNorm,
    TimeStepBatchNorm,
    TooFewValuesError,
    synchronize_norms,
)
from slowfast.spiking.step_norm import StepBatchNorm

__all__ = [
    "BATCH_NORMS",
    "IF",
    "LIF",
    "NEURON_REGISTRY",
    "PLIF",
    "BatchNorm",
    "DropPath",
    "SharedBatchNorm",
    "SpikingNeuron",
    "StepBatchNorm",
    "TimeStepBatchNorm",
    "TooFewValuesError",
    "build_neuron",
    "checkpointed",
    "per_step",
    "synchronize_norms",
]
