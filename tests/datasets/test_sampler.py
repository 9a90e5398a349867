import pytest

from slowfast.datasets.sampler import EpochBatchSampler


def samplers(num_items, batch_size, world_size, **options):
    return [
        EpochBatchSampler(num_items, batch_size, rank=rank, world_size=world_size, **options)
        for rank in range(world_size)
    ]


def batches_of(sampler, epoch=0):
    sampler.set_epoch(epoch)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    assert all(item[0] == epoch for batch in batches for item in batch)
    return [[index for _, index in batch] for batch in batches]


CASES = [(10, 4, 1), (9537, 16, 4), (101, 8, 3), (7, 2, 2), (64, 8, 8), (5, 100, 2)]


@pytest.mark.parametrize(("num_items", "batch_size", "world_size"), CASES)
@pytest.mark.parametrize("shuffle", [True, False])
def test_each_item_comes_exactly_once_over_all_ranks(num_items, batch_size, world_size, shuffle):
    ranks = [batches_of(sampler) for sampler in samplers(num_items, batch_size, world_size, shuffle=shuffle)]
    assert sorted(index for batches in ranks for batch in batches for index in batch) == list(range(num_items))
    assert all(1 <= len(batch) <= batch_size for batches in ranks for batch in batches)


@pytest.mark.parametrize(("num_items", "batch_size", "world_size"), CASES)
def test_training_batches_differ_by_at_most_one_and_ranks_take_the_same_steps(num_items, batch_size, world_size):
    ranks = samplers(num_items, batch_size, world_size, shuffle=True)
    steps = list(zip(*(batches_of(sampler) for sampler in ranks), strict=True))
    sizes = [sum(map(len, step)) for step in steps]
    assert len(steps) == -(-num_items // (batch_size * world_size))
    assert max(sizes) - min(sizes) <= 1
    assert all(max(map(len, step)) - min(map(len, step)) <= 1 for step in steps)
    assert sizes == [ranks[0].global_size(step) for step in range(len(steps))]


def test_global_batches_are_the_same_at_any_world_size():
    def global_batches(world_size):
        ranks = [batches_of(s, 3) for s in samplers(101, 24 // world_size, world_size, shuffle=True, seed=5)]
        return [[index for share in step for index in share] for step in zip(*ranks, strict=True)]

    assert global_batches(1) == global_batches(2) == global_batches(4)


def test_the_order_depends_on_seed_and_epoch_only():
    def order(seed, epoch):
        return batches_of(EpochBatchSampler(50, 8, shuffle=True, seed=seed), epoch)

    assert order(0, 1) == order(0, 1)
    assert len({str(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


@pytest.mark.parametrize(("num_items", "batch_size", "world_size"), [(3, 4, 4), (9, 1, 4)])
def test_training_that_would_leave_a_process_without_a_video_is_refused(num_items, batch_size, world_size):
    with pytest.raises(ValueError, match=f"{num_items} training videos .* {world_size} processes"):
        EpochBatchSampler(num_items, batch_size, world_size=world_size, shuffle=True)


@pytest.mark.parametrize(("num_items", "batch_size", "world_size"), [(1, 2, 2), (9, 1, 4), (3, 2, 4)])
def test_evaluation_with_few_items_has_no_empty_batch_and_rank_0_has_work(num_items, batch_size, world_size):
    ranks = [batches_of(sampler) for sampler in samplers(num_items, batch_size, world_size, shuffle=False)]
    assert all(batch for batches in ranks for batch in batches)
    assert ranks[0]
    assert sorted(index for batches in ranks for batch in batches for index in batch) == list(range(num_items))


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
def test_evaluation_has_the_same_batches_at_any_world_size(world_size):
    ranks = [batches_of(sampler) for sampler in samplers(10, 3, world_size, shuffle=False)]
    assert [batch for batches in ranks for batch in batches] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    assert max(map(len, ranks)) - min(map(len, ranks)) <= 1


@pytest.mark.parametrize(("num_items", "batch_size", "world_size"), [c for c in CASES if c[0] < 200])
def test_an_epoch_resumed_after_any_step_has_the_batches_that_were_left(num_items, batch_size, world_size):
    for sampler in samplers(num_items, batch_size, world_size, shuffle=True, seed=3):
        whole, consumed = batches_of(sampler, epoch=2), 0
        sizes = [sampler.global_size(step) for step in range(len(whole))]
        for step, size in enumerate(sizes):
            sampler.set_epoch(2, consumed)
            assert [[index for _, index in batch] for batch in sampler] == whole[step:]
            assert [sampler.global_size(later) for later in range(len(sampler))] == sizes[step:]
            consumed += size
        sampler.set_epoch(2, consumed)
        assert list(sampler) == []
        assert len(sampler) == 0


def test_the_rest_of_an_epoch_is_covered_once_by_another_number_of_processes():
    sampler = EpochBatchSampler(50, 8, shuffle=True, seed=1)
    first = [index for batch in batches_of(sampler)[:3] for index in batch]
    rest = []
    for other in samplers(50, 5, 3, shuffle=True, seed=1):
        other.set_epoch(0, len(first))
        rest += [index for batch in other for _, index in batch]
    assert sorted(first + rest) == list(range(50))
