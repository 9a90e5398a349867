import pytest
import torch
from spikingjelly.activation_based import surrogate
from torch import nn

from slowfast.engine.firing import FiringWatch
from slowfast.spiking import IF, LIF, PLIF
from slowfast.spiking.ailing import ailing_layers, described
from slowfast.spiking.monitor import record_firing_rates
from slowfast.spiking.neuron import ILIF


def found_in(model, x):
    with record_firing_rates(model) as rates:
        model(x)
    return ailing_layers(model, rates.totals())


def test_a_layer_without_a_spike_is_silent_and_one_that_hardly_rests_saturated():
    model = nn.Sequential(IF(v_threshold=0.5), IF(v_threshold=0.5), IF(v_threshold=2.0))
    assert found_in(model, torch.ones(4, 3, 5)) == {
        "saturated": ["0 (1.000)", "1 (1.000)"],
    }
    assert found_in(model, torch.zeros(4, 3, 5)) == {"silent": ["0", "1", "2"]}


def test_one_spike_is_not_silence():
    x = torch.zeros(4, 100, 100)
    x[0, 0, 0] = 1.0
    assert found_in(IF(v_threshold=0.5), x) == {}


def test_an_ilif_is_measured_by_the_most_it_can_fire():
    node = ILIF(2.0, 1.0, surrogate.MultiLevelSpikeCount(4))
    assert found_in(nn.Sequential(node), torch.full((3, 2, 5), 2.0)) == {}  # two spikes a step
    assert found_in(nn.Sequential(node), torch.full((3, 2, 5), 40.0)) == {"saturated": ["0 (4.000)"]}


def test_a_time_constant_that_runs_away_is_told():
    model = nn.Sequential(PLIF(init_tau=2.0, v_threshold=0.5), PLIF(init_tau=250.0, v_threshold=0.5), LIF(tau=2.0))
    found = found_in(model, torch.rand(4, 3, 5) * 2)
    assert found["tau over 100"] == ["1 (250)"]


@pytest.mark.parametrize("w, shown", [(-200.0, "inf"), (float("nan"), "nan")])
def test_a_time_constant_without_end_is_told_too(w, shown):
    model = nn.Sequential(PLIF(init_tau=2.0, v_threshold=0.5))
    model[0].w.data.fill_(w)
    assert found_in(model, torch.rand(4, 3, 5))["tau over 100"] == [f"0 ({shown})"]


def test_layers_that_saw_no_clip_are_not_judged():
    assert found_in(nn.Sequential(IF(v_threshold=0.5)), torch.rand(4, 0, 5)) == {}


def watched_epoch(watch, *clips, skipped=()):
    """An epoch of the watched model, every step of it looked at; the steps of `skipped` do not count."""
    for number, clip in enumerate(clips):
        watch.look(True)
        watch.model(clip)
        if number in skipped:
            watch.forget()
    watch.look(False)
    watch.end_epoch(0)


def test_a_step_that_was_skipped_hides_no_silent_layer():
    watch = FiringWatch(nn.Sequential(IF(v_threshold=50.0), IF(v_threshold=0.5)))
    x, broken = torch.rand(4, 2, 3), torch.full((4, 2, 3), float("nan"))
    watched_epoch(watch, x)
    assert watch.said == {"silent": ["0", "1"]}
    watched_epoch(watch, broken, x, skipped=[0])
    assert watch.said == {"silent": ["0", "1"]}
    watched_epoch(watch, x, broken, skipped=[1])  # nothing is left to look at
    assert watch.said == {"silent": ["0", "1"]}
    watched_epoch(watch, torch.full((4, 2, 3), 20.0))
    assert watch.said == {}


def test_few_layers_are_named_of_many():
    assert described(list("abc"), 9) == "3 of 9: a, b, c"
    assert described(list("abcdefgh"), 9) == "8 of 9: a, b, c, d, e, and 3 more"
