"""Linear measurement operators."""

from genmods.restoration.operators.base import Operator, lanczos, reciprocal
from genmods.restoration.operators.blur import Blur, GaussianBlur, KernelBlur, MotionBlur
from genmods.restoration.operators.channels import Compose, Grayscale
from genmods.restoration.operators.downsample import Average, Bicubic, Downsample
from genmods.restoration.operators.masks import (
    BoxMask,
    Diagonal,
    HalfMask,
    Identity,
    Mask,
    RandomMask,
    ShapedMask,
    StripeMask,
)

__all__ = [
    "Average",
    "Bicubic",
    "Blur",
    "BoxMask",
    "Compose",
    "Diagonal",
    "Downsample",
    "GaussianBlur",
    "Grayscale",
    "HalfMask",
    "Identity",
    "KernelBlur",
    "Mask",
    "MotionBlur",
    "Operator",
    "RandomMask",
    "ShapedMask",
    "StripeMask",
    "lanczos",
    "reciprocal",
]
