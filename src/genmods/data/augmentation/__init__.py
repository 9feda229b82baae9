"""Augmentations on the batch, with randomness per sample."""
