"""The built-in parts of genmods: names in text, so that listing and checking them imports nothing.

`KINDS` maps a kind to the base class that a constructor's type hint names; `BUILTINS` maps kind and name to the class.
"""

KINDS: dict[str, str] = {
    "task": "genmods.tasks.base:Task",
    "network": "genmods.networks.base:Network",
    "process": "genmods.diffusion.process:NoiseProcess",
    "prediction": "genmods.diffusion.prediction:Prediction",
    "density": "genmods.diffusion.loss:TimeDensity",
    "weighting": "genmods.diffusion.loss:Weighting",
    "grid": "genmods.diffusion.grids:Grid",
    "sampler": "genmods.diffusion.samplers.base:Sampler",
    "data": "genmods.data.images:Source",
    "augmentation": "genmods.data.augmentation.base:Augmentation",
    "operator": "genmods.restoration.operators.base:Operator",
    "corruption": "genmods.restoration.corruption:Corruption",
    "method": "genmods.restoration.methods.base:Method",
    "optimizer": "torch.optim.optimizer:Optimizer",
    "schedule": "torch.optim.lr_scheduler:LRScheduler",
    "metric": "genmods.metrics.base:Metric",
    "callback": "lightning.pytorch.callbacks.callback:Callback",
    "logger": "lightning.pytorch.loggers.logger:Logger",
}

BUILTINS: dict[str, dict[str, str]] = {
    "task": {
        "classification": "genmods.tasks.classification:ClassificationTask",
        "diffusion": "genmods.tasks.diffusion:DiffusionTask",
    },
    "network": {
        "unet": "genmods.networks.unet:UNet",
    },
    "process": {},
    "prediction": {},
    "density": {},
    "weighting": {},
    "grid": {},
    "sampler": {},
    "data": {
        "digits": "genmods.data.sources.digits:Digits",
        "fashion_mnist": "genmods.data.sources.mnist:FashionMNIST",
        "mnist": "genmods.data.sources.mnist:MNIST",
        "synthetic": "genmods.data.sources.synthetic:Synthetic",
    },
    "augmentation": {
        "alternating_flip": "genmods.data.augmentation.flips:AlternatingFlip",
        "flip": "genmods.data.augmentation.flips:Flip",
    },
    "operator": {
        "average": "genmods.restoration.operators.downsample:Average",
        "bicubic": "genmods.restoration.operators.downsample:Bicubic",
        "box": "genmods.restoration.operators.masks:BoxMask",
        "compose": "genmods.restoration.operators.channels:Compose",
        "gaussian_blur": "genmods.restoration.operators.blur:GaussianBlur",
        "greyscale": "genmods.restoration.operators.channels:Greyscale",
        "half": "genmods.restoration.operators.masks:HalfMask",
        "identity": "genmods.restoration.operators.masks:Identity",
        "kernel_blur": "genmods.restoration.operators.blur:KernelBlur",
        "motion_blur": "genmods.restoration.operators.blur:MotionBlur",
        "random": "genmods.restoration.operators.masks:RandomMask",
        "stripes": "genmods.restoration.operators.masks:StripeMask",
    },
    "corruption": {
        "gaussian": "genmods.restoration.corruption:GaussianNoise",
        "jpeg": "genmods.restoration.corruption:Jpeg",
        "poisson": "genmods.restoration.corruption:PoissonNoise",
        "salt_and_pepper": "genmods.restoration.corruption:SaltAndPepper",
        "speckle": "genmods.restoration.corruption:SpeckleNoise",
    },
    "method": {},
    "optimizer": {
        "adam": "torch.optim.adam:Adam",
        "adamw": "torch.optim.adamw:AdamW",
        "rmsprop": "torch.optim.rmsprop:RMSprop",
        "sgd": "torch.optim.sgd:SGD",
    },
    "schedule": {},
    "metric": {
        "bpd": "genmods.metrics.scores:BitsPerDimension",
        "clustering": "genmods.metrics.neighbours:Clustering",
        "fid": "genmods.metrics.frechet:FrechetDistance",
        "is": "genmods.metrics.scores:InceptionScore",
        "kid": "genmods.metrics.frechet:KernelDistance",
        "knn": "genmods.metrics.neighbours:NearestNeighbours",
        "nearest": "genmods.metrics.neighbours:NearestImages",
        "precision": "genmods.metrics.scores:Precision",
        "recall": "genmods.metrics.scores:Recall",
    },
    "callback": {},
    "logger": {},
}
