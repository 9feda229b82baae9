"""Augmentation of batches; the random numbers of a sample are a pure function of its key."""

from typing import TYPE_CHECKING

from genmods.core.exports import lazy

if TYPE_CHECKING:
    from genmods.data.augmentation.adapter import TorchVision as TorchVision
    from genmods.data.augmentation.base import Augmentation as Augmentation
    from genmods.data.augmentation.boxes import CutMix as CutMix, RandomErasing as RandomErasing
    from genmods.data.augmentation.color import ColorJitter as ColorJitter
    from genmods.data.augmentation.flips import AlternatingFlip as AlternatingFlip, Flip as Flip
    from genmods.data.augmentation.geometry import (
        RandomResizedCrop as RandomResizedCrop,
        Rotate as Rotate,
        Translate as Translate,
    )
    from genmods.data.augmentation.mix import MixUp as MixUp

__all__, __getattr__, __dir__ = lazy(__name__)
