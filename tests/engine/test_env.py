"""The process a run lives in."""

import torch

from slowfast.engine.env import make_deterministic


def test_a_deterministic_run_does_not_fill_the_memory_it_is_about_to_write():
    """torch's default writes NaN into every new tensor, of which a training step makes thousands."""
    before = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory
    try:
        make_deterministic()
        assert torch.are_deterministic_algorithms_enabled()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            torch.empty(1000)
        assert not [event.name for event in profile.events() if "fill" in event.name]
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.utils.deterministic.fill_uninitialized_memory = before[1]
