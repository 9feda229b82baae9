"""Pictures between the browser and tensors: PNG files as data URLs."""

from __future__ import annotations

import base64
import binascii
import io

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from genmods.core.errors import UserError
from genmods.data.images import to_uint8

MAX_PIXELS = 4_000_000
"""The largest number of pixels of a picture that is accepted."""
POSITIVE, NEGATIVE = (224, 124, 32), (47, 111, 190)
"""The colours of `signed`."""
HEAT = ((8, 6, 30), (96, 24, 110), (200, 60, 70), (248, 150, 40), (252, 246, 170))
"""The colours of `heat`, from 0 to the largest value."""


def png(image: Tensor) -> str:
    """An image [C, H, W] in [-1, 1] as a data URL; the first channel if C is neither 1 nor 3."""
    values = to_uint8(image.detach().cpu().float().nan_to_num(-1))
    values = values if len(values) in (1, 3) else values[:1]
    return encoded(Image.fromarray(values.permute(1, 2, 0).expand(-1, -1, 3).contiguous().numpy()))


def signed(values: Tensor) -> str:
    """Values [C, H, W] of both signs, averaged over the channels, as a data URL: orange for positive, blue for
    negative, white for 0."""
    mean = values.detach().cpu().float().mean(0)
    share = mean / mean.abs().max().clamp_min(1e-12)
    color = torch.where(share[..., None] > 0, torch.tensor(POSITIVE), torch.tensor(NEGATIVE)).float()
    mixed = 255 + share.abs()[..., None] * (color - 255)
    return encoded(Image.fromarray(mixed.round().to(torch.uint8).numpy()))


def heat(values: Tensor, largest: float | None = None) -> str:
    """Values [H, W] of at least 0 as a data URL, dark to light; `largest` is the lightest, by default the maximum."""
    flat = values.detach().cpu().float()
    top = float(flat.max()) if largest is None else largest
    place = (flat / max(top, 1e-12)).clamp(0, 1) * (len(HEAT) - 1)
    below = place.floor().long().clamp(max=len(HEAT) - 2)
    stops, share = torch.tensor(HEAT).float(), (place - below)[..., None]
    mixed = stops[below] * (1 - share) + stops[below + 1] * share
    return encoded(Image.fromarray(mixed.round().to(torch.uint8).numpy()))


def encoded(image: Image.Image) -> str:
    """A picture as a data URL."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def decoded(text: str) -> Image.Image:
    """The picture of a data URL. Raises UserError for other text, and if it is too large."""
    head, comma, body = text.partition(",")
    if not (head.startswith("data:image/") and head.endswith(";base64") and comma):
        raise UserError("expected a data URL of an image")
    try:
        image = Image.open(io.BytesIO(base64.b64decode(body, validate=True)))
        if image.width * image.height > MAX_PIXELS:
            raise UserError(f"a picture must have at most {MAX_PIXELS:,} pixels, got {image.width} x {image.height}")
        image.load()
    except (UnidentifiedImageError, OSError, ValueError, binascii.Error, Image.DecompressionBombError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError("cannot be read as an image") from None
    return image


def centered(image: Image.Image) -> Image.Image:
    """A drawing, light on dark, cut to the square around its strokes; unchanged if it is empty.

    Data sets of digits and letters are framed like this.
    """
    gray = image.convert("L")
    box = gray.point(lambda value: 255 * (value > 40)).getbbox()
    if box is None:
        return image
    left, top, right, bottom = box
    side = max(right - left, bottom - top)
    middle = (left + right) // 2, (top + bottom) // 2
    corner = middle[0] - side // 2, middle[1] - side // 2
    return image.crop((*corner, corner[0] + side, corner[1] + side))
