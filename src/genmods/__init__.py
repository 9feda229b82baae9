"""genmods: modular image classifiers and diffusion models on Lightning, composed by recipes."""

__version__ = "0.1.0"
