"""Lists and names in messages."""

import difflib
from collections.abc import Iterable


def first_of(names: list[str], most: int) -> str:
    """`a, b, and 3 more`: of many names at most so many."""
    more = f", and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The one of `names` that a mistyped one is most like, upper case or not; None: none is like it."""
    by_lower = {known.lower(): known for known in names}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[near[0]] if near else None
