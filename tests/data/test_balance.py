"""Balanced drawing: every class alike, every image of a class alike, and nothing but (seed, epoch, batch) decides."""

from __future__ import annotations

import pytest
import torch

from genmods.core.errors import UserError
from genmods.data.balance import Balanced
from genmods.data.images import Images
from genmods.data.loader import Choices, Loader
from genmods.data.module import ImageData
from genmods.data.sources.synthetic import Synthetic

LABELS = torch.tensor([0] * 61 + [2] * 7 + [3] * 3)[torch.randperm(71, generator=torch.Generator().manual_seed(0))]


def drawn(plan: Balanced, epochs: range) -> torch.Tensor:
    return torch.cat([plan(epoch, batch) for epoch in epochs for batch in range(len(plan))])


def test_classes_and_the_images_of_each_are_drawn_equally_often():
    plan = Balanced(LABELS, batch_size=8, seed=3)
    assert len(plan) == 8
    for epochs in (range(1), range(5, 6), range(10)):
        index = drawn(plan, epochs)
        counts = LABELS[index].bincount(minlength=4)
        assert counts[1] == 0 and counts[[0, 2, 3]].max() - counts[[0, 2, 3]].min() <= 1
    counts = drawn(plan, range(10)).bincount(minlength=71)
    for label in (0, 2, 3):
        times = counts[label == LABELS]
        assert times.max() - times.min() <= 1


def test_orders_differ_by_seed_epoch_and_pass():
    plan = Balanced(LABELS, 8, seed=3)
    assert torch.equal(drawn(plan, range(2)), drawn(Balanced(LABELS, 8, seed=3), range(2)))
    assert not torch.equal(drawn(plan, range(1)), drawn(Balanced(LABELS, 8, seed=4), range(1)))
    rare = [i for i in drawn(plan, range(3)).tolist() if LABELS[i] == 3]
    passes = [tuple(rare[k : k + 3]) for k in range(0, 60, 3)]
    assert all(len(set(order)) == 3 for order in passes) and len(set(passes)) > 3


def test_passes_count_how_often_an_image_was_drawn_before():
    plan, seen = Balanced(LABELS, 8, seed=3), torch.zeros(71, dtype=torch.int64)
    for epoch in range(3):
        for batch in range(len(plan)):
            for i, before in zip(plan(epoch, batch).tolist(), plan.passes(epoch, batch).tolist(), strict=True):
                assert seen[i] == before
                seen[i] += 1


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_each_batch(world):
    together = Balanced(LABELS, 4 * world, seed=1)
    parts = [Balanced(LABELS, 4, 1, rank, world) for rank in range(world)]
    for epoch, batch in ((0, 0), (2, 3)):
        assert torch.equal(torch.cat([part(epoch, batch) for part in parts]), together(epoch, batch))


def test_a_loader_resumes_anywhere_and_repeated_images_get_new_augmentation():
    images, plan = Images(torch.zeros(71, 1, 1, 1, dtype=torch.uint8), LABELS), Balanced(LABELS, 8, seed=3)

    def loader():
        return Loader(images, plan, choices=Choices(71, 2, 5, lambda u: u))

    whole = [batch for epochs in (loader(),) for _ in range(2) for batch in epochs]
    second = loader()
    second.load_state_dict({"batches": 5})
    for ours, theirs in zip(second, whole[5:8], strict=True):
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    numbers = {}
    for batch in whole:
        for i, u in zip(batch["index"].tolist(), batch["choices"].tolist(), strict=True):
            numbers.setdefault(i, []).append(tuple(u))
    often = max(numbers.values(), key=len)
    assert len(often) > 10 and len(set(often)) == len(often)


def test_a_data_module_draws_so_and_continues_no_other_run():
    source = Synthetic(train_images=40, test_images=8, side=8)
    data, plain = ImageData(source, batch_size=6, sampling="balanced"), ImageData(source, batch_size=6)
    labels = torch.cat([batch["label"] for batch in data.train_dataloader()])
    assert labels.bincount().max() - labels.bincount().min() <= 1
    data.check_continued(data.state_dict(), 1)
    with pytest.raises(UserError, match=r"data.sampling must be shuffled, got balanced"):
        data.check_continued(plain.state_dict(), 1)
    several = ImageData(Synthetic(train_images=40, targets="multilabel", side=8), sampling="balanced")
    with pytest.raises(UserError, match="balanced requires one class per image, but this data has several labels"):
        several.train_dataloader()
