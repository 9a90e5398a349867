"""Models: importing this package registers every one of them."""

from slowfast.models import (
    losses,
    metaspikformer,
    resnet,
    respike,
    sew_resnet,
    spikformer,
    svformer,
    timesformer,
    uniformer,
)
from slowfast.models.build import MODEL_REGISTRY, build_model, model_class, refuse_unknown_model, refuse_unregistered

__all__ = [
    "MODEL_REGISTRY",
    "build_model",
    "losses",
    "metaspikformer",
    "model_class",
    "refuse_unknown_model",
    "refuse_unregistered",
    "resnet",
    "respike",
    "sew_resnet",
    "spikformer",
    "svformer",
    "timesformer",
    "uniformer",
]
