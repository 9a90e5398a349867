"""Imported first by each command of this folder: they run the slowfast beside it, whatever else has that name."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import slowfast  # noqa: F401  says what is missing, or starts the command again where it is not
