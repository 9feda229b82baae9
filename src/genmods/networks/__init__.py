"""Networks: plain `nn.Module`s that know nothing of tasks, recipes or Lightning."""

from genmods.networks.base import Condition, Network

__all__ = ["Condition", "Network"]
