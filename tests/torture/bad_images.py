"""Folders with bad images of fifteen kinds: each named, none silently replaced, bombs not decoded.

nox -s torture -- bad_images
"""

import logging
import os
import random
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from genmods.data.sources.image_folder import ImageFolder
from support.torture import Command, called, main


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, data: bytes, deep: int = 8) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, deep, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def tiff(width: int, height: int) -> bytes:
    tags = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (278, 4, height)]
    tags += [(279, 4, width * height % 2**32)]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + b"\0\0\0\0"


def bad(kind: str, good: bytes, path: Path, chance: random.Random) -> None:
    """Write a bad image of a kind to `path`."""
    content = {
        "empty": b"",
        "cut": good[: chance.randint(1, len(good) - 20)],
        "text": b"not an image",
        "zeros": bytes(len(good)),
        "head of another": b"\xff\xd8\xff\xe0" + good,
        "no data": png(8, 8, b""),
        "bomb of width": png(2**31 - 1, 1, b"\0" * 100),
        "bomb of pixels": png(60_000, 60_000, b"\0" * 1000),
        "no width": png(0, 8, b"\0" * 8),
        "tiff bomb": tiff(2**20, 2**20),
        "broken tiff": b"II*\0" + struct.pack("<I", 2**31),
        "gif without frames": b"GIF89a\x08\0\x08\0\0\0\0;",
        "noise": good[:8] + chance.randbytes(len(good) - 8),
    }
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link to itself":
        path.symlink_to(path.name)
    else:
        path.write_bytes(content[kind])


KINDS = ["empty", "cut", "text", "zeros", "head of another", "no data", "bomb of width", "bomb of pixels", "no width"]
KINDS += ["tiff bomb", "broken tiff", "gif without frames", "noise", "pipe", "link to itself"]


def attack(chance: random.Random, folder: Path) -> str:
    logging.getLogger("genmods").setLevel(logging.ERROR)
    root = folder / "images"
    for k in range(2):
        (root / f"class{k}").mkdir(parents=True)
        for i in range(3):
            pixels = np.full((8, 8), 100 + i + 10 * k, np.uint8)
            Image.fromarray(pixels).save(root / f"class{k}" / f"good{i}.png")
    kind = chance.choice(KINDS)
    suffix = ".tif" if "tiff" in kind else ".gif" if "gif" in kind else ".png"
    name = f"{chance.choice(['bad', 'übel', 'a b', '=1+1'])}{suffix}"
    place = root / "class1" / name
    bad(kind, (root / "class0" / "good0.png").read_bytes(), place, chance)
    policy = chance.choice(["stop", "skip", "quarantine"])
    source = ImageFolder(root=str(root), on_error=policy)

    def read() -> int:
        found = source.read_at((8, 8))["train"]
        values = sorted({int(value) for value in found.pixels.unique()})
        print(len(found), values, len(source.broken), *source.broken, sep="\n")
        return 0

    if "bomb" in kind or kind == "pipe":  # what it takes, and that it ends
        done, usual = (Command(each, folder).wait(20) for each in (lambda: guarded(read), lambda: 0))
        if done.memory - usual.memory > 200 * 2**20:
            return f"{kind} {policy}: {(done.memory - usual.memory) / 2**20:.0f} MiB"
    else:
        done = called(read)
    if fault := done.fault(2 if policy == "stop" else 0):
        return f"{kind} {policy}: {fault}"
    if kind in ("pipe", "link to itself") and name not in done.err + done.out and policy == "stop":
        return f"{kind} {policy}: not named"
    if policy == "stop":
        return "" if name in done.err else f"{kind} {policy}: not named: {done.err[-200:]}"
    count, values, broken = done.out.splitlines()[:3]
    if count != "6" or values != str([100, 101, 102, 110, 111, 112]) or broken != "1" or name not in done.out:
        return f"{kind} {policy}: {done.out[:200]}"
    moved = folder / "images.quarantine" / "class1" / name
    if policy == "quarantine" and (place.is_symlink() or place.exists() or not (moved.is_symlink() or moved.exists())):
        return f"{kind}: not in quarantine"
    return ""


def guarded(read) -> int:
    done = called(read)
    sys.stdout.write(done.out)
    sys.stderr.write(done.err)
    return done.status


if __name__ == "__main__":
    sys.exit(main("bad_images"))
