"""Models: importing this package registers every one of them."""

from slowfast.models import metaspikformer, resnet, respike, sew_resnet, spikformer, svformer, timesformer, uniformer
from slowfast.models.build import MODEL_REGISTRY, build_model, model_class, refuse_unknown_model

__all__ = [
    "MODEL_REGISTRY",
    "build_model",
    "metaspikformer",
    "model_class",
    "refuse_unknown_model",
    "resnet",
    "respike",
    "sew_resnet",
    "spikformer",
    "svformer",
    "timesformer",
    "uniformer",
]
