"""Networks: plain `nn.Module`s, independent of tasks, recipes and Lightning."""

from genmods.networks.base import Condition, Network

__all__ = ["Condition", "Network"]
