"""Which trained model works in a command, where, and how precisely."""

from __future__ import annotations

import argparse
from typing import Any


def checkpoint(parser: argparse.ArgumentParser) -> None:
    told = "a run folder, a checkpoint file, or `last`, the newest run"
    parser.add_argument("--ckpt_path", required=True, metavar="C", help=told)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bf16", action="store_true", help="the networks in bfloat16, as in mixed-precision training")


def device() -> str:
    """The GPU where there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def placed(task: Any, options: argparse.Namespace) -> Any:
    """`task` on its device, each of its networks under autocast where that was asked for."""
    import torch

    from genmods.networks.base import outermost_networks

    if options.bf16:
        for network in outermost_networks(task):
            network.forward = torch.autocast(device(), torch.bfloat16)(network.forward)
    return task.to(device())
