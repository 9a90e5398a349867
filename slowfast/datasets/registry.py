"""DATASET_REGISTRY: the names TRAIN.DATASET and TEST.DATASET may have."""

from slowfast.utils.registry import Registry

DATASET_REGISTRY = Registry("TRAIN.DATASET / TEST.DATASET")
