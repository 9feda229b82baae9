"""The sections of a recipe and the built-in parts as text, so that listing and checking them imports nothing.

`KINDS` maps a kind to the base class that a constructor's type hint names; `BUILTINS` maps kind and name to the class;
`COMMON` maps a kind to the class of the settings that all its parts have.
`imported` imports such a class. The tables cannot be changed, also not by a plug-in.
"""

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

SECTIONS = ("name", "seed", "task", "data", "optimizer", "schedule", "trainer", "logger", "callbacks")

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "task": "genmods.tasks.base:Task",
        "network": "genmods.networks.base:Network",
        "process": "genmods.diffusion.process:NoiseProcess",
        "prediction": "genmods.diffusion.prediction:Prediction",
        "density": "genmods.diffusion.densities:TimeDensity",
        "weighting": "genmods.diffusion.weightings:Weighting",
        "grid": "genmods.diffusion.grids:Grid",
        "sampler": "genmods.diffusion.samplers.base:Sampler",
        "conditioning": "genmods.diffusion.conditioning.base:Conditioning",
        "data": "genmods.data.images:Source",
        "data_module": "genmods.data.base:DataModule",
        "augmentation": "genmods.data.augmentation.base:Augmentation",
        "operator": "genmods.restoration.operators.base:Operator",
        "corruption": "genmods.restoration.corruption:Corruption",
        "restoration_loss": "genmods.restoration.losses:RestorationLoss",
        "method": "genmods.restoration.methods.base:Method",
        "optimizer": "torch.optim.optimizer:Optimizer",
        "schedule": "torch.optim.lr_scheduler:LRScheduler",
        "metric": "genmods.metrics.base:Metric",
        "features": "genmods.metrics.extractors:FeatureExtractor",
        "callback": "lightning.pytorch.callbacks.callback:Callback",
        "logger": "lightning.pytorch.loggers.logger:Logger",
    }
)

COMMON: dict[str, str] = {"network": "genmods.networks.training:NetworkTraining"}
"""The class with the settings that all parts of a kind have in a recipe, unless they have one of that name."""

_PARTS: dict[str, dict[str, str]] = {
    "task": {
        "classification": "genmods.tasks.classification:ClassificationTask",
        "consistency": "genmods.tasks.consistency:ConsistencyTask",
        "diffusion": "genmods.tasks.diffusion:DiffusionTask",
        "gan": "genmods.tasks.gan:GANTask",
        "mean_flow": "genmods.tasks.mean_flow:MeanFlowTask",
        "multilabel": "genmods.tasks.multilabel:MultilabelTask",
        "regression": "genmods.tasks.regression:RegressionTask",
        "restoration": "genmods.tasks.restoration:RestorationTask",
        "restoration_network": "genmods.tasks.restoration_network:RestorationNetworkTask",
        "vae": "genmods.tasks.vae:VAETask",
    },
    "network": {
        "autoencoder": "genmods.networks.autoencoder:Autoencoder",
        "cnn": "genmods.networks.cnn:CNN",
        "convnext": "genmods.networks.convnext:ConvNeXt",
        "diffusers": "genmods.networks.adapters.diffusers:DiffusersUNet",
        "discriminator": "genmods.networks.discriminator:Discriminator",
        "dit": "genmods.networks.dit:DiT",
        "airbench": "genmods.networks.airbench:Airbench",
        "generator": "genmods.networks.generator:Generator",
        "mlp": "genmods.networks.mlp:MLP",
        "plain_unet": "genmods.networks.plain_unet:PlainUNet",
        "resnet": "genmods.networks.resnet:ResNet",
        "timm": "genmods.networks.adapters.timm:TimmNetwork",
        "torchvision": "genmods.networks.adapters.torchvision:TorchvisionNetwork",
        "unet": "genmods.networks.unet:UNet",
        "vdm": "genmods.networks.vdm:VDM",
        "wide_resnet": "genmods.networks.resnet:WideResNet",
    },
    "process": {
        "cosine": "genmods.diffusion.processes.variance_preserving:CosineProcess",
        "edm": "genmods.diffusion.processes.variance_exploding:EDMProcess",
        "learned": "genmods.diffusion.processes.learned:LearnedProcess",
        "linear": "genmods.diffusion.processes.variance_preserving:LinearProcess",
        "rectified": "genmods.diffusion.processes.rectified:RectifiedProcess",
        "sigmoid": "genmods.diffusion.processes.variance_preserving:SigmoidProcess",
        "variance_exploding": "genmods.diffusion.processes.variance_exploding:VarianceExplodingProcess",
    },
    "prediction": {
        "eps": "genmods.diffusion.prediction:EpsPrediction",
        "flow": "genmods.diffusion.prediction:FlowPrediction",
        "karras": "genmods.diffusion.prediction:KarrasPrediction",
        "v": "genmods.diffusion.prediction:VPrediction",
        "x0": "genmods.diffusion.prediction:X0Prediction",
    },
    "density": {
        "log_normal": "genmods.diffusion.densities:LogNormalDensity",
        "low_discrepancy": "genmods.diffusion.densities:LowDiscrepancyDensity",
        "uniform": "genmods.diffusion.densities:UniformDensity",
    },
    "weighting": {
        "edm": "genmods.diffusion.weightings:EDMWeighting",
        "edm2": "genmods.diffusion.weightings:EDM2Weighting",
        "elbo": "genmods.diffusion.weightings:ElboWeighting",
        "min_snr": "genmods.diffusion.weightings:MinSNRWeighting",
        "sigmoid": "genmods.diffusion.weightings:SigmoidWeighting",
        "simple": "genmods.diffusion.weightings:SimpleWeighting",
    },
    "grid": {
        "angle": "genmods.diffusion.grids:AngleGrid",
        "karras": "genmods.diffusion.grids:KarrasGrid",
        "lambda": "genmods.diffusion.grids:LambdaGrid",
        "quadratic": "genmods.diffusion.grids:QuadraticGrid",
        "uniform": "genmods.diffusion.grids:UniformGrid",
    },
    "sampler": {
        "consistency": "genmods.diffusion.samplers.consistency:ConsistencySampler",
        "ddim": "genmods.diffusion.samplers.ddim:DDIMSampler",
        "ddpm": "genmods.diffusion.samplers.ddpm:DDPMSampler",
        "dpmpp_2m": "genmods.diffusion.samplers.dpmpp:DPMpp2MSampler",
        "dpmpp_2m_sde": "genmods.diffusion.samplers.dpmpp:DPMpp2MSDESampler",
        "dpmpp_3m": "genmods.diffusion.samplers.dpmpp:DPMpp3MSampler",
        "euler": "genmods.diffusion.samplers.heun:EulerSampler",
        "flow_ode": "genmods.diffusion.samplers.flow_ode:FlowODESampler",
        "heun": "genmods.diffusion.samplers.heun:HeunSampler",
        "mean_flow": "genmods.diffusion.samplers.mean_flow:MeanFlowSampler",
        "unipc": "genmods.diffusion.samplers.unipc:UniPCSampler",
    },
    "conditioning": {
        "class_labels": "genmods.diffusion.conditioning.labels:ClassLabels",
        "degraded": "genmods.restoration.degraded:Degraded",
        "masked_image": "genmods.diffusion.conditioning.mask:MaskedImage",
        "numbers": "genmods.diffusion.conditioning.numbers:Numbers",
        "unconditional": "genmods.diffusion.conditioning.base:Unconditional",
    },
    "data": {
        "cifar10": "genmods.data.sources.cifar:CIFAR10",
        "cifar100": "genmods.data.sources.cifar:CIFAR100",
        "digits": "genmods.data.sources.digits:Digits",
        "emoji": "genmods.data.sources.emoji:Emoji",
        "fashion_mnist": "genmods.data.sources.mnist:FashionMNIST",
        "generated": "genmods.runs.generated:Generated",
        "hf_dataset": "genmods.data.sources.hf_dataset:HFDataset",
        "image_folder": "genmods.data.sources.image_folder:ImageFolder",
        "mnist": "genmods.data.sources.mnist:MNIST",
        "paired_folder": "genmods.data.sources.paired_folder:PairedFolder",
        "photo_patches": "genmods.data.sources.photo_patches:PhotoPatches",
        "shards": "genmods.data.sources.shards:Shards",
        "synthetic": "genmods.data.sources.synthetic:Synthetic",
    },
    "data_module": {},
    "augmentation": {
        "alternating_flip": "genmods.data.augmentation.flips:AlternatingFlip",
        "color_jitter": "genmods.data.augmentation.color:ColorJitter",
        "random_resized_crop": "genmods.data.augmentation.geometry:RandomResizedCrop",
        "cutmix": "genmods.data.augmentation.boxes:CutMix",
        "random_erasing": "genmods.data.augmentation.boxes:RandomErasing",
        "flip": "genmods.data.augmentation.flips:Flip",
        "mixup": "genmods.data.augmentation.mix:MixUp",
        "rand_augment": "genmods.data.augmentation.policies:RandAugment",
        "rotate": "genmods.data.augmentation.geometry:Rotate",
        "translate": "genmods.data.augmentation.geometry:Translate",
        "torchvision": "genmods.data.augmentation.adapter:TorchVision",
        "trivial_augment": "genmods.data.augmentation.policies:TrivialAugment",
    },
    "operator": {
        "average": "genmods.restoration.operators.downsample:Average",
        "bicubic": "genmods.restoration.operators.downsample:Bicubic",
        "box": "genmods.restoration.operators.masks:BoxMask",
        "compose": "genmods.restoration.operators.channels:Compose",
        "gaussian_blur": "genmods.restoration.operators.blur:GaussianBlur",
        "grayscale": "genmods.restoration.operators.channels:Grayscale",
        "half": "genmods.restoration.operators.masks:HalfMask",
        "identity": "genmods.restoration.operators.masks:Identity",
        "kernel_blur": "genmods.restoration.operators.blur:KernelBlur",
        "motion_blur": "genmods.restoration.operators.blur:MotionBlur",
        "random": "genmods.restoration.operators.masks:RandomMask",
        "stripes": "genmods.restoration.operators.masks:StripeMask",
    },
    "corruption": {
        "uniform_range": "genmods.restoration.mixtures:UniformRange",
        "gaussian": "genmods.restoration.corruption:GaussianNoise",
        "chain": "genmods.restoration.mixtures:Chain",
        "jpeg": "genmods.restoration.corruption:Jpeg",
        "random_choice": "genmods.restoration.mixtures:RandomChoice",
        "poisson": "genmods.restoration.corruption:PoissonNoise",
        "salt_and_pepper": "genmods.restoration.corruption:SaltAndPepper",
        "sensor": "genmods.restoration.corruption:SensorNoise",
        "speckle": "genmods.restoration.corruption:SpeckleNoise",
    },
    "restoration_loss": {
        "noise2noise": "genmods.restoration.losses:Noise2Noise",
        "noise2void": "genmods.restoration.losses:Noise2Void",
        "recorrupted": "genmods.restoration.losses:Recorrupted",
        "supervised": "genmods.restoration.losses:Supervised",
        "sure": "genmods.restoration.losses:SURE",
    },
    "method": {
        "ddnm": "genmods.restoration.methods.ddnm:DDNM",
        "ddnm_plus": "genmods.restoration.methods.ddnm_plus:DDNMPlus",
        "diffpir": "genmods.restoration.methods.diffpir:DiffPIR",
        "dps": "genmods.restoration.methods.dps:DPS",
        "mmps": "genmods.restoration.methods.mmps:MMPS",
        "pigdm": "genmods.restoration.methods.pigdm:PiGDM",
        "repaint": "genmods.restoration.methods.repaint:RePaint",
        "replacement": "genmods.restoration.methods.replacement:Replacement",
    },
    "optimizer": {
        "adam": "torch.optim.adam:Adam",
        "adamw": "torch.optim.adamw:AdamW",
        "muon": "genmods.optim.muon:Muon",
        "rmsprop": "torch.optim.rmsprop:RMSprop",
        "sgd": "torch.optim.sgd:SGD",
    },
    "schedule": {
        "constant": "genmods.optim.schedules:ConstantSchedule",
        "cosine": "genmods.optim.schedules:CosineSchedule",
        "linear": "genmods.optim.schedules:LinearSchedule",
        "reduce_on_plateau": "genmods.optim.plateau:ReduceOnPlateau",
    },
    "metric": {
        "accuracy": "genmods.metrics.accuracy:Accuracy",
        "anomaly": "genmods.metrics.anomaly:Anomaly",
        "bpd": "genmods.metrics.scores:BitsPerDimension",
        "bpd_ode": "genmods.metrics.scores:FlowBitsPerDimension",
        "clustering": "genmods.metrics.neighbors:Clustering",
        "coverage": "genmods.metrics.scores:Coverage",
        "density": "genmods.metrics.scores:Density",
        "fid": "genmods.metrics.frechet:FrechetDistance",
        "fid_infinity": "genmods.metrics.frechet:FrechetLimit",
        "is": "genmods.metrics.scores:InceptionScore",
        "kid": "genmods.metrics.frechet:KernelDistance",
        "knn": "genmods.metrics.neighbors:NearestNeighbors",
        "mind": "genmods.metrics.sliced:MongeDistance",
        "nearest": "genmods.metrics.neighbors:NearestImages",
        "precision": "genmods.metrics.scores:Precision",
        "recall": "genmods.metrics.scores:Recall",
    },
    "features": {
        "dinov2": "genmods.metrics.extractors:DINOv2Features",
        "efficientnet_lite0": "genmods.metrics.extractors:EfficientNetLite0Features",
        "inception": "genmods.metrics.extractors:InceptionFeatures",
        "pixels": "genmods.metrics.extractors:PixelFeatures",
    },
    "callback": {
        "checkpoint": "genmods.callbacks.checkpoint:RunCheckpoint",
        "class_report": "genmods.callbacks.class_report:ClassReport",
        "compile": "genmods.callbacks.compile:Compile",
        "denoise_strip": "genmods.callbacks.strips:DenoiseStrip",
        "diffusion_strip": "genmods.callbacks.strips:DiffusionStrip",
        "early_stopping": "genmods.callbacks.early_stopping:EarlyStopping",
        "ema": "genmods.callbacks.ema:EMA",
        "evaluation": "genmods.callbacks.evaluation:Evaluation",
        "feature_maps": "genmods.callbacks.feature_maps:FeatureMaps",
        "finite": "genmods.callbacks.finite:Finite",
        "inpaint_strip": "genmods.callbacks.strips:InpaintStrip",
        "learning_rate_monitor": "lightning.pytorch.callbacks.lr_monitor:LearningRateMonitor",
        "loss_by_noise": "genmods.callbacks.loss_by_noise:LossByNoise",
        "mistakes": "genmods.callbacks.mistakes:Mistakes",
        "norms": "genmods.callbacks.norms:Norms",
        "power_ema": "genmods.callbacks.power_ema:PowerEMA",
        "report": "genmods.callbacks.report:Report",
        "restoration_report": "genmods.callbacks.restoration_report:RestorationReport",
        "sample_grid": "genmods.callbacks.sample_grid:SampleGrid",
        "throughput": "genmods.callbacks.throughput:Throughput",
    },
    "logger": {
        "csv": "genmods.tracking.csv:MetricsFile",
        "mlflow": "genmods.tracking.mlflow:MLflowRun",
        "tensorboard": "genmods.tracking.tensorboard:TensorBoardRun",
        "wandb": "genmods.tracking.wandb:WandbRun",
    },
}

BUILTINS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {kind: MappingProxyType(parts) for kind, parts in _PARTS.items()}
)


def imported(target: str) -> Any:
    """The object that "module:Class" names."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)
