"""Every registered network as an ONNX file, and a restoration network for any size, compared with torch.

    nox -s torture -- onnx_networks

A line for each with the largest deviation in float32. Status 1 where one fails or deviates by more than 1e-4.
"""

import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "networks")]

from test_transforms import SMALL, made  # noqa: E402

from genmods.core.errors import UserError  # noqa: E402
from genmods.data.info import DataInfo  # noqa: E402
from genmods.networks import PlainUNet  # noqa: E402
from genmods.restoration.network import RestorationNetwork  # noqa: E402
from genmods.runs.checkpoint import Checkpoint  # noqa: E402
from genmods.runs.export.graphs import Calls, Graph, graph_of as models_graph  # noqa: E402
from genmods.runs.export.onnx_file import export_onnx  # noqa: E402

ABOUT = Checkpoint({"task": {"name": "none"}}, DataInfo((2, 8, 8), 3, (0.0,), (1.0,), 256, ["a", "b", "c"]), {})


def graph_of(network, inputs):
    x, *rest = inputs
    named = {"x": x.float(), **({"log_snr": rest[0].float(), **rest[1]} if rest else {})}

    def function(x, *others):
        return network(x, others[0], {"label": others[1]}) if others else network(x)

    return Graph(Calls(network, function), named, "output", {})


def restoration():
    network = PlainUNet(in_channels=2, width=4, multipliers=(1, 2), blocks=1)
    return models_graph(RestorationNetwork(network, level="known", in_channels=2, image_size=8).eval())


def main() -> int:
    failed = []
    for name in [*SMALL, "restoration"]:
        graph = graph_of(made(name)[0].float(), made(name)[1]) if name in SMALL else restoration()
        try:
            with tempfile.TemporaryDirectory() as folder:
                deviation = export_onnx(graph, ABOUT, Path(folder, "network.onnx"))
            print(f"{name:14s} {deviation:.1e}", flush=True)
        except UserError as error:
            print(f"{name:14s} {error}", flush=True)
            failed.append(name)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
