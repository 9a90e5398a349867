"""Lists in messages."""


def first_of(names: list[str], most: int) -> str:
    """`a, b, and 3 more`: of many names at most so many."""
    more = f", and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
