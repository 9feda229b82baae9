"""Tasks: LightningModules, one per way to train a model."""

from typing import TYPE_CHECKING

from genmods.core.exports import lazy

if TYPE_CHECKING:
    from genmods.tasks.base import FitPlan as FitPlan, Task as Task
    from genmods.tasks.classification import ClassificationTask as ClassificationTask
    from genmods.tasks.consistency import ConsistencyTask as ConsistencyTask
    from genmods.tasks.diffusion import DiffusionTask as DiffusionTask
    from genmods.tasks.gan import GANTask as GANTask
    from genmods.tasks.mean_flow import MeanFlowTask as MeanFlowTask
    from genmods.tasks.multilabel import MultilabelTask as MultilabelTask
    from genmods.tasks.ot_flow import OTFlowTask as OTFlowTask
    from genmods.tasks.regression import RegressionTask as RegressionTask
    from genmods.tasks.restoration import RestorationTask as RestorationTask
    from genmods.tasks.restoration_network import RestorationNetworkTask as RestorationNetworkTask
    from genmods.tasks.vae import VAETask as VAETask

__all__, __getattr__, __dir__ = lazy(__name__)
