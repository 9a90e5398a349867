from types import SimpleNamespace

import pytest
import torch

from slowfast.utils import distributed

NEW, OLD = "all_gather_single", "all_gather_into_tensor"


@pytest.mark.parametrize("names", [(OLD, NEW), (OLD,), (NEW,)], ids=" ".join)
def test_tensors_are_gathered_by_the_name_of_which_torch_does_not_warn(names, monkeypatch):
    called = []

    def collective(name):
        def gather(output, value):
            called.append(name)
            output.copy_(torch.cat([value, value + 1]))

        return gather

    monkeypatch.setattr(distributed, "dist", SimpleNamespace(**{name: collective(name) for name in names}))
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
    assert distributed.all_gather(torch.tensor([[3.0], [5.0]])).tolist() == [[[3], [5]], [[4], [6]]]
    assert called == [names[-1]]
