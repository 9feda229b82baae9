"""Augmentation of whole batches, each sample's randomness a pure function of its key."""
