"""Conditionings: what a network is given for a batch, for a request, and where nothing is known."""

import math

import pytest
import torch

from genmods.config.builtins import BUILTINS, imported
from genmods.core.errors import UserError
from genmods.diffusion.conditioning import ClassLabels, Conditioning, MaskedImage, Numbers, Unconditional
from genmods.diffusion.conditioning.base import dealt
from genmods.networks.mlp import MLP
from genmods.restoration.corruption import GaussianNoise

NAMES = ["coat", "shoe", "7"]
SETTINGS = {
    "class_labels": {"num_classes": 3},
    "degraded": {"image_size": 6, "corruption": GaussianNoise()},
    "masked_image": {"image_size": 6},
    "numbers": {"class_names": ["age", "height"]},
}


def batch(n=64):
    generator = torch.Generator().manual_seed(1)
    return {"image": torch.rand(n, 1, 6, 6, generator=generator) * 2 - 1, "label": torch.arange(n) % 3}


def made(name):
    return imported(BUILTINS["conditioning"][name])(**SETTINGS.get(name, {}))


@pytest.mark.parametrize("name", BUILTINS["conditioning"])
def test_every_condition_has_one_form(name):
    """That of a batch, of nothing, of new samples and of the dry run agree in keys, shapes and types."""
    conditioning, data = made(name), batch(5)
    if name == "numbers":
        data["label"] = torch.rand(5, 2)
    assert isinstance(conditioning, Conditioning)
    forms = [
        {key: (value.shape, value.dtype) for key, value in cond.items()}
        for cond in (
            conditioning(data),
            conditioning.null(5),
            conditioning.default(torch.arange(5)),
            conditioning.example(5),
            conditioning.without(conditioning(data)),
        )
    ]
    assert all(form == forms[0] for form in forms)
    assert all(value.is_meta for value in conditioning.example(2).values())


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_the_share_of_labels_that_training_drops(share):
    n = 40_000
    conditioning, data = ClassLabels(3, drop=share), {"label": torch.arange(n) % 3}
    label = conditioning.train()(data)["label"]
    dropped = label == -1
    assert float(dropped.float().mean()) == pytest.approx(share, abs=4 * (share * (1 - share) / n) ** 0.5)
    assert torch.equal(label[~dropped], data["label"][~dropped])
    assert torch.equal(conditioning.eval()(data)["label"], data["label"])


@pytest.mark.parametrize(
    ("label", "expected"),
    [("coat", [0] * 4), ("7", [2] * 4), ("1", [1] * 4), (1, [1] * 4), (-1, [-1] * 4), (["shoe", 0], [1, 0, 1, 0])],
)
def test_a_label_is_a_name_or_a_number_and_a_list_is_dealt_out(label, expected):
    conditioning = ClassLabels(num_classes=3, class_names=NAMES)
    cond = conditioning.requested(4, {"label": label}, torch.arange(4))
    assert cond["label"].tolist() == expected
    assert conditioning.describe(cond) == [NAMES[k] if k >= 0 else "" for k in expected]


@pytest.mark.parametrize(
    ("conditioning", "request_", "line"),
    [
        (ClassLabels(num_classes=3, class_names=NAMES), {"label": "hat"}, "label=hat: the classes are coat, shoe, 7"),
        (ClassLabels(num_classes=3), {"label": 3}, "label=3: the classes are 0, 1, 2"),
        (ClassLabels(num_classes=3), {"label": []}, "at least 1"),
        (ClassLabels(num_classes=3), {"labl": 1}, "conditioned on label; did you mean 'label'?"),
        (Numbers(class_names=["age"]), {"age": "forty"}, "age=forty: expected a finite number"),
        (Numbers(class_names=["age", "height"]), {"ago": 40}, "conditioned on age, height; did you mean 'age'?"),
        (Unconditional(), {"label": 1}, "'label': the model is not conditioned on anything"),
        (MaskedImage(), {"age": 1}, "'age': the model is not conditioned on anything"),
    ],
)
def test_requests_that_a_model_does_not_know(conditioning, request_, line):
    with pytest.raises(UserError) as error:
        conditioning.requested(2, request_, torch.arange(2))
    assert line in str(error.value) and "\n" not in str(error.value)


def test_without_a_request_classes_come_in_turn():
    assert ClassLabels(num_classes=3).requested(4, None, torch.arange(5, 9))["label"].tolist() == [2, 0, 1, 2]


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"drop": 1.5, "num_classes": 3}, "drop must be at most 1, got 1.5"),
        ({"num_classes": 0}, "needs data with classes"),
    ],
)
def test_impossible_settings(settings, line):
    with pytest.raises(ValueError, match=line):
        ClassLabels(**settings)
    with pytest.raises(ValueError, match="needs data with"):
        Numbers(class_names=[])


def test_a_network_must_know_the_classes():
    with pytest.raises(ValueError, match="MLP knows 2 classes and the data have 3"):
        ClassLabels(num_classes=3).check(MLP(num_classes=2))
    ClassLabels(num_classes=3).check(MLP(num_classes=4))


def test_which_conditionings_mean_the_same():
    one = ClassLabels(3)
    assert one.same_as(ClassLabels(3, drop=0.5)) and not one.same_as(ClassLabels(4))
    assert not one.same_as(Unconditional()) and Unconditional().same_as(Unconditional())
    assert not MaskedImage(1, 8).same_as(MaskedImage(1, 9))
    assert not ClassLabels(2, ["cat", "dog"]).same_as(ClassLabels(2, ["cat", "cow"]))


def test_conditions_of_another_conditioning_are_translated():
    one, other = ClassLabels(3, ["cat", "dog", "cow"]), ClassLabels(3, ["cow", "cat", "dog"])
    cond = {"label": torch.tensor([0, 1, 2, -1])}
    assert other.same_as(one) and other.translate(cond, one)["label"].tolist() == [1, 2, 0, -1]
    assert ClassLabels(3).translate(cond, one)["label"].tolist() == [0, 1, 2, -1]
    mine, theirs = Numbers(["age"]), Numbers(["age"])
    mine.fit({"label": torch.tensor([[20.0], [40.0]])})
    theirs.fit({"label": torch.tensor([[0.0], [10.0]])})
    asked, unknown = {"age": [30.0, 35.0]}, {"vector": torch.tensor([[math.nan]])}
    torch.testing.assert_close(mine.translate(theirs.of(asked, 2), theirs), mine.of(asked, 2))
    assert mine.translate(unknown, theirs)["vector"].isnan().all()


def numbers(drop=0.1):
    conditioning = Numbers(["age", "height"], drop)
    label = torch.tensor([[20.0, 1.5], [40.0, 1.7], [60.0, 1.9]])
    conditioning.fit({"label": label})
    return conditioning, label


def test_numbers_are_standardized_by_the_data_and_described_in_its_units():
    conditioning, label = numbers()
    cond = conditioning.eval()({"label": label})
    torch.testing.assert_close(cond["vector"], torch.tensor([[-1.0, -1], [0, 0], [1, 1]]))
    asked = conditioning.requested(4, {"age": ["20", 60], "height": 1.7}, torch.arange(4))
    torch.testing.assert_close(asked["vector"], torch.tensor([[-1.0, 0], [1, 0], [-1, 0], [1, 0]]))
    assert conditioning.describe(asked)[:2] == ["age=20, height=1.7", "age=60, height=1.7"]
    partly = conditioning.requested(1, {"age": 40}, torch.arange(1))
    assert partly["vector"].isnan().tolist() == [[False, True]] and conditioning.describe(partly) == ["age=40"]


@pytest.mark.parametrize("drop", [0.0, 0.3])
def test_numbers_are_dropped_together_and_alone(drop):
    conditioning, _ = numbers(drop)
    unknown = conditioning.train()({"label": torch.zeros(40_000, 2)})["vector"].isnan()
    both, first = unknown.all(1).float().mean(), unknown[:, 0].float().mean()
    assert float(both) == pytest.approx(drop + (1 - drop) * drop**2, abs=0.01)
    assert float(first) == pytest.approx(drop + (1 - drop) * drop, abs=0.01)


def test_unknown_numbers_are_refused_where_training_saw_none():
    conditioning, label = numbers(0.0)
    conditioning.require_trained(conditioning({"label": label}))
    assert not conditioning.default(torch.arange(3))["vector"].isnan().any()
    with pytest.raises(UserError, match="drop: 0"):
        conditioning.require_trained(conditioning.requested(1, {"age": 40}, torch.arange(1)))


def test_labels_that_are_not_these_numbers():
    with pytest.raises(UserError, match=r"needs 2 numbers per image, got \[3\]"):
        numbers()[0]({"label": torch.arange(3)})
    with pytest.raises(ValueError, match="takes 1 number as its condition, and the data has 2"):
        numbers()[0].check(MLP(cond_size=1))


def test_a_mask_comes_with_the_pixels_under_it():
    data = batch()
    image = MaskedImage(image_size=6)(data)["image"]
    known, pixels = image[:, :1], image[:, 1:]
    assert image.shape == (64, 2, 6, 6) and set(known.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(pixels, data["image"] * known)
    shares = known.mean((1, 2, 3))
    assert shares.min() < 0.3 and shares.max() > 0.7 and (shares < 1).any()


def test_values_are_dealt_out():
    first, later = torch.arange(3), torch.arange(4, 7)
    assert dealt(3, first) == [3, 3, 3] and dealt([1, 2], first) == [1, 2, 1] and dealt([1, 2, 3], later) == [2, 3, 1]
    assert dealt(torch.tensor([4, 5]), first) == [4, 5, 4]


@pytest.mark.parametrize(("name", "request_"), [("label", {"label": [0, 1, 2]}), ("vector", {"age": [20, 40, 60]})])
def test_the_condition_of_a_sample_depends_on_its_index_only(name, request_):
    conditioning = ClassLabels(num_classes=3) if name == "label" else Numbers(class_names=["age"])
    whole = conditioning.requested(8, request_, torch.arange(8))[name]
    assert torch.equal(conditioning.requested(4, request_, torch.arange(4, 8))[name], whole[4:])


@pytest.mark.parametrize("value", ["nan", math.nan, "inf", -math.inf, "old", None, [math.nan, 20]])
def test_a_requested_number_is_finite(value):
    with pytest.raises(UserError, match=r"^condition age=\S+: expected a finite number$"):
        Numbers(class_names=["age", "height"]).requested(2, {"age": value}, torch.arange(2))
