import math

import pytest
import torch

from slowfast.utils.files import CheckpointError
from slowfast.utils.finite import named_values, refuse_unusable


def check(value, dtype=torch.float32):
    refuse_unusable([("a.weight", torch.zeros(3)), ("b.weight", value)], {"b.weight": dtype}.get, "file.pyth")


@pytest.mark.parametrize("place", [0, 4096, 70_000, 99_999])
@pytest.mark.parametrize(("number", "said"), [(math.nan, "NaN"), (math.inf, "infinite"), (-math.inf, "infinite")])
def test_one_number_that_is_not_finite_is_found_anywhere(place, number, said):
    value = torch.randn(100_000)
    value[place] = number
    for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
        with pytest.raises(CheckpointError, match=rf"file\.pyth .*1 of its 2 .*: b\.weight \({said}\)"):
            check(value.to(dtype))
    with pytest.raises(CheckpointError, match=said):
        check(value.view(100, 1000).t())


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.uint8, torch.complex64])
def test_another_kind_of_number_where_floats_belong_is_found(dtype):
    with pytest.raises(CheckpointError, match=rf"b\.weight \({str(dtype).removeprefix('torch.')}\)"):
        check(torch.ones(3).to(dtype))


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (torch.tensor(3), torch.int64),
        (torch.tensor(3.0), torch.int64),  # a counter that torch keeps as a float
        (torch.tensor([True]), torch.bool),
        (torch.tensor([True]), None),
        (torch.zeros(0), torch.float32),
        (torch.full((3,), 3e38), torch.float32),
        (torch.ones(3, dtype=torch.float64), torch.float32),
        (torch.ones(3).to(torch.float8_e4m3fn), torch.float32),
        (torch.ones(3, requires_grad=True), torch.float32),
        (1.5, None),
    ],
)
def test_numbers_that_fit_pass(value, dtype):
    check(value, dtype)


@pytest.mark.parametrize(
    ("value", "dtype", "said"),
    [
        (torch.tensor(math.nan), torch.int64, "NaN"),
        (torch.tensor(True), torch.int64, "bool"),
        (torch.tensor(1j), None, "complex64"),
        (torch.ones(3, 3).to_sparse(), torch.float32, "sparse_coo"),
        (torch.full((3,), 1e39, dtype=torch.float64), torch.float32, "infinite"),  # as float32
        (math.nan, None, "NaN"),
        (math.inf, None, "infinite"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(value, dtype, said):
    with pytest.raises(CheckpointError, match=rf"b\.weight \({said}\)"):
        check(value, dtype)


def test_the_first_are_named_and_all_are_counted():
    values = [(f"layer{i}", torch.tensor(math.nan)) for i in range(9)]
    with pytest.raises(CheckpointError, match=r"9 of its 9 .*layer0 \(NaN\), .*layer3 \(NaN\), and 5 more\."):
        refuse_unusable(values, {}.get, "file.pyth")


def test_values_are_named_by_their_place_in_the_state():
    moments = {"exp_avg": torch.ones(1), "step": 3}
    state = {"model_state": {"a.b": torch.zeros(2)}, "optimizer_state": {"state": {0: moments}}, "lr": 0.5, "epoch": 3}
    assert list(dict(named_values(state))) == ["model_state/a.b", "optimizer_state/state/0/exp_avg", "lr"]
