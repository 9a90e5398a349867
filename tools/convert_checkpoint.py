#!/usr/bin/env python3
"""Converts a checkpoint to a model's own names or to upstream's; `--explain` tells what the file is."""

import _checkout  # noqa: F401  the slowfast beside it, in an environment that has what it needs

from slowfast.models.convert import main

if __name__ == "__main__":
    raise SystemExit(main())
