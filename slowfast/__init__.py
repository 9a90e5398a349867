"""SpikeFast: training and multi-view testing of spiking video models, by one config tree.

Importing it registers every data set, neuron and model, always, in one order.
"""

from slowfast import config, datasets, models, solver
from slowfast.version import __version__

__all__ = ["__version__", "config", "datasets", "models", "solver"]
