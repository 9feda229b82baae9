"""Every registered network as an ONNX file, a restoration network for any size, and samplers of 8 steps from noise to
images, compared with torch.

    nox -s torture -- onnx_networks

A line for each with the largest deviation in float32. Status 1 where one fails or deviates by more than 1e-4. Run as a
script, names of them may follow.
"""

import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "networks")]

import torch  # noqa: E402
from test_transforms import SMALL, made  # noqa: E402

from genmods.config.build import build  # noqa: E402
from genmods.config.recipe import from_plain  # noqa: E402
from genmods.core.errors import UserError  # noqa: E402
from genmods.data.info import DataInfo  # noqa: E402
from genmods.networks import PlainUNet  # noqa: E402
from genmods.restoration.network import RestorationNetwork  # noqa: E402
from genmods.runs.checkpoint import Checkpoint  # noqa: E402
from genmods.runs.export.graphs import Calls, Graph, graph_of as models_graph, sampling_graph  # noqa: E402
from genmods.runs.export.onnx_file import export_onnx  # noqa: E402

SAMPLERS = {"8 unipc": "unipc", "8 heun": "heun", "8 ddim": "ddim"}
ABOUT = Checkpoint({"task": {"name": "none"}}, DataInfo((2, 8, 8), 3, (0.0,), (1.0,), 256, ["a", "b", "c"]), {})


def graph_of(network, inputs):
    x, *rest = inputs
    named = {"x": x.float(), **({"log_snr": rest[0].float(), **rest[1]} if rest else {})}

    def function(x, *others):
        return network(x, others[0], {"label": others[1]}) if others else network(x)

    return Graph(Calls(network, function), named, "output", {})


def restoration():
    network = PlainUNet(in_channels=2, width=4, multipliers=(1, 2), blocks=1)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
    return models_graph(RestorationNetwork(network, level="known", in_channels=2, image_size=8).eval())


def sampler(name):
    """The graph of a class-conditional U-Net with random weights, none of which is zero, and 8 steps."""
    network = {"name": "unet", "width": 8, "multipliers": [1, 2], "blocks": 1}
    task = {"name": "diffusion", "network": network, "process": "cosine", "prediction": "v"}
    task["sampler"] = {"name": name, "steps": 8}
    plain = {"name": "x", "seed": 0, "task": task, "data": {"name": "digits"}}
    torch.manual_seed(0)
    weights = build(from_plain(plain).task, ABOUT.data_info.settings()).state_dict()
    weights = {k: v + 0.05 * torch.randn_like(v) if v.ndim else v for k, v in weights.items()}
    return sampling_graph(Checkpoint(plain, ABOUT.data_info, weights).model())


def graph(name):
    """The graph of a network, of the restoration network, or of a sampler."""
    if name in SAMPLERS:
        return sampler(SAMPLERS[name])
    if name == "restoration":
        return restoration()
    network, inputs = made(name)
    return graph_of(network.float(), inputs)


def main() -> int:
    failed = []
    for name in sys.argv[1:] or [*SMALL, "restoration", *SAMPLERS]:
        try:
            with tempfile.TemporaryDirectory() as folder:
                deviation = export_onnx(graph(name), ABOUT, Path(folder, "network.onnx"))
            print(f"{name:14s} {deviation:.1e}", flush=True)
        except UserError as error:
            print(f"{name:14s} {error}", flush=True)
            failed.append(name)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
