"""Metrics of images, samples and classifiers."""
