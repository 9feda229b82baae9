"""Takes the name of a built-in, and one of another distribution."""


class UNet:
    """Not the U-Net."""


class Lazy:
    """Not the first of this name."""
