"""How many class-conditional samples a classifier recognises, and how much of the real variance they keep.

python benchmarks/recognised.py --ckpt_path runs/ddpm/TIME --classifier runs/cnn/TIME [--n 1000] [--out F.json]
"""

import argparse
import json
from pathlib import Path

import torch

from genmods.data.images import to_float
from genmods.runs import folders
from genmods.runs.checkpoint import Checkpoint
from genmods.runs.fit import build_data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--ckpt_path", required=True)
    parser.add_argument("--classifier", required=True)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    model, classifier = folders.load(options.ckpt_path), folders.load(options.classifier)
    classes = range(len(model.class_names))
    labels = torch.arange(options.n) % len(classes)
    samples = model.sample(options.n, condition={"label": labels}, seed=1)
    recognised = classifier.probabilities(samples).argmax(1) == labels
    recipe = Checkpoint.read(folders.find_checkpoint(options.ckpt_path)).parsed()
    data = build_data(recipe)
    train = data.splits["train"]
    real = to_float(train.pixels, model.levels)
    ratios = []
    for k in classes:
        ours, theirs = samples[labels == k].var(0).sum(), real[train.labels == k].var(0).sum()
        ratios.append(float(ours / theirs))
    figures = {
        "n": options.n,
        "recognised": float(recognised.float().mean()),
        "recognised_by_class": [float(recognised[labels == k].float().mean()) for k in classes],
        "variance_ratio": sum(ratios) / len(ratios),
        "variance_ratio_by_class": ratios,
    }
    text = json.dumps(figures, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
