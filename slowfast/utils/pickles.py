"""What a pickle holds that torch.save has not written, told by its opcodes: nothing of it is loaded or run."""

import io
import pickletools
from itertools import islice
from pathlib import Path

ZIP = b"PK"  # what torch.save writes
BEGINNING = 2**16  # bytes
OPCODES = 500  # the first array of a file comes within the first 20 or so

CAFFE2 = (
    "is a Caffe2 checkpoint (a pickle of blobs), which is not read here. Take the model's PyTorch checkpoint, or load "
    "it with SlowFast (TRAIN.CHECKPOINT_TYPE caffe2) and write the model's state_dict() by torch.save"
)
NUMPY = (
    "is a pickle of NumPy arrays, which is not read here. Write them as a dict of tensors by torch.save, or as "
    ".safetensors"
)


def pickle_kind(path: Path) -> str:
    """What is to be said of a file that is a pickle of Caffe2's blobs or of NumPy arrays; of any other nothing."""
    texts = set()
    try:
        with open(path, "rb") as file:
            head = file.read(BEGINNING)
        if not head.startswith(ZIP) and path.suffix != ".safetensors":
            for _, value, _ in islice(pickletools.genops(io.BytesIO(head)), OPCODES):
                if isinstance(value, str) and value.startswith("numpy."):
                    return CAFFE2 if "blobs" in texts else NUMPY
                if isinstance(value, str):
                    texts.add(value)
    except (ValueError, OSError, MemoryError, OverflowError):  # no pickle, or one that is cut off
        pass
    return ""
