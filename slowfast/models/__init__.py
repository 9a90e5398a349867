"""Models: importing this package registers every one of them."""

from slowfast.models import svformer, timesformer, uniformer
from slowfast.models.build import MODEL_REGISTRY, build_model

__all__ = ["MODEL_REGISTRY", "build_model", "svformer", "timesformer", "uniformer"]
