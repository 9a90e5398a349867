import torch
from torch import nn

from slowfast.spiking import DropPath, per_step
from slowfast.spiking.monitor import mean_rate, merge_totals, rates_of, record_firing_rates


def test_drop_path_drops_samples_not_time_steps():
    drop = DropPath(0.5).train()
    y = drop(torch.ones(4, 64, 3))
    per_sample = y.transpose(0, 1).flatten(1)
    dropped = (per_sample == 0).all(1)
    assert ((per_sample == 2).all(1) | dropped).all()  # kept samples are scaled by 1 / keep
    assert 0 < dropped.sum() < 64
    assert torch.equal(drop.eval()(torch.ones(4, 8, 3)), torch.ones(4, 8, 3))


def test_per_step_applies_a_layer_to_every_frame():
    conv = nn.Conv2d(2, 3, 3)
    x = torch.randn(4, 5, 2, 8, 8)
    y = per_step(conv, x)
    torch.testing.assert_close(y[2], conv(x[2]))


def test_firing_rates_count_every_spike_once(tiny_cfg):
    from slowfast.spiking import build_neuron

    make = build_neuron(tiny_cfg("SNN.NEURON", "IF", "SNN.TAU", 2.0, "SNN.V_THRESHOLD", 1.0, "SNN.SURROGATE", "atan"))
    model = nn.Sequential(make(), make())
    x = torch.zeros(2, 1, 4)
    x[:, :, 0] = 1.0  # one of four neurons fires at each of two steps
    with record_firing_rates(model) as rates:
        model(x)
        model(torch.zeros(2, 1, 4))
    model(x)  # outside: not counted
    totals = rates.totals()
    assert totals == {"0": (2.0, 16), "1": (2.0, 16)}
    assert rates_of(totals) == {"0": 0.125, "1": 0.125}
    assert mean_rate(merge_totals([totals, totals])) == 0.125
    assert mean_rate({}) is None
