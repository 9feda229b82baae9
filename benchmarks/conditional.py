"""Inpainting of digits by a network that was trained with masks, and by one that was not.

    python -m genmods fit --config recipes/ddpm.yaml
    python -m genmods fit --config recipes/inpaint_conditional.yaml
    python benchmarks/conditional.py runs/ddpm runs/inpaint_conditional

prints, on the test digits and for each hole, the PSNR in the hole of the mean of 16 draws and of one draw, averaged
over images, with its standard error and the processor time per sample. 20 network calls per sample.
"""

from __future__ import annotations

import argparse
import time

import torch

from genmods.data.module import ImageData
from genmods.data.sources.digits import Digits
from genmods.metrics.fidelity import psnr
from genmods.restoration.operators import BoxMask, HalfMask, RandomMask
from genmods.restoration.restore import restore
from genmods.runs import folders

MASKS = {"centre 4x4": BoxMask(), "right half": HalfMask(), "random 50 %": RandomMask(0.5)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", nargs="+")
    parser.add_argument("--n", type=int, default=180)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = ImageData(Digits())
    x = data.splits["test"].pixels[: options.n].float() / 8 - 1
    for case, mask in MASKS.items():
        hole = ~mask.known(x[:1]).expand(1, 1, *x.shape[2:])
        for run in options.run:
            model, started = folders.load(run).requires_grad_(False), time.process_time()
            draws = restore(x, mask, model, samples=16)
            seconds = (time.process_time() - started) / draws.shape[:2].numel()
            cells = [psnr(result, x, hole) for result in (draws.mean(0), draws[0])]
            mean, one = (f"{c.mean():.2f} ± {c.std() / len(c) ** 0.5:.2f}" for c in cells)
            told = model.conditioned_on().reveals_image
            name = "mask-conditional" if told else "trained without masks"
            print(f"{case:<14}{name:<18}mean of 16 {mean}  one {one}  n {len(x)}  {1000 * seconds:.1f} ms", flush=True)


if __name__ == "__main__":
    main()
