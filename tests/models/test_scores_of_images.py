"""Classification and anomaly scores by an exact model of Gaussian data, and the area under the ROC curve."""

import math

import pytest
import torch
from scipy.stats import norm

from genmods import UserError
from genmods.diffusion.conditioning import Unconditional
from genmods.metrics import Accuracy, Anomaly, EvaluationData, auroc
from genmods.models import Classifier, DiffusionClassifier, NoiseErrors, anomaly_scores
from genmods.networks import CNN
from support.gaussian_model import MEANS, STD, draw, gaussian_model


@pytest.fixture(scope="module")
def model():
    return gaussian_model()


def test_probabilities_are_those_of_bayes(model):
    """p(c | x) is a softmax of -‖x - m_c‖²/2c²."""
    images = draw(6)
    offset = images.flatten(1)[:, None] - torch.tensor(MEANS).view(1, -1, 1)
    wanted = (-offset.square().sum(-1) / (2 * STD**2)).softmax(1)
    found = DiffusionClassifier(model, num_times=64).probabilities(images)
    torch.testing.assert_close(found.double(), wanted, rtol=0, atol=1e-3)


def test_the_same_noise_for_all_classes_leaves_equal_classes_equal():
    model = gaussian_model()
    model.denoiser.network.means.zero_()
    found = DiffusionClassifier(model, num_times=2).probabilities(draw(4))
    torch.testing.assert_close(found, torch.full((4, 3), 1 / 3), rtol=0, atol=1e-6)


def test_accuracy_of_a_diffusion_model_and_of_a_classifier(model):
    labels = torch.arange(60) % 3
    test = (draw(60, std=0.1) + torch.tensor(MEANS)[labels].view(-1, 1, 1, 1)).clamp(-1, 1).float()
    (figure,) = Accuracy(num_times=16)(EvaluationData(test=test, test_labels=labels, model=model)).values
    assert figure.value > 0.95 and figure.low < figure.value <= figure.high <= 1 and figure.low > 0.85
    wrong = Accuracy(num_times=16)(EvaluationData(test=test, test_labels=(labels + 1) % 3, model=model)).values[0]
    assert wrong.value < 0.05
    classifier = Classifier(CNN(layers=("avgpool",), num_classes=3, image_size=2), num_classes=3, image_size=2).eval()
    (figure,) = Accuracy()(EvaluationData(test=test, test_labels=labels, model=classifier)).values
    assert figure.value == (classifier.probabilities(test).argmax(1) == labels).double().mean()


def test_models_without_classes_are_refused(model):
    with pytest.raises(UserError, match="one that is conditioned on classes"):
        DiffusionClassifier(gaussian_model(conditioning=Unconditional()))
    with pytest.raises(UserError, match="got Classifier"):
        NoiseErrors(Classifier(CNN(layers=("avgpool",), num_classes=3, image_size=2), num_classes=3, image_size=2))
    with pytest.raises(UserError, match="this metric requires other images"):
        Anomaly()(EvaluationData(train=draw(20), test=draw(20), model=model))


def test_flat_and_rough_images_are_unusual_although_flat_ones_are_likely():
    """A flat image has a higher likelihood than the data; the anomaly score finds it all the same."""
    model = gaussian_model(size=8)
    train, test = draw(200, 8, seed=1), draw(100, 8, seed=2)
    for std in (0.25, 0.6):
        others = draw(100, 8, std=std, seed=3)
        data = EvaluationData(
            train=train, test=test, others=others, other_names=list(map(str, range(100))), model=model
        )
        found = Anomaly(levels=4)(data)
        assert found.values[0].value > 0.99 and found.values[0].high <= 1
        columns, rows = found.tables["anomaly"]
        assert columns == ["image", "score"] and [row[1] for row in rows] == sorted((r[1] for r in rows), reverse=True)
        bits = [model.likelihood().bound(images.clamp(-1, 1)).mean() for images in (test, others)]
        assert (bits[1] < bits[0]) == (std < STD)
    same = EvaluationData(train=train, test=test, others=draw(100, 8, seed=4), model=model)
    assert 0.4 < Anomaly(levels=4)(same).values[0].value < 0.6


def test_scores_of_normal_features_are_chi_squared():
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    features = torch.randn(20_000, 4, generator=generator, dtype=torch.float64) @ mix + 3
    scores = anomaly_scores(features[:10_000], features[10_000:])
    assert scores.mean() == pytest.approx(4, rel=0.03) and scores.var() == pytest.approx(8, rel=0.1)
    with pytest.raises(UserError, match="more than 4 reference images"):
        anomaly_scores(features, features[:4])


def test_area_of_shifted_normal_scores():
    """Φ(d/√2) for N(0, 1) and N(d, 1), with the standard error of its estimates."""
    generator, d, found = torch.Generator().manual_seed(0), 1.0, []
    for _ in range(200):
        normal, odd = torch.randn(60, generator=generator), d + torch.randn(40, generator=generator)
        found.append(auroc(normal, odd))
    values, errors = torch.tensor(found, dtype=torch.float64).T
    assert values.mean() == pytest.approx(norm.cdf(d / math.sqrt(2)), abs=0.01)
    assert errors.mean() == pytest.approx(values.std().item(), rel=0.1)


@pytest.mark.parametrize(
    ("normal", "odd", "area"),
    [([0, 1], [2, 3], 1), ([2, 3], [0, 1], 0), ([1, 1], [1, 1], 0.5), ([0, 2], [1, 2], 0.625)],
)
def test_area_of_a_few_scores(normal, odd, area):
    assert auroc(torch.tensor(normal).double(), torch.tensor(odd).double())[0] == area
