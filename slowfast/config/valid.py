"""What a config key may be: each `Valid` tells whether a value is, and says in words what values are."""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

from slowfast.utils.texts import shortened
from slowfast.utils.wording import nearest

LARGEST = 2**31 - 1  # of whole numbers that are no seeds


class Valid(NamedTuple):
    """`fits(value)`: whether a key may have this value. `words()`: what it may have, as in "it must be WORDS".

    `names()`: of choices, what could have been mistyped.
    """

    fits: Callable[[object], bool]
    words: Callable[[], str]
    names: Callable[[], Iterable[object]] = tuple


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def number(
    least: float | None = None, most: float | None = None, *, above: float | None = None, below: float | None = None
) -> Valid:
    """Finite numbers from `least` or above `above`, to `most` or below `below`; None: no such bound."""

    def fits(value: object) -> bool:
        return (
            is_number(value)
            and (least is None or value >= least)
            and (above is None or value > above)
            and (most is None or value <= most)
            and (below is None or value < below)
        )

    return Valid(fits, lambda: " ".join(filter(None, ("a number", between(least, most, above, below)))))


def whole(least: int, most: int = LARGEST) -> Valid:
    """Whole numbers from `least` to `most`."""
    return Valid(
        lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most,
        lambda: f"a whole number {between(least, most)}",
    )


def between(least: float | None, most: float | None, above: float | None = None, below: float | None = None) -> str:
    if least is not None and most is not None:
        return f"from {least} to {most}"
    low = f"above {above}" if above is not None else f"of at least {least}" if least is not None else ""
    high = f"below {below}" if below is not None else f"at most {most}" if most is not None else ""
    return ", ".join(filter(None, (low, high)))


def choice(*names: object) -> Valid:
    """One of some values."""
    return Valid(lambda value: type(value) in map(type, names) and value in names, lambda: one_of(names), lambda: names)


def registered(names: Iterable[str], *, any_case: bool = False) -> Valid:
    """A name of a registry or dict, whatever has been added to it by the time of asking."""

    def fits(value: object) -> bool:
        return isinstance(value, str) and (value.lower() if any_case else value) in names_in(names)

    return Valid(fits, lambda: one_of(sorted(names_in(names))), lambda: names_in(names))


def names_in(registry: Iterable) -> list[str]:
    """The names in a dict, or in one of fvcore's registries, which are iterated by pairs."""
    return [entry if isinstance(entry, str) else entry[0] for entry in registry]


def one_of(names: Iterable[object]) -> str:
    return f"one of: {', '.join(map(str, names))}"


def listed(part: Valid, *lengths: int, ascending: bool = False) -> Valid:
    """Lists of so many parts (no `lengths`: of any number), each of them valid by itself."""

    def fits(value: object) -> bool:
        return (
            isinstance(value, list | tuple)
            and (not lengths or len(value) in lengths)
            and all(map(part.fits, value))
            and (not ascending or sorted(value) == list(value))
        )

    def words() -> str:
        count = " or ".join(map(str, lengths)) + " values" if lengths else "values"
        return f"a list of {count}, each {part.words()}" + ", in ascending order" * ascending

    return Valid(fits, words)


def either(*options: Valid) -> Valid:
    return Valid(
        lambda value: any(option.fits(value) for option in options),
        lambda: ", or ".join(option.words() for option in options),
    )


TEXT = Valid(lambda value: isinstance(value, str) and "\0" not in value, lambda: "text")
FLAG = Valid(lambda value: isinstance(value, bool), lambda: "True or False")
SHARE = number(0, 1)
RATE = number(0, below=1)  # of dropout: 1 would drop everything
RATIO = number(above=0, most=64)  # of hidden to outer channels


def problem(value: object, valid: Valid, *, none: bool = False) -> str:
    """What is wrong with a value, as in "KEY is ..."; empty: nothing is. `none`: None is a value too."""
    if (none and value is None) or valid.fits(value):
        return ""
    near = nearest(value, map(str, valid.names())) if isinstance(value, str) else None
    hint = f" Did you mean {near}?" if near else ""
    return f"is {shown(value)} and must be {valid.words()}{', or None' * none}.{hint}"


def shown(value: object) -> str:
    """A value in a message: as Python writes it, short."""
    try:
        return shortened(repr(value))
    except RecursionError:
        return f"a {type(value).__name__} of very many within each other"
