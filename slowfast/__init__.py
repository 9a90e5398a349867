"""SpikeFast: training and multi-view testing of spiking video models, by one config tree.

Importing it registers every data set, neuron and model, always, in one order.
"""

from slowfast.environment import require_environment

require_environment()

from slowfast import config, datasets, models, solver  # noqa: E402
from slowfast.version import __version__  # noqa: E402

__all__ = ["__version__", "config", "datasets", "models", "solver"]
