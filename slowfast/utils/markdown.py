"""Markdown that commands print."""

from collections.abc import Iterable


def row_line(cells: Iterable[str]) -> str:
    """One row of a table."""
    return f"| {' | '.join(cells)} |"
