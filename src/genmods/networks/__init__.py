"""Networks: plain `nn.Module`s, independent of tasks, recipes and Lightning."""

from typing import TYPE_CHECKING

from genmods.core.exports import lazy

if TYPE_CHECKING:
    from genmods.networks.adapters.diffusers import DiffusersUNet as DiffusersUNet
    from genmods.networks.adapters.timm import TimmNetwork as TimmNetwork
    from genmods.networks.adapters.torchvision import TorchvisionNetwork as TorchvisionNetwork
    from genmods.networks.airbench import Airbench as Airbench
    from genmods.networks.autoencoder import Autoencoder as Autoencoder
    from genmods.networks.base import Condition as Condition, Network as Network
    from genmods.networks.cnn import CNN as CNN
    from genmods.networks.conditional import ConditionalNetwork as ConditionalNetwork
    from genmods.networks.convnext import ConvNeXt as ConvNeXt
    from genmods.networks.discriminator import Discriminator as Discriminator
    from genmods.networks.dit import DiT as DiT
    from genmods.networks.generator import Generator as Generator
    from genmods.networks.mlp import MLP as MLP
    from genmods.networks.plain_unet import PlainUNet as PlainUNet
    from genmods.networks.resnet import ResNet as ResNet, WideResNet as WideResNet
    from genmods.networks.training import freeze as freeze, scale_rates as scale_rates
    from genmods.networks.unet import UNet as UNet
    from genmods.networks.unet_mp import UNetMP as UNetMP
    from genmods.networks.vdm import VDM as VDM
    from genmods.networks.weights import load_weights as load_weights

__all__, __getattr__, __dir__ = lazy(__name__)
