"""What may enter a model or an optimizer: finite numbers, and floats where floats belong."""

import math
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten_with_path

from slowfast.utils.files import CheckpointError
from slowfast.utils.wording import first_of

NAMED = 4  # of what is wrong in a message


def refuse_unusable(
    values: Iterable[tuple[str, Tensor | float]], dtype_of: Callable[[str], torch.dtype | None], source: str
) -> None:
    """Reads every value once, at the speed of memory.

    Args:
        dtype_of: of the tensor that a name is for; None if that is not known, and then only complex numbers are not
            expected.
        source: where the values are from, for the message.

    Raises:
        CheckpointError: some are NaN, infinite (in that type too) or numbers of another kind; with the first names.
    """
    found, count = [], 0
    for name, value in values:
        count += 1
        wrong = flaw(value, dtype_of(name))
        if wrong:
            found.append(f"{name} ({wrong})")
    if found:
        raise CheckpointError(
            f"{source} is not loaded: {len(found)} of its {count} tensors and numbers cannot be used: "
            f"{first_of(found, NAMED)}."
        )


def flaw(value: Tensor | float, dtype: torch.dtype | None) -> str:
    """What is wrong with a value where one of `dtype` belongs; empty if nothing is."""
    if not isinstance(value, Tensor):
        return flaw_of_bounds(value, value, math.inf)
    if value.layout is not torch.strided:
        return str(value.layout).removeprefix("torch.")
    wants_float = dtype is not None and dtype.is_floating_point
    wants_number = wants_float or dtype in (torch.int64, torch.int32)
    is_other = wants_float and not value.is_floating_point()
    if value.is_complex() or is_other or (wants_number and value.dtype == torch.bool):
        return str(value.dtype).removeprefix("torch.")
    if not value.is_floating_point() or not value.numel() or value.is_meta:
        return ""
    value = value.detach() if value.element_size() > 1 else value.detach().float()  # torch does not compare float8
    # One pass without a copy, 7 ms per 100 MB on a core where `isfinite` takes 250; one NaN makes both bounds NaN.
    low, high = value.aminmax()
    return flaw_of_bounds(low.item(), high.item(), torch.finfo(dtype if wants_float else value.dtype).max)


def flaw_of_bounds(low: float, high: float, most: float) -> str:
    if math.isnan(low):
        return "NaN"
    return "infinite" if math.isinf(low) or math.isinf(high) or max(-low, high) > most else ""


def named_values(state: dict) -> Iterator[tuple[str, Tensor | float]]:
    """The tensors and fractions of a nested state, by their places: model_state/head.weight."""
    for place, leaf in tree_flatten_with_path(state)[0]:
        if isinstance(leaf, Tensor | float):
            yield name_of(place), leaf


def name_of(place: tuple) -> str:
    """A place in a nested state as one name, by its keys: model_state/head.weight."""
    return "/".join(str(key.idx if hasattr(key, "idx") else key.key) for key in place)
