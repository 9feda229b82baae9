"""Plans cover the data, ranks share it, and neither workers nor an interruption change a batch."""

from __future__ import annotations

import pytest
import torch

from genmods.data.images import Images
from genmods.data.loader import Complete, Loader, Shuffled
from genmods.data.splits import hold_out


def some(n: int) -> Images:
    return Images(torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1), torch.arange(n) % 3)


def indices(loader: Loader) -> list[list[int]]:
    return [batch["index"].tolist() for batch in loader]


@pytest.mark.parametrize("n, size, world", [(10, 3, 1), (64, 8, 2), (5, 8, 1), (5, 4, 3), (100, 7, 4)])
def test_training_ranks_share_each_epoch_without_overlap(n, size, world):
    plans = [Shuffled(n, size, seed=1, rank=rank, world=world) for rank in range(world)]
    seen = torch.cat([plan(2, batch) for plan in plans for batch in range(len(plan))])
    assert len(seen.unique()) == len(seen) == (n if n < size * world else n // (size * world) * size * world)
    together = torch.cat([torch.cat([plan(0, 0) for plan in plans])])
    assert torch.equal(together, Shuffled(n, size * world, seed=1)(0, 0))


@pytest.mark.parametrize("n, size, world", [(10, 3, 1), (64, 8, 2), (5, 8, 1), (5, 4, 3), (101, 7, 4), (10, 10, 1)])
def test_evaluation_covers_everything_once_in_equally_many_batches(n, size, world):
    plans = [Complete(n, size, rank, world) for rank in range(world)]
    parts = [plan(0, batch) for plan in plans for batch in range(len(plan))]
    assert torch.cat(parts).sort().values.tolist() == list(range(n))
    assert all(0 < len(part) <= size for part in parts)


def test_epochs_and_seeds_have_their_own_orders():
    orders = [Shuffled(50, 50, seed)(epoch, 0).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_number_of_workers_changes_nothing(workers):
    images, plan = some(40), Shuffled(40, 6, seed=5)
    one, many = Loader(images, plan), Loader(images, plan, num_workers=workers)
    state = torch.get_rng_state()
    for _ in range(2):
        for a, b in zip(one, many, strict=True):
            assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    assert torch.equal(torch.get_rng_state(), state)  # the numbers that a training step draws are the same, too


def test_a_plain_loop_resumes_after_the_batches_it_completed():
    plan = Shuffled(20, 4, seed=0)
    whole = indices(loader := Loader(some(20), plan)) + indices(loader)
    for stop in range(10):
        first = Loader(some(20), plan)
        seen = []
        for batch in (batch for _ in range(2) for batch in first):
            if len(seen) == stop:
                break  # fetched, not completed
            seen.append(batch["index"].tolist())
        second = Loader(some(20), plan)
        second.load_state_dict(first.state_dict())
        rest = indices(second) + (indices(second) if stop < 5 else [])
        assert seen + rest == whole
    assert indices(loader) not in (whole[:5], whole[5:])


def test_held_out_samples_are_stratified_seeded_and_exact_in_number():
    labels = torch.tensor([0] * 70 + [1] * 25 + [2] * 4 + [3])
    kept, held = hold_out(labels, 100, 0.2, seed=0)
    assert torch.equal(torch.cat([kept, held]).sort().values, torch.arange(100))
    assert labels[held].bincount(minlength=4).tolist() == [14, 5, 1, 0]
    assert torch.equal(held, hold_out(labels, 100, 0.2, seed=0)[1])
    assert not torch.equal(held, hold_out(labels, 100, 0.2, seed=1)[1])
    assert len(hold_out(None, 10, 0.3, seed=0)[1]) == 3 and len(hold_out(None, 10, 0.0, seed=0)[1]) == 0
