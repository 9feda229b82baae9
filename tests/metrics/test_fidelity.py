"""PSNR and SSIM on the whole image and on a region."""

import math

import pytest
import torch

from genmods.metrics.fidelity import psnr, ssim


def test_psnr_of_a_known_error():
    truth = torch.zeros(2, 1, 8, 8)
    assert psnr(truth + 0.2, truth).tolist() == pytest.approx([10 * math.log10(4 / 0.04)] * 2, rel=1e-5)


def test_an_exactly_restored_image_has_100_db_and_the_mean_is_finite():
    truth = torch.ones(2, 1, 8, 8)
    restored = truth.clone()
    restored[1] -= 0.2
    assert psnr(restored, truth).tolist() == pytest.approx([100, 20], rel=1e-5)


def test_psnr_looks_at_the_region_only():
    truth, restored = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., :2] = 1
    restored[..., :2] = 0.5
    restored[..., 2:] = 9
    assert psnr(restored, truth, mask).item() == pytest.approx(10 * math.log10(4 / 0.25), rel=1e-5)


def test_ssim_of_equal_and_of_damaged_images():
    truth = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert ssim(truth, truth).tolist() == pytest.approx([1, 1], abs=1e-5)
    damaged = truth.clone()
    damaged[..., 8:] = 0
    left, right = torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 16, 16)
    left[..., :3] = 1
    right[..., 13:] = 1
    assert (ssim(damaged, truth, left) > 0.99).all()
    assert (ssim(damaged, truth, right) < 0.5).all()


def test_an_empty_region_is_refused():
    with pytest.raises(ValueError, match="mask must mark at least one pixel"):
        psnr(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4))


def test_ssim_is_the_same_under_autocast():
    truth = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 0.2 - 0.9
    restored = truth + 0.02
    expected = ssim(restored, truth)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(ssim(restored, truth), expected)
