#!/usr/bin/env python3
"""Trains, validates and tests what a config asks for; `--help` tells the command line."""

from slowfast.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
