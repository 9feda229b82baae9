"""Linear measurement operators."""

from typing import TYPE_CHECKING

from genmods.core.exports import lazy

if TYPE_CHECKING:
    from genmods.restoration.operators.base import Operator as Operator, lanczos as lanczos, reciprocal as reciprocal
    from genmods.restoration.operators.blur import (
        Blur as Blur,
        GaussianBlur as GaussianBlur,
        KernelBlur as KernelBlur,
        MotionBlur as MotionBlur,
    )
    from genmods.restoration.operators.channels import Compose as Compose, Grayscale as Grayscale
    from genmods.restoration.operators.downsample import (
        Average as Average,
        Bicubic as Bicubic,
        Downsample as Downsample,
    )
    from genmods.restoration.operators.masks import (
        BoxMask as BoxMask,
        Diagonal as Diagonal,
        HalfMask as HalfMask,
        Identity as Identity,
        Mask as Mask,
        RandomMask as RandomMask,
        ShapedMask as ShapedMask,
        StripeMask as StripeMask,
    )

__all__, __getattr__, __dir__ = lazy(__name__)
