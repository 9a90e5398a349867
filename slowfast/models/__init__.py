"""Models: importing this package registers every one of them."""

from slowfast.models import metaspikformer, resnet, respike, sew_resnet, spikformer, svformer, timesformer, uniformer
from slowfast.models.build import MODEL_REGISTRY, build_model

__all__ = [
    "MODEL_REGISTRY",
    "build_model",
    "metaspikformer",
    "resnet",
    "respike",
    "sew_resnet",
    "spikformer",
    "svformer",
    "timesformer",
    "uniformer",
]
