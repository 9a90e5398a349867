"""Spikes kept for backward as bits: what convolutions and matrix products save of them shrinks 16 to 32 times."""

import weakref

import torch
from spikingjelly.activation_based.memopt.compress import BitSpikeCompressor
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from slowfast.spiking.node import SpikingNeuron

COMPRESSOR = BitSpikeCompressor()


class PackedSpikes:
    """The whole memory of one spike tensor as bits, shared by all layers that saved a view of it."""

    def __init__(self, flat: Tensor):
        self.bits = COMPRESSOR.compress(flat)
        self.unpacked = None

    def flat(self) -> Tensor:
        """The spikes; unpacked once for layers whose backward passes follow each other."""
        flat = self.unpacked() if self.unpacked is not None else None
        if flat is None:
            flat = COMPRESSOR.decompress(self.bits)
            self.unpacked = weakref.ref(flat)
        return flat


class SpikePacking:
    """Saved-tensor hooks that pack views of spike tensors and leave everything else as it is."""

    def __init__(self) -> None:
        self.spikes: dict[int, StorageWeakRef] = {}
        self.packed: weakref.WeakValueDictionary[int, PackedSpikes] = weakref.WeakValueDictionary()
        self.hooks: torch.autograd.graph.saved_tensors_hooks | None = None

    def start(self, *_) -> None:
        self.hooks = torch.autograd.graph.saved_tensors_hooks(self.pack, self.unpack)
        self.hooks.__enter__()

    def stop(self, *_) -> None:
        self.hooks.__exit__(None, None, None)
        self.spikes.clear()
        self.packed.clear()

    def mark(self, neuron: SpikingNeuron, inputs: tuple, spikes: Tensor) -> None:
        """Forward hook of a neuron: from here on its output is known to be zeros and ones."""
        if not neuron.surrogate_function.spiking:
            return
        reference = StorageWeakRef(spikes.untyped_storage())
        self.spikes[reference.cdata] = reference

    def pack(self, tensor: Tensor):
        key = StorageWeakRef(tensor.untyped_storage()).cdata
        if key not in self.spikes:
            return tensor
        packed = self.packed.get(key)
        if packed is None:
            size = tensor.untyped_storage().nbytes() // tensor.element_size()
            packed = self.packed[key] = PackedSpikes(tensor.detach().as_strided((size,), (1,), 0))
        return packed, tensor.shape, tensor.stride(), tensor.storage_offset()

    def unpack(self, saved) -> Tensor:
        if isinstance(saved, Tensor):
            return saved
        packed, *view = saved
        return packed.flat().as_strided(*view)


def pack_spikes(model: nn.Module) -> nn.Module:
    """Makes the training forwards of `model` save its neurons' spikes as bits (SNN.PACK_SPIKES)."""
    packing = SpikePacking()
    for module in model.modules():
        if isinstance(module, SpikingNeuron) and module.charge is not None:  # others may fire integers
            module.register_forward_hook(packing.mark)
    model.register_forward_pre_hook(packing.start)
    model.register_forward_hook(packing.stop, always_call=True)
    return model
