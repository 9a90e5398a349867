"""Spikes during training: which layers have fallen silent or saturate is said after each epoch."""

from torch import nn

from slowfast.spiking.ailing import ADVICE, ailing_layers, described
from slowfast.spiking.monitor import FiringRates, count_spikes, merge_totals
from slowfast.utils.distributed import gather_objects
from slowfast.utils.logging import logger


class FiringWatch:
    """Counts the spikes of the steps it is told to look at; they cost a sum over the spikes of every layer."""

    def __init__(self, model: nn.Module):
        self.model, self.rates = model, FiringRates()
        self.rates.counts = False
        count_spikes(model, self.rates)
        self.said: dict[str, list[str]] = {}

    def look(self, now: bool) -> None:
        """Whether the forward passes from here on are counted."""
        self.rates.counts = now

    def forget(self) -> None:
        """Drops what was counted since the epoch began: a step in it was skipped, and may have been full of NaN."""
        self.rates.clear()

    def end_epoch(self, epoch: int) -> None:
        """Warns of the layers that hardly take part, of all ranks together, unless it is what was said last."""
        totals = merge_totals(gather_objects(self.rates.totals()))
        self.rates.clear()
        if not totals:
            return
        found = ailing_layers(self.model, totals)
        names = {what: [layer.split(" ")[0] for layer in layers] for what, layers in found.items()}
        if names and names != self.said:
            parts = "; ".join(f"{what} {described(layers, len(totals))}" for what, layers in found.items())
            logger.warning("Spiking layers in the logged steps of epoch %d: %s. %s", epoch + 1, parts, ADVICE)
        elif self.said and not names:
            logger.info("Spiking layers in the logged steps of epoch %d: all take part again.", epoch + 1)
        self.said = names
