"""Layouts: how one kind of checkpoint names its weights, and what they become in a model here.

A model class lists those it can read as `layouts`; the first is upstream's own, which `export_weights` writes.
A model without any reads and writes the names it has.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import Tensor

Tensors = Mapping[str, Tensor]


def unchanged(tensors: dict[str, Tensor], own: Tensors) -> dict[str, Tensor]:
    return tensors


@dataclass(frozen=True)
class Layout:
    """One kind of checkpoint, told by its names once wrappers' prefixes (`module.`) are gone.

    name: what its users call it.
    has, lacks: shell patterns; each of `has` matches a name of such a file, none of `lacks` does.
    names: (start of its name, start of the model's), `{}` for a number; the first pair that fits counts, both ways,
        and names that none fits are the same.
    drops: shell patterns of its tensors that no model here wants, such as an image classifier's head.
    fresh: shell patterns of the model's tensors it never has, which keep their initial values.
    switches: (the model's name of a tensor, a key): the key is True in models that have the tensor, else False.
    sizes: (the model's name of a tensor, a dimension of it, a key, a factor): the key is that size times the factor.
    container: the key under which such a file keeps the weights; empty: they are the file.
    convert: (its tensors by the model's names, the model's own) -> tensors resized, or derived from others.
    """

    name: str
    has: tuple[str, ...]
    lacks: tuple[str, ...] = ()
    names: tuple[tuple[str, str], ...] = ()
    drops: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()
    switches: tuple[tuple[str, str], ...] = ()
    sizes: tuple[tuple[str, int, str, int], ...] = ()
    container: str = "model_state"
    convert: Callable[[dict[str, Tensor], Tensors], dict[str, Tensor]] = unchanged

    def recognises(self, names: Iterable[str]) -> bool:
        """Whether a file with these names is of this kind."""
        names = list(names)
        has = all(any(fnmatchcase(name, pattern) for name in names) for pattern in self.has)
        return has and not any(is_one_of(name, self.lacks) for name in names)

    def own_name(self, name: str) -> str:
        """The model's name for one of the file's."""
        return renamed(name, self.names)

    def their_name(self, name: str) -> str:
        """The file's name for one of the model's."""
        return renamed(name, [(own, theirs) for theirs, own in self.names])

    def settings(self, tensors: Tensors) -> dict[str, bool | int]:
        """The keys of the switches and sizes, as they are in a model that has these tensors, by its names."""
        sizes = {
            key: tensors[name].shape[i] * factor
            for name, i, key, factor in self.sizes
            if name in tensors and i < tensors[name].dim()
        }
        return {key: tensor in tensors for tensor, key in self.switches} | sizes


def is_one_of(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def renamed(name: str, pairs: Iterable[tuple[str, str]]) -> str:
    """`name` with its start replaced by the first pair that fits it."""
    for old, new in pairs:
        match = re.match(re.escape(old).replace(r"\{\}", r"(\d+)"), name)
        if match:
            return new.format(*match.groups()) + name[match.end() :]
    return name


# Classifiers of torchvision.
TORCHVISION_RESNET = Layout(
    "torchvision ResNet",
    container="",
    has=("conv1.weight", "bn1.running_mean", "layer1.0.conv1.weight", "layer4.*.conv2.weight", "fc.weight"),
)

# SlowFast's single-pathway ResNets, to torchvision's names.
SLOWFAST_RESNET = Layout(
    "SlowFast ResNet (C2D, I3D, Slow)",
    has=("s1.pathway0_stem.conv.weight", "s2.pathway0_res0.branch2.a.weight"),
    lacks=("*pathway1_*",),
    names=(
        ("s1.pathway0_stem.conv.", "conv1."),
        ("s1.pathway0_stem.bn.", "bn1."),
        *(
            (f"s{stage + 1}.pathway0_res{{}}.{theirs}.", f"layer{stage}.{{}}.{own}.")
            for stage in (1, 2, 3, 4)
            for theirs, own in (
                *(("branch1", "downsample.0"), ("branch1_bn", "downsample.1")),
                *(("branch2.a", "conv1"), ("branch2.b", "conv2"), ("branch2.c", "conv3")),
                *(("branch2.a_bn", "bn1"), ("branch2.b_bn", "bn2"), ("branch2.c_bn", "bn3")),
            )
        ),
        ("head.projection.", "fc."),
    ),
)

# Kinds that no model may read, listed so that the message can say what a file is.
FOREIGN = (
    Layout("SlowFast with two pathways", has=("s1.pathway0_stem.*", "s1.pathway1_stem.*")),
    Layout("SlowFast X3D", has=("s1.pathway0_stem.conv_xy.weight",)),
    Layout("SlowFast MViT", has=("patch_embed.proj.weight", "blocks.0.attn.pool_*")),
    SLOWFAST_RESNET,
    TORCHVISION_RESNET,
)
