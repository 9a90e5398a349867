import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from processes import START_METHOD
from torch import nn

from slowfast.spiking import (
    BATCH_NORMS,
    LIF,
    BatchNorm,
    SharedBatchNorm,
    StepBatchNorm,
    TimeStepBatchNorm,
    TooFewValuesError,
    checkpointed,
    synchronize_norms,
)
from slowfast.utils.distributed import free_port

T, B, C = 3, 4, 5
NORMS = {**BATCH_NORMS, "stepped": lambda channels, time_steps: StepBatchNorm(channels)}


def randomized(norm):
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.normal_()
    return norm


@pytest.mark.parametrize("training", [True, False])
def test_per_step_norm_is_a_batch_norm_for_every_step(training):
    norm = randomized(TimeStepBatchNorm(C, T)).train(training)
    x = torch.randn(T, B, C, 6, 7)
    y = norm(x)
    for t in range(T):
        features = slice(t * C, (t + 1) * C)  # feature index t * C + c
        single = nn.BatchNorm2d(C).train(training)
        single.load_state_dict(
            {"weight": norm.weight[features], "bias": norm.bias[features]}
            | {
                "running_mean": torch.zeros(C),
                "running_var": torch.ones(C),
                "num_batches_tracked": torch.tensor(0),
            }
        )
        torch.testing.assert_close(y[t], single(x[t]))
        torch.testing.assert_close(norm.running_mean[features], single.running_mean)
        torch.testing.assert_close(norm.running_var[features], single.running_var)


def test_shared_norm_is_a_batch_norm_over_time_and_batch():
    norm, plain = randomized(SharedBatchNorm(C, T)), nn.BatchNorm2d(C)
    plain.load_state_dict(norm.state_dict())
    x = torch.randn(T, B, C, 6, 7)
    torch.testing.assert_close(norm(x), plain(x.flatten(0, 1)).unflatten(0, (T, B)))
    torch.testing.assert_close(norm.running_var, plain.running_var)


@pytest.mark.parametrize("name", BATCH_NORMS)
def test_names_of_parameters_and_buffers_are_those_of_torch(name):
    assert list(BATCH_NORMS[name](C, T).state_dict()) == list(nn.BatchNorm2d(C).state_dict())


def test_tokens_are_normalised_like_maps():
    norm = TimeStepBatchNorm(C, T)
    x = torch.randn(T, B, C, 6, 7)
    torch.testing.assert_close(norm(x).flatten(3), norm(x.flatten(3)))


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", NORMS)
def test_another_number_of_channels_is_refused_also_where_the_neuron_is_fused(name, training):
    """Half the channels over two steps would else pass for a row of features for each step, and the other way round."""
    norm, neuron = NORMS[name](4, 2).train(training), LIF(tau=2.0)
    for channels in (2, 8):
        x = torch.randn(2, B, channels, 3, 3)
        for compute in (norm, lambda x: neuron(x, norm)):
            with pytest.raises(ValueError, match=r"This norm holds \d features; its input is"):
                compute(x)


def test_another_number_of_steps_says_what_to_set():
    with pytest.raises(ValueError, match=r"3 time steps and the clip has 4.*DATA\.NUM_FRAMES"):
        TimeStepBatchNorm(C, T)(torch.randn(4, B, C, 2, 2))


def test_recomputing_a_block_updates_its_statistics_once():
    norm, plain = TimeStepBatchNorm(C, T), TimeStepBatchNorm(C, T)
    x = torch.randn(T, B, C, 6, 7, requires_grad=True)
    checkpointed(norm, x).square().sum().backward()
    plain(x).square().sum().backward()
    assert norm.num_batches_tracked == 1
    assert torch.equal(norm.running_var, plain.running_var)
    torch.testing.assert_close(norm.weight.grad, plain.weight.grad)


@pytest.mark.parametrize("behind", [None, LIF(tau=2.0)], ids=["alone", "before a neuron"])
@pytest.mark.parametrize("name", NORMS)
def test_too_few_values_for_statistics_are_told_in_torchs_words(name, behind):
    norm = NORMS[name](C, time_steps := 1 if name == "shared" else T)
    compute = norm if behind is None else lambda x: behind(x, norm)
    one, two = torch.randn(time_steps, 1, C, 1, 1), torch.randn(time_steps, 1, C, 1, 2)
    empty = [torch.randn(time_steps, 0, C, 4, 4), torch.randn(time_steps, B, C, 0, 4)]
    for x in (one, *empty):
        with pytest.raises(
            TooFewValuesError, match="Expected more than 1 value per channel when training, got input size"
        ):
            compute(x)
    assert compute(two).isfinite().all()
    assert norm.running_var.isfinite().all()
    norm.eval()
    for x in empty:
        assert compute(x).shape == x.shape


@pytest.mark.parametrize(
    "strides, grad_strides",
    [
        ((3, 1, 3, 3), (15, 5, 5, 1)),  # a channels-last sample whose batch stride says contiguous
        ((15, 5, 5, 1), (1, 1, 3, 3)),
        ((15, 1, 15, 3), (15, 5, 5, 1)),
    ],
    ids=str,
)
def test_the_gradient_of_one_sample_is_right_in_any_memory_order(strides, grad_strides):
    shape = (1, 3, 1, 5)
    x = torch.randn(15, dtype=torch.float64).as_strided(shape, strides).requires_grad_()
    grad = torch.randn(15, dtype=torch.float64).as_strided(shape, grad_strides)
    norm = randomized(BatchNorm(3)).double()
    actual = torch.autograd.grad(norm(x), [x, norm.weight, norm.bias], grad)
    xhat = (x - x.mean((0, 2, 3), True)) / (x.var((0, 2, 3), correction=0, keepdim=True) + norm.eps).sqrt()
    y = xhat * norm.weight.view(1, 3, 1, 1) + norm.bias.view(1, 3, 1, 1)
    for own, wanted in zip(actual, torch.autograd.grad(y, [x, norm.weight, norm.bias], grad), strict=True):
        torch.testing.assert_close(own, wanted)


def normalise_half(rank, port, x, weights, folder):
    """One of two processes: normalises its half of the batch with shared statistics, and takes gradients."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://localhost:{port}", world_size=2, rank=rank)
    norm = synchronize_norms(TimeStepBatchNorm(C, T))
    half = x[:, rank::2].clone().requires_grad_()
    y = norm(half)
    (y * weights[:, rank::2]).sum().backward()
    results = (y.detach(), half.grad, norm.weight.grad, norm.running_mean, norm.running_var)
    torch.save(results, folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_synchronized_statistics_of_two_processes_are_those_of_one(tmp_path):
    x, weights = torch.randn(T, B, C, 6, 7) * 3 + 1, torch.randn(T, B, C, 6, 7)
    mp.start_processes(normalise_half, (free_port(), x, weights, tmp_path), 2, start_method=START_METHOD)
    halves = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    norm = TimeStepBatchNorm(C, T)
    x.requires_grad_()
    y = norm(x)
    (y * weights).sum().backward()
    for rank, (half_y, half_grad, _, mean, var) in enumerate(halves):
        torch.testing.assert_close(half_y, y[:, rank::2].detach())
        torch.testing.assert_close(half_grad, x.grad[:, rank::2], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(mean, norm.running_mean)
        torch.testing.assert_close(var, norm.running_var)
    torch.testing.assert_close(halves[0][2] + halves[1][2], norm.weight.grad, rtol=1e-4, atol=1e-4)
