"""Training data: sources that read data sets, data modules, and augmentation of batches."""

from typing import TYPE_CHECKING

from genmods.core.exports import lazy

if TYPE_CHECKING:
    from genmods.data.base import DataModule as DataModule, Table as Table
    from genmods.data.files import Picture as Picture, read_image as read_image, write_image as write_image
    from genmods.data.images import Images as Images, Source as Source, to_float as to_float, to_uint8 as to_uint8
    from genmods.data.info import DataInfo as DataInfo
    from genmods.data.module import ImageData as ImageData
    from genmods.data.sources.cifar import CIFAR10 as CIFAR10, CIFAR100 as CIFAR100
    from genmods.data.sources.digits import Digits as Digits
    from genmods.data.sources.emoji import Emoji as Emoji
    from genmods.data.sources.hf_dataset import HFDataset as HFDataset
    from genmods.data.sources.image_folder import ImageFolder as ImageFolder
    from genmods.data.sources.mnist import MNIST as MNIST, FashionMNIST as FashionMNIST
    from genmods.data.sources.shards import Shards as Shards
    from genmods.data.sources.synthetic import Synthetic as Synthetic

__all__, __getattr__, __dir__ = lazy(__name__)
