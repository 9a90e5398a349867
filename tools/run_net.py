#!/usr/bin/env python3
"""Trains, validates and tests what a config asks for; `--help` tells the command line."""

import _checkout  # noqa: F401  the slowfast beside it, in an environment that has what it needs

from slowfast.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
