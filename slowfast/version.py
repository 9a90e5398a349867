"""The one place that holds the version; pyproject.toml has it from here."""

__version__ = "0.3.0"
