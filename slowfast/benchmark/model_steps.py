"""What is measured of models; runs on any tree's `slowfast`, so it uses only `get_cfg` and `build_model` of it."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from slowfast.config import get_cfg
from slowfast.models import build_model

# Name of a row -> config; clips are [B, 3, DATA.NUM_FRAMES, DATA.TRAIN_CROP_SIZE, ...].
RESPIKE = ["MODEL.MODEL_NAME", "ReSpike", "DATA.NUM_FRAMES", 16, "MODEL.NUM_CLASSES", 101]
IMAGE = ["MODEL.NUM_CLASSES", 1000, "DATA.NUM_FRAMES", 1]
MODELS = {
    "svformer": ["MODEL.MODEL_NAME", "SVFormer", "DATA.NUM_FRAMES", 16, "MODEL.NUM_CLASSES", 101],
    "respike": RESPIKE,
    "respike_down": [*RESPIKE, "RESPIKE.DOWNSAMPLE", True],
    "metaspikformer": ["MODEL.MODEL_NAME", "MetaSpikeFormer_31M", *IMAGE],
    "metaspikformer_t4": ["MODEL.MODEL_NAME", "MetaSpikeFormer_31M", *IMAGE, "METASPIKFORMER.TIME_STEPS", 4],
    "uniformer_s": ["MODEL.MODEL_NAME", "Uniformer_S", "DATA.NUM_FRAMES", 16, "MODEL.NUM_CLASSES", 400],
    "timesformer": ["MODEL.MODEL_NAME", "vit_base_patch16_224", "DATA.NUM_FRAMES", 8, "MODEL.NUM_CLASSES", 400],
}


def model_and_inputs(options: list, batch: int, device: str) -> tuple[nn.Module, Tensor, Tensor]:
    """A model, random clips and labels, the same at every call."""
    cfg = get_cfg()
    cfg.merge_from_list(options)
    torch.manual_seed(0)
    size = cfg.DATA.TRAIN_CROP_SIZE
    clips = torch.randn(batch, 3, cfg.DATA.NUM_FRAMES, size, size, device=device)
    labels = torch.randint(cfg.MODEL.NUM_CLASSES, (batch,), device=device)
    return build_model(cfg).to(device), clips, labels


def steps(options: list, batch: int, device: str, dtype: torch.dtype) -> Callable[[str], None]:
    """A function of "train" or "eval" that does one step of a model as it is."""
    model, clips, labels = model_and_inputs(options, batch, device)
    made = {mode: stepper(model, dtype, clips, labels, mode == "train") for mode in ("train", "eval")}

    def step(mode: str) -> None:
        model.train(mode == "train")
        made[mode]()

    return step


def stepper(model: nn.Module, dtype: torch.dtype, clips: Tensor, labels: Tensor, trains: bool):
    """One training step, or one evaluated batch, as a function without arguments."""
    model.train(trains)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    autocast = torch.autocast(clips.device.type, dtype=dtype, enabled=dtype != torch.float32)

    def evaluate() -> None:
        with torch.no_grad(), autocast:
            model([clips])

    def train() -> None:
        optimizer.zero_grad()
        with autocast:
            loss = nn.functional.cross_entropy(model([clips]), labels)
        loss.backward()
        optimizer.step()

    return train if trains else evaluate
