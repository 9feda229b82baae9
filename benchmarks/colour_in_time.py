"""What minutes of training give in colour, 3 x 64 x 64 with class labels: ours, denoising-diffusion-pytorch, diffusers.

ours        recipes/emoji/ddpm.yaml, on emoji or, with --folder, on a folder of images with a folder per class; its
            steps and its EMA fitted to the time. `--ours RUN` takes a run that is there.
ours_own    the same model by the sampler of its recipe instead of DDIM
lucidrains  denoising-diffusion-pytorch's classifier_free_guidance: v, cosine, Adam, EMA of every tenth step; trained as
            its Trainer does, which takes no labels
diffusers   UNet2DModel with class embeddings in the loop of the unconditional example: eps, 1,000 linear steps, AdamW,
            cosine with warm-up, EMA with power 3/4, attention in float32

Both peers are narrowed to our FLOPs per image, forward and backward (`peers.py`; the ratio is printed), and have the
same images, labels, flips, bfloat16 and seconds as ours, their own batch of 16, the faster memory format, and schedule
and EMA fitted to their steps, its time constant a twelfth of them, as ours. `--rates` are their learning rates; the
defaults of their scripts, 1e-4, are for 100 times as many steps. The seconds are processor time of all threads, so that
other work on the machine hardly changes them, and count the training steps only.

Then 2,000 samples each by DDIM without guidance, with at most `--calls` network calls; the classes are those of as many
training images. These are also the floor: FID and KID of real images against the same held-out ones (validation and
test). Against so few images FID is large for any set; what is above the floor counts.

Everything is kept in the folder --work and continued by the same command: training within two minutes, samples and
features by the chunk, rows when they are known. Grids and the most suspicious pairs of sample and training images are
written as PNG beside them.

    python benchmarks/colour_in_time.py --weights efficientnet-lite0-57934424.pth --minutes 40 --work emoji
    python benchmarks/colour_in_time.py --folder DIR --weights efficientnet-lite0-57934424.pth --work photos
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from common import gflop_per_image, machine
from equal_time import Budget, fitted_ema
from judge import Rows, block_kid, in_chunks, kept_features, rounded
from peer_loops import IN_COLOUR, Peer
from torch import Tensor

from genmods.config.recipe import load
from genmods.core.precision import native_bfloat16
from genmods.data.images import Images
from genmods.diffusion import DDIMSampler
from genmods.metrics.base import EvaluationData
from genmods.metrics.extractors import EfficientNetLite0Features
from genmods.metrics.features import weights_hash
from genmods.metrics.frechet import frechet_distance
from genmods.metrics.neighbors import NearestImages
from genmods.metrics.statistics import gaussian_statistics
from genmods.runs import folders
from genmods.runs.checkpoint import Checkpoint
from genmods.runs.fit import build_data
from genmods.visual.picture import to_picture

RECIPE = Path(__file__).parents[1] / "recipes/emoji/ddpm.yaml"
SHOWN = 64
Sample = Callable[[slice], Tensor]
"""The rows of the samples -> images [n, 3, 64, 64] in [-1, 1]."""


@dataclass
class Colour:
    """The images of a comparison: those to train on, those held out, and the classes of the samples."""

    options: argparse.Namespace

    @cached_property
    def changes(self) -> list[str]:
        """The overrides of the recipe."""
        folder: Path | None = self.options.folder
        source = {"name": "image_folder", "root": str(folder and folder.resolve()), "channels": 3, "image_size": 64}
        data = [] if folder is None else [f"--data={json.dumps(source | {'batch_size': 64, 'augment': ['flip']})}"]
        return [*data, *(f"--{change}" for change in self.options.set)]

    @cached_property
    def data(self) -> Any:
        return build_data(load(RECIPE, self.changes))

    @cached_property
    def train(self) -> Images:
        return self.data.splits["train"].in_memory()

    @cached_property
    def held_out(self) -> Tensor:
        """Images uint8 [M, 3, 64, 64]."""
        return torch.cat([self.data.splits[name].pixels[:] for name in ("val", "test")])

    @property
    def classes(self) -> int:
        return len(self.data.info.class_names)

    @cached_property
    def drawn(self) -> Tensor:
        """Numbers of training images whose classes the samples have, int64 [n]; some twice if there are fewer."""
        order = torch.randperm(len(self.train), generator=torch.Generator().manual_seed(0))
        return order.repeat(-(-self.options.n // len(order)))[: self.options.n]

    @cached_property
    def labels(self) -> Tensor:
        """The classes of the samples, int64 [n]."""
        assert self.train.labels is not None
        return self.train.labels[self.drawn]


def ours(colour: Colour, own_sampler: bool) -> tuple[dict[str, Any], Sample]:
    """The recipe in the given time, or the run that was given: columns of its row, and its samples."""
    options = colour.options
    if options.ours is None:
        budget = Budget(options.work / "runs", None, 60 * options.minutes)
        model, training = budget.trained("ours", str(RECIPE), *colour.changes, fitted=fitted)
    else:
        checkpoint = Checkpoint.read(folders.find_checkpoint(options.ours))
        model, training = checkpoint.model(), {"steps": checkpoint.step}
    if model.class_names != colour.data.info.class_names:
        raise SystemExit(f"{options.ours}: trained with the classes {', '.join(model.class_names)}")
    sampler = model.default_sampler() if own_sampler else DDIMSampler()
    sampler = replace(sampler, steps=min(sampler.steps, options.calls) if own_sampler else options.calls)
    reduced, labels = native_bfloat16(torch.device("cpu")), colour.labels.tolist()

    def sample(rows: slice) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
            return model.sample(rows.stop - rows.start, {"label": labels}, sampler=sampler, first=rows.start).float()

    network, noise = model.denoiser.network, torch.randn(2, *model.image_shape)
    condition = {"label": colour.labels[:2]}
    size = {
        "parameters_M": round(sum(p.numel() for p in network.parameters()) / 1e6, 3),
        "gflop_per_image": gflop_per_image(lambda: network(noise, torch.zeros(2), condition).sum().backward(), 2),
    }
    names = {"sampler": f"{type(sampler).__name__} {sampler.steps}", "weights": weights_hash(network)}
    return training | size | names, sample


def fitted(steps: int) -> list[str]:
    """The EMA of a run of so many steps, and its checkpoints."""
    kept = {"name": "checkpoint", "every_n_steps": 100}
    return [f"--callbacks={json.dumps([fitted_ema(steps), kept])}"]


def peer(colour: Colour, name: str, rate: float) -> tuple[dict[str, Any], Sample]:
    """A peer after its training: columns of its row, and its samples."""
    options = colour.options
    at = options.work / f"{name}_{rate}"
    loop, columns = Peer(name, rate, colour.train, colour.classes, 60 * options.minutes, at).trained()
    images = loop.sampler(options.calls)

    def sample(rows: slice) -> Tensor:
        torch.manual_seed(rows.start)
        with loop.reducing():
            return images(colour.labels[rows]).float().clamp(-1, 1)

    return columns | {"sampler": f"DDIM {options.calls}", "weights": weights_hash(loop.averaged())}, sample


class Floor:
    """The features of held-out images, and the distances of samples and of training images to them."""

    def __init__(self, colour: Colour, extractor: Any) -> None:
        self.colour = colour
        self.extractor = replace(extractor, batch_size=8)  # larger activations get new pages in each call
        self.at = colour.options.work / "features"
        self.held_out = self.features(colour.held_out, "held_out")
        train = self.features(colour.train.pixels[:], "train")
        self.train = train[colour.drawn.unique()]
        self.fid = self.frechet(self.train)
        self.kid, self.kid_error = block_kid(self.train, self.held_out)

    def features(self, images: Tensor, name: str) -> Tensor:
        """Features [N, D] of images uint8, or in [-1, 1], rounded to 256 levels."""
        if images.is_floating_point():
            return kept_features(self.extractor, images, self.at / name)
        return in_chunks(lambda rows: self.extractor(images[rows]), len(images), self.at / name)

    def frechet(self, features: Tensor) -> float:
        return frechet_distance(gaussian_statistics(features), gaussian_statistics(self.held_out))

    def distances(self, images: Tensor, name: str) -> dict[str, float]:
        """FID and KID of images [n, C, H, W] in [-1, 1], those of training images, and what lies between."""
        features = self.features(images, name)
        fid, (kid, error) = self.frechet(features), block_kid(features, self.held_out)
        found = {"fid": fid, "fid_floor": self.fid, "fid_above": fid - self.fid}
        found |= {"kid": kid, "kid_error": error, "kid_floor": self.kid, "kid_floor_error": self.kid_error}
        return {key: round(value, 6) for key, value in (found | {"kid_above": kid - self.kid}).items()}


def shown(colour: Colour, images: Tensor, name: str) -> dict[str, float]:
    """A grid of samples and the nearest training images as PNG; how near they are."""
    folder = colour.options.work
    to_picture(images[:SHOWN], 8).save(folder / f"{name}.png")
    evidence = EvaluationData(train=colour.train.pixels, test=colour.held_out, generate=lambda n: images, n=len(images))
    found = NearestImages()(evidence)
    to_picture(found.pictures["nearest"], 5).save(folder / f"{name}_nearest.png")
    return {value.name: round(value.value, 4) for value in found.values}


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    colour = Colour(options)
    extractor = EfficientNetLite0Features(str(options.weights)).features()
    data = "emoji" if options.folder is None else options.folder.name
    fixed = {"data": data, "minutes": options.minutes, "n": options.n, "features": extractor.name}
    rows = Rows(options.work / "rows.jsonl", ("contender", "rate", "run", "calls"), fixed)
    peers = [{"contender": name, "rate": rate, "run": None} for name in IN_COLOUR for rate in options.rates]
    mine = [{"contender": name, "rate": None, "run": options.ours} for name in ("ours", "ours_own")]
    wanted = [row | {"calls": options.calls} for row in (*mine, *peers) if row["contender"] in options.only]
    left = list(rows.left(wanted))
    floor = Floor(colour, extractor) if left else None
    for row in left:
        assert floor is not None
        contender, rate = row["contender"], row["rate"]
        name = contender if rate is None else f"{contender}_{rate}"
        found, sample = peer(colour, contender, rate) if rate else ours(colour, contender == "ours_own")
        print(f"{name}: {found}", flush=True)
        at = "_".join([contender, found["weights"], *found["sampler"].split()])
        with torch.no_grad():
            images = rounded(in_chunks(sample, options.n, options.work / "samples" / at))
        distances = floor.distances(images, at)
        figures = found | distances | shown(colour, images, name)
        counts = {"train": len(colour.train), "floor": len(floor.train), "held_out": len(colour.held_out)}
        rows.add(row | figures | counts | {"threads": options.threads, "machine": machine()})
    return [row for row in rows.rows if row["calls"] == options.calls]


def conclude(rows: list[dict[str, Any]]) -> None:
    """Ours beside the better peer, that of the lowest FID, and the FLOPs of each in units of ours."""
    peers = [row for row in rows if row["contender"] in IN_COLOUR]
    mine = [row for row in rows if row["contender"] not in IN_COLOUR]
    for row in peers if mine else []:
        ratio = row["gflop_per_image"] / mine[0]["gflop_per_image"]
        print(f"{row['contender']} {row['rate']}: {ratio:.3f} of our FLOPs per image")
    better = min(peers, key=lambda row: row["fid_above"], default=None)
    for row in mine if better else []:
        assert better is not None
        share = {key: row[key] / better[key] if better[key] > 0 else math.nan for key in ("fid_above", "kid_above")}
        text = ", ".join(f"{key} {row[key]} of {better[key]}: {share[key]:.3f}" for key in share)
        print(f"{row['contender']} beside {better['contender']} {better['rate']}: {text}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="folder of images with a folder per class; emoji by default")
    parser.add_argument("--weights", type=Path, required=True, help="efficientnet-lite0-57934424.pth, for the features")
    parser.add_argument("--work", type=Path, required=True, help="folder of everything that is kept")
    parser.add_argument("--minutes", type=float, default=20.0, help="processor time of each training's steps")
    contenders = ["ours", "ours_own", *IN_COLOUR]
    parser.add_argument("--only", nargs="+", choices=contenders, default=contenders)
    parser.add_argument("--ours", help="a run of ours, instead of training the recipe")
    parser.add_argument("--rates", nargs="+", type=float, default=[1e-3], help="learning rates of the peers")
    parser.add_argument("--n", type=int, default=2000, help="samples")
    parser.add_argument("--calls", type=int, default=50, help="network calls per sample")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="changes of the recipe")
    options = parser.parse_args()
    options.work = options.work.resolve()
    torch.set_num_threads(options.threads)
    conclude(run(options))


if __name__ == "__main__":
    main()
